//! The devices, and what their threads, drops and rings are at.

use super::device::Device;
use super::look::{Canvas, Ink};
use super::model::Model;
use super::rings;
use super::sample::Absent;
use super::text::{age, count, rate};
use super::view::View;

/// Seconds for which a restart is shown.
const RESTART_SHOWN: u64 = 30;

/// Heading, width, and whether it is of numbers.
const COLUMNS: [(&str, u16, bool); 9] = [
    ("DEVICE", 15, false),
    ("STATE", 9, false),
    ("I/O", 3, false),
    ("PORT", 5, true),
    ("ACTIVE", 13, true),
    ("RX bit/s", 8, true),
    ("TX bit/s", 8, true),
    ("DROP/s", 6, true),
    ("CPU", 4, true),
];

/// Draws from row `y` on; returns the row after it.
pub fn draw(canvas: &mut Canvas<'_>, mut y: u16, model: &Model, view: &View) -> u16 {
    let height = usize::from(canvas.area().height);
    let mut x = 1;
    for (heading, width, number) in COLUMNS {
        if number {
            canvas.right(x, y, width, heading, Ink::Head);
        } else {
            canvas.left(x, y, width, heading, Ink::Head);
        }
        x += width + gap(canvas);
    }
    y += 1;
    let room = (height.saturating_sub(16) / 3).max(1);
    let device = view.device(model);
    let at = device.and_then(|d| model.devices.iter().position(|other| other.name == d.name));
    // The one that is looked at is among those that are seen.
    let first = at.map_or(0, |at| (at + 1).saturating_sub(room));
    for device in model.devices.iter().skip(first).take(room) {
        row(canvas, y, device, view, model.wall);
        y += 1;
    }
    let Some(device) = device else {
        canvas.left(
            1,
            y,
            u16::MAX,
            "no device runs here; `ringtun up NAME` makes one",
            Ink::Warn,
        );
        return y + 2;
    };
    let more = model.devices.len().saturating_sub(room);
    rule(canvas, y, device, more);
    about(canvas, y + 1, device);
    y + 4
}

/// Between two columns.
fn gap(canvas: &Canvas<'_>) -> u16 {
    if canvas.area().width < 100 { 1 } else { 2 }
}

fn row(canvas: &mut Canvas<'_>, y: u16, device: &Device, view: &View, wall: u64) {
    let (state, ink) = state(device, wall);
    let info = device.info.as_ref();
    let active = device.peers.iter().filter(|p| p.is_active(wall)).count();
    let dropped = device.dropped().per_second;
    let cells: [(String, Ink); 9] = [
        (device.name.to_string(), Ink::Strong),
        (state, ink),
        (info.map_or("?", |info| &info.io).to_owned(), Ink::Plain),
        (device.port.to_string(), Ink::Plain),
        (
            format!(
                "{}/{}",
                count(active as u64),
                count(device.peers.len() as u64)
            ),
            Ink::Plain,
        ),
        (rate(device.rx.per_second), Ink::Receive),
        (rate(device.tx.per_second), Ink::Send),
        (
            rate(dropped),
            if dropped > 0.0 { Ink::Warn } else { Ink::Faint },
        ),
        (device.cpu().map_or("?".to_owned(), percent), Ink::Plain),
    ];
    let gap = gap(canvas);
    let mut x = 1;
    for ((text, ink), (_, width, number)) in cells.iter().zip(COLUMNS) {
        if number {
            canvas.right(x, y, width, text, *ink);
        } else {
            canvas.left(x, y, width, text, *ink);
        }
        x += width + gap;
    }
    if view.focus.as_ref() == Some(&device.name) {
        canvas.left(0, y, 1, "▸", Ink::Head);
    }
}

/// What a device does, in nine columns at most.
pub fn state(device: &Device, wall: u64) -> (String, Ink) {
    let since = |then: u64| wall.saturating_sub(then);
    if let Some((why, then)) = device.absent {
        let text = match why {
            Absent::Gone => format!("gone {}", short(since(then))),
            Absent::Forbidden => "denied".to_owned(),
            Absent::Silent => "no answer".to_owned(),
        };
        return (text, Ink::Bad);
    }
    match (&device.info, device.restarted) {
        (_, Some(then)) if since(then) < RESTART_SHOWN => ("restarted".to_owned(), Ink::Warn),
        (Some(info), _) if !info.up => ("down".to_owned(), Ink::Warn),
        _ => ("up".to_owned(), Ink::Good),
    }
}

/// The larger unit of an age.
fn short(seconds: u64) -> String {
    let text = age(seconds);
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn rule(canvas: &mut Canvas<'_>, y: u16, device: &Device, more: usize) {
    let width = canvas.area().width;
    canvas.left(0, y, width, &"─".repeat(width.into()), Ink::Faint);
    let x = canvas.left(2, y, width, &format!(" {} ", device.name), Ink::Head);
    if more > 0 {
        canvas.left(
            x + 1,
            y,
            width,
            &format!(" {more} more devices "),
            Ink::Faint,
        );
    }
}

/// Threads, drops and rings, a line each.
fn about(canvas: &mut Canvas<'_>, y: u16, device: &Device) {
    let threads = device.threads.iter().map(|(name, share)| {
        let ink = if *share > 0.9 { Ink::Warn } else { Ink::Plain };
        (format!("{name} {}", percent(*share)), ink)
    });
    line(canvas, y, "CPU", threads.collect(), "not known yet");
    let mut drops: Vec<_> = device.drops.iter().filter(|(_, n)| n.total > 0).collect();
    // Those that grow first.
    drops.sort_by(|(_, a), (_, b)| {
        b.per_second
            .total_cmp(&a.per_second)
            .then(b.total.cmp(&a.total))
    });
    let drops = drops.into_iter().map(|(reason, n)| {
        if n.per_second > 0.0 {
            (
                format!("{reason} {} +{}/s", count(n.total), rate(n.per_second)),
                Ink::Warn,
            )
        } else {
            (format!("{reason} {}", count(n.total)), Ink::Plain)
        }
    });
    line(canvas, y + 1, "Drops", drops.collect(), "none");
    line(canvas, y + 2, "Rings", rings::short(device), "not known");
}

/// A label and as many items as fit; how many more there are.
fn line(canvas: &mut Canvas<'_>, y: u16, label: &str, items: Vec<(String, Ink)>, none: &str) {
    let width = canvas.area().width;
    canvas.left(1, y, 8, label, Ink::Head);
    let mut x = 8;
    if items.is_empty() {
        canvas.left(x, y, width, none, Ink::Faint);
    }
    let all = items.len();
    for (at, (text, ink)) in items.into_iter().enumerate() {
        let last = at + 1 == all;
        let needed = text.chars().count() as u16 + if last { 0 } else { 9 };
        if at > 0 && x + needed > width {
            canvas.left(x, y, 9, &format!("+{} more", all - at), Ink::Faint);
            break;
        }
        x = canvas.left(x, y, width, &text, ink) + 2;
    }
}

/// Of one processor: 142% are a bit less than one and a half.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

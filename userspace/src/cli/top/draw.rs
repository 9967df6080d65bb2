//! The screen: title, the chosen part, hints.

use ratatui::buffer::Buffer;

use super::look::{Canvas, Ink, Look};
use super::model::Model;
use super::text::{count, rate};
use super::view::{Screen, View};
use super::{devices, page, peers};

/// Below this nothing can be told apart.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;

/// What only the title tells.
pub struct Status {
    /// Seconds between two looks.
    pub interval: f64,
    /// Seconds since daemons answered last, if that is too long.
    pub stale: Option<u64>,
}

/// Draws all of it.
pub fn draw(buffer: &mut Buffer, look: Look, model: &Model, view: &mut View, status: &Status) {
    let canvas = &mut Canvas { buffer, look };
    let area = canvas.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!("{WIDTH_MIN}×{HEIGHT_MIN} at least");
        canvas.left(0, 0, area.width, &text, Ink::Plain);
        return;
    }
    title(canvas, model, view, status);
    let bottom = area.height - 1;
    match view.screen {
        Screen::List => {
            let y = devices::draw(canvas, 1, model, view);
            peers::draw(canvas, y, bottom, model, view);
        }
        Screen::Peer => page::draw(canvas, page::peer(model, view), view),
        Screen::Device => page::draw(canvas, page::device(model, view), view),
        Screen::Help => page::draw(canvas, page::help(), view),
    }
    footer(canvas, bottom, view);
}

fn title(canvas: &mut Canvas<'_>, model: &Model, view: &View, status: &Status) {
    let width = canvas.area().width;
    canvas.fill(0, Ink::Bar);
    let many = |n: usize, what: &str| {
        let end = if n == 1 { "" } else { "s" };
        format!("{} {what}{end}", count(n as u64))
    };
    let [rx, tx] = model.rates().map(rate);
    let parts = [
        many(model.devices.len(), "device"),
        many(model.peer_count(), "peer"),
        format!("{} active", count(model.active() as u64)),
        format!("rx {rx} tx {tx} bit/s"),
    ];
    let x = canvas.left(1, 0, width, "ringtun top", Ink::Bar);
    let right = match (view.paused, status.stale) {
        (true, _) => "PAUSED".to_owned(),
        (_, Some(seconds)) => format!("no answer for {seconds} s"),
        _ => format!("every {} s", status.interval),
    };
    let room = width.saturating_sub(right.len() as u16 + 4 + x);
    canvas.left(x + 2, 0, room, &parts.join("  "), Ink::Bar);
    canvas.right(0, 0, width - 1, &right, Ink::Bar);
}

fn footer(canvas: &mut Canvas<'_>, y: u16, view: &View) {
    let width = canvas.area().width;
    if view.typing {
        canvas.fill(y, Ink::Bar);
        let text = format!("/{}_", view.filter);
        let x = canvas.left(1, y, width - 30, &text, Ink::Bar);
        canvas.left(x + 3, y, 26, "Enter keep   Esc clear", Ink::Bar);
        return;
    }
    let hints: &[(&str, &str)] = match view.screen {
        Screen::List => &[
            ("q", "quit"),
            ("?", "help"),
            ("/", "filter"),
            ("s", "sort"),
            ("r", "reverse"),
            ("Enter", "peer"),
            ("d", "device"),
            ("Tab", "next device"),
            ("p", "pause"),
        ],
        _ => &[("Esc", "back"), ("↑↓", "scroll"), ("q", "quit")],
    };
    let mut x = 1;
    for (key, does) in hints {
        if x + (key.len() + does.len() + 1) as u16 > width {
            break;
        }
        x = canvas.left(x, y, width, key, Ink::Head) + 1;
        x = canvas.left(x, y, width, does, Ink::Faint) + 2;
    }
}

/// The screen as lines without its hints, blanks at their ends, and empty lines at its end.
pub fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y: u16| {
        let mut line = String::new();
        let mut x = 0;
        while x < area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character covers the next cell, too.
            x += (ratatui::text::Span::raw(symbol).width() as u16).max(1);
        }
        line.trim_end().to_owned() + "\n"
    };
    let lines: String = (0..area.height - 1).map(line).collect();
    lines.trim_end().to_owned() + "\n"
}

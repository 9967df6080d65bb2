//! Screens of one column that may be longer than the terminal: a peer, a device, help.

use super::device::{Device, Peer};
use super::look::{Canvas, Ink};
use super::model::{Model, Rate};
use super::text::{bytes, count, rate};
use super::view::View;
use super::{devices, keys, peers, rings};

/// Networks of a peer that are listed.
const NETWORKS_MAX: usize = 1000;
/// Columns of the labels: the longest is `no-peer-for-destination`.
const LABEL: u16 = 24;

/// A label and what it says.
pub struct Line {
    label: String,
    text: String,
    ink: Ink,
    /// Drawn as wide as the screen is: a graph of the rates.
    graph: Option<super::history::History>,
}

fn line(label: &str, text: impl Into<String>, ink: Ink) -> Line {
    Line {
        label: label.to_owned(),
        text: text.into(),
        ink,
        graph: None,
    }
}

fn heading(text: &str) -> [Line; 2] {
    [line("", "", Ink::Plain), line(text, "", Ink::Head)]
}

/// Draws the lines that are seen.
pub fn draw(canvas: &mut Canvas<'_>, lines: Vec<Line>, view: &mut View) {
    let area = canvas.area();
    let rows = usize::from(area.height.saturating_sub(3));
    view.page = rows;
    view.scroll = view.scroll.min(lines.len().saturating_sub(rows));
    for (y, line) in (2..).zip(lines.iter().skip(view.scroll).take(rows)) {
        let alone = line.ink == Ink::Head;
        let width = if alone { area.width } else { LABEL };
        canvas.left(2, y, width, &line.label, Ink::Head);
        let room = area.width.saturating_sub(LABEL + 4);
        let text = match &line.graph {
            Some(history) => &history.graph(room.into(), canvas.look.steps()),
            None => &line.text,
        };
        if !alone {
            canvas.left(LABEL + 3, y, room, text, line.ink);
        }
    }
    let below = lines.len().saturating_sub(view.scroll + rows);
    if below > 0 {
        let text = format!("{below} more lines below");
        canvas.right(0, area.height - 1, area.width - 2, &text, Ink::Warn);
    }
}

/// The keys.
pub fn help() -> Vec<Line> {
    let keys = keys::HELP.iter();
    keys.map(|(key, does)| line(key, *does, Ink::Plain))
        .collect()
}

/// The selected peer.
pub fn peer(model: &Model, view: &View) -> Vec<Line> {
    let Some((device, peer)) = view.current(model) else {
        return vec![line("peer", "it is gone", Ink::Warn)];
    };
    let mut lines = about_peer(device, peer, model.wall);
    let listed = peer.allowed.iter().take(NETWORKS_MAX);
    let labels = std::iter::once("allowed IPs").chain(std::iter::repeat(""));
    lines.extend(
        labels
            .zip(listed)
            .map(|(label, prefix)| line(label, prefix.to_string(), Ink::Plain)),
    );
    if peer.allowed.is_empty() {
        lines.push(line(
            "allowed IPs",
            "none: nothing is sent to it",
            Ink::Warn,
        ));
    } else if peer.allowed.len() > NETWORKS_MAX {
        let more = count((peer.allowed.len() - NETWORKS_MAX) as u64);
        lines.push(line("", format!("and {more} more"), Ink::Faint));
    }
    lines
}

fn about_peer(device: &Device, peer: &Peer, wall: u64) -> Vec<Line> {
    let (handshake, ink) = peers::handshake(peer, wall);
    let handshake = match (peer.handshake, peer.is_active(wall)) {
        (0, _) => handshake,
        (_, true) => format!("{handshake} ago"),
        (_, false) => format!("{handshake} ago: its keys are used no more"),
    };
    let (state, state_ink) = devices::state(device, wall);
    let name = if peer.name.is_empty() {
        line("name", "none in the tunnel's file", Ink::Faint)
    } else {
        line("name", &*peer.name, Ink::Strong)
    };
    let mut graph = line("traffic", "", Ink::Graph);
    graph.graph = Some(peer.history.clone());
    vec![
        name,
        line("public key", peer.key.to_base64(), Ink::Plain),
        line("device", format!("{} ({state})", device.name), state_ink),
        line("endpoint", or_none(peer.endpoint), Ink::Plain),
        line("handshake", handshake, ink),
        line(
            "preshared key",
            if peer.preshared { "yes" } else { "no" },
            Ink::Plain,
        ),
        line(
            "keepalive",
            match peer.keepalive {
                0 => "off".to_owned(),
                seconds => format!("every {seconds} s"),
            },
            Ink::Plain,
        ),
        line("received", moved(peer.rx), Ink::Receive),
        line("sent", moved(peer.tx), Ink::Send),
        graph,
    ]
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "none yet".to_owned(), |value| value.to_string())
}

fn moved(of: Rate) -> String {
    format!(
        "{} bit/s now, {} in all",
        rate(of.per_second),
        bytes(of.total)
    )
}

/// The device that is looked at.
pub fn device(model: &Model, view: &View) -> Vec<Line> {
    let Some(device) = view.device(model) else {
        return vec![line("device", "none runs here", Ink::Warn)];
    };
    let (state, ink) = devices::state(device, model.wall);
    let mut graph = line("traffic", "", Ink::Graph);
    graph.graph = Some(device.history.clone());
    let mut lines = vec![
        line("device", device.name.to_string(), Ink::Strong),
        line("state", state, ink),
        line(
            "public key",
            or_none(device.public_key.map(|key| key.to_base64())),
            Ink::Plain,
        ),
        line("listening port", device.port.to_string(), Ink::Plain),
        line("peers", count(device.peers.len() as u64), Ink::Plain),
        line("received", moved(device.rx), Ink::Receive),
        line("sent", moved(device.tx), Ink::Send),
        graph,
    ];
    if let Some(info) = &device.info {
        lines.extend([
            line(
                "packets travel by",
                format!("{} ({})", info.io, info.io_reason),
                Ink::Plain,
            ),
            line("MTU", info.mtu.to_string(), Ink::Plain),
            line(
                "process",
                format!("{}, ringtun {}", info.pid, info.version),
                Ink::Plain,
            ),
            line(
                "metrics",
                info.metrics
                    .as_ref()
                    .map_or("off".to_owned(), |a| format!("http://{a}/metrics")),
                Ink::Plain,
            ),
        ]);
        lines.extend(
            info.by_socket
                .iter()
                .map(|why| line("by socket", &**why, Ink::Warn)),
        );
    } else {
        lines.push(line(
            "daemon",
            "not ringtun, so there is no more to tell",
            Ink::Faint,
        ));
    }
    lines.extend(heading("Dropped, by reason"));
    let drops = device.drops.iter().map(|(reason, n)| {
        let ink = match (n.per_second > 0.0, n.total) {
            (true, _) => Ink::Warn,
            (_, 0) => Ink::Faint,
            _ => Ink::Plain,
        };
        let growth = format!("{:>14}  {:>7}/s", count(n.total), rate(n.per_second));
        line(reason, growth, ink)
    });
    lines.extend(drops);
    lines.extend(heading("Rings and queues"));
    let rings = rings::long(device).into_iter();
    lines.extend(rings.map(|(name, text, ink)| line(&name, text, ink)));
    lines.extend(heading("Processor time of threads"));
    let threads = device.threads.iter();
    lines.extend(threads.map(|(name, share)| {
        let bar = "█".repeat((share * 40.0).clamp(0.0, 60.0) as usize);
        line(
            name,
            format!("{:>5} {bar}", devices::percent(*share)),
            Ink::Plain,
        )
    }));
    lines
}

//! The peers: only the rows that are seen are made.

use super::device::{Device, Peer};
use super::look::{Canvas, Ink};
use super::model::Model;
use super::text::{age, bytes, count, rate};
use super::view::{Sort, View};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Device,
    Name,
    Endpoint,
    Allowed,
    Handshake,
    Rx,
    Tx,
    Graph,
    RxTotal,
    TxTotal,
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Device => "DEVICE",
            Self::Name => "PEER",
            Self::Endpoint => "ENDPOINT",
            Self::Allowed => "ALLOWED IPS",
            Self::Handshake => "HANDSHAKE",
            Self::Rx => "RX bit/s",
            Self::Tx => "TX bit/s",
            Self::Graph => "TRAFFIC",
            Self::RxTotal => "RX",
            Self::TxTotal => "TX",
        }
    }

    fn is_text(self) -> bool {
        matches!(
            self,
            Self::Device | Self::Name | Self::Endpoint | Self::Allowed | Self::Graph
        )
    }

    fn sorts(self, sort: Sort) -> bool {
        match sort {
            Sort::Rate => matches!(self, Self::Rx | Self::Tx),
            Sort::Handshake => self == Self::Handshake,
            Sort::Name => self == Self::Name,
            Sort::Bytes => matches!(self, Self::RxTotal | Self::TxTotal),
        }
    }
}

/// Columns and their widths, with one blank between them, for a screen of `width`.
fn columns(width: u16, several: bool) -> Vec<(Column, u16)> {
    let wide = width >= 110;
    let mut all = vec![
        (Column::Name, 14),
        (Column::Handshake, 10),
        (Column::Rx, 9),
        (Column::Tx, 9),
        (Column::Graph, 8),
    ];
    if several {
        all.insert(0, (Column::Device, 15));
    }
    // Beside a column more there is no room for totals on 80.
    if width >= if several { 96 } else { 78 } {
        all.extend([(Column::RxTotal, 9), (Column::TxTotal, 9)]);
    }
    let after = |name| {
        all.iter()
            .position(|(column, _)| *column == name)
            .map_or(0, |at| at + 1)
    };
    let (name, mut more) = (after(Column::Name), Vec::new());
    if wide {
        more.push((Column::Endpoint, if width >= 160 { 28 } else { 22 }));
    }
    if width >= 140 {
        more.push((Column::Allowed, if width >= 180 { 30 } else { 20 }));
    }
    all.splice(name..name, more);
    let used: u16 = all.iter().map(|(_, width)| width + 1).sum();
    // The rest is for names, then for graphs.
    let mut left = width.saturating_sub(used + 1);
    for (column, width) in &mut all {
        let (share, most) = match column {
            Column::Name => (left, 44),
            _ => continue,
        };
        let more = share.min(most - *width);
        *width += if wide { more.min(left / 2) } else { more };
    }
    let used: u16 = all.iter().map(|(_, width)| width + 1).sum();
    left = width.saturating_sub(used + 1);
    for (column, width) in &mut all {
        if *column == Column::Graph {
            *width += left;
        }
    }
    all
}

/// Draws between rows `y` and `bottom`.
pub fn draw(canvas: &mut Canvas<'_>, y: u16, bottom: u16, model: &Model, view: &mut View) {
    let several = model.devices.len() > 1 && view.focus.is_none();
    let columns = columns(canvas.area().width, several);
    let rows = bottom.saturating_sub(y + 2);
    view.fit(rows.into());
    rule(canvas, y, model, view);
    headings(canvas, y + 1, &columns, view);
    let seen = view
        .rows
        .iter()
        .enumerate()
        .skip(view.top)
        .take(rows.into());
    for (line, (at, &(d, p))) in (y + 2..).zip(seen) {
        let Some(device) = model.devices.get(d) else {
            continue;
        };
        let Some(peer) = device.peers.get(p) else {
            continue;
        };
        row(canvas, line, &columns, device, peer, model.wall);
        if at == view.cursor {
            canvas.fill(line, Ink::Chosen);
            canvas.left(0, line, 1, "▸", Ink::Chosen);
        }
    }
    if view.rows.is_empty() {
        let text = if view.filter.is_empty() {
            "no peers"
        } else {
            "no peer matches the filter; Esc clears it"
        };
        canvas.left(1, y + 2, u16::MAX, text, Ink::Faint);
    }
}

fn rule(canvas: &mut Canvas<'_>, y: u16, model: &Model, view: &View) {
    let width = canvas.area().width;
    canvas.left(0, y, width, &"─".repeat(width.into()), Ink::Faint);
    let whose = view.focus.as_ref().map(|name| format!(" of {name}"));
    let text = format!(" peers{} ", whose.unwrap_or_default());
    let x = canvas.left(2, y, width, &text, Ink::Head);
    if !view.filter.is_empty() {
        let text = format!(" filter: {} ", view.filter);
        canvas.left(x + 1, y, width / 2, &text, Ink::Warn);
    }
    let all = model.peer_count();
    let shown = view.rows.len();
    let last = (view.top + view.page).min(shown);
    let mut text = format!(
        " {}-{} of {} ",
        count((view.top + 1).min(shown) as u64),
        count(last as u64),
        count(shown as u64)
    );
    if shown < all {
        text.push_str(&format!("({} in all) ", count(all as u64)));
    }
    canvas.right(0, y, width - 2, &text, Ink::Faint);
}

fn headings(canvas: &mut Canvas<'_>, y: u16, columns: &[(Column, u16)], view: &View) {
    let arrow = if view.reverse { "▲" } else { "▼" };
    let mut x = 1;
    for (column, width) in columns {
        let text = if column.sorts(view.sort) {
            format!("{arrow}{}", column.heading())
        } else {
            column.heading().to_owned()
        };
        if column.is_text() {
            canvas.left(x, y, *width, &text, Ink::Head);
        } else {
            canvas.right(x, y, *width, &text, Ink::Head);
        }
        x += width + 1;
    }
}

fn row(
    canvas: &mut Canvas<'_>,
    y: u16,
    columns: &[(Column, u16)],
    device: &Device,
    peer: &Peer,
    wall: u64,
) {
    let mut x = 1;
    for &(column, width) in columns {
        let (text, ink) = cell(canvas, column, width, device, peer, wall);
        if column.is_text() {
            canvas.left(x, y, width, &text, ink);
        } else {
            canvas.right(x, y, width, &text, ink);
        }
        x += width + 1;
    }
}

fn cell(
    canvas: &Canvas<'_>,
    column: Column,
    width: u16,
    device: &Device,
    peer: &Peer,
    wall: u64,
) -> (String, Ink) {
    let moving = |rate: f64, ink| if rate > 0.0 { ink } else { Ink::Faint };
    match column {
        Column::Device => (device.name.to_string(), Ink::Plain),
        Column::Name if peer.name.is_empty() => (peer.label(), Ink::Plain),
        Column::Name => (peer.label(), Ink::Strong),
        Column::Endpoint => match peer.endpoint {
            Some(endpoint) => (endpoint.to_string(), Ink::Plain),
            None => ("·".to_owned(), Ink::Faint),
        },
        Column::Allowed => (networks(peer), Ink::Faint),
        Column::Handshake => handshake(peer, wall),
        Column::Rx => {
            let now = peer.rx.per_second;
            (rate(now), moving(now, Ink::Receive))
        }
        Column::Tx => {
            let now = peer.tx.per_second;
            (rate(now), moving(now, Ink::Send))
        }
        Column::Graph => {
            let graph = peer.history.graph(width.into(), canvas.look.steps());
            (graph, Ink::Graph)
        }
        Column::RxTotal => (bytes(peer.rx.total), Ink::Plain),
        Column::TxTotal => (bytes(peer.tx.total), Ink::Plain),
    }
}

/// Those that fit into a column; a peer may have thousands.
fn networks(peer: &Peer) -> String {
    let first: Vec<_> = peer
        .allowed
        .iter()
        .take(4)
        .map(ToString::to_string)
        .collect();
    first.join(", ")
}

/// How long ago the last one was.
pub fn handshake(peer: &Peer, wall: u64) -> (String, Ink) {
    if peer.handshake == 0 {
        return ("never".to_owned(), Ink::Faint);
    }
    let ink = if peer.is_active(wall) {
        Ink::Good
    } else {
        Ink::Faint
    };
    (age(wall.saturating_sub(peer.handshake)), ink)
}

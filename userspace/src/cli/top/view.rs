//! What is looked at: order, filter, the selected peer, and which screen.

use super::device::{Device, Peer};
use super::model::Model;
use crate::control::names::InterfaceName;
use crate::crypto::PublicKey;

/// Characters of a filter.
const FILTER_MAX: usize = 64;

/// The order of the peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Those that move most now
    #[default]
    Rate,
    /// The latest handshake first
    Handshake,
    /// By name; those without by key
    Name,
    /// Those that moved most
    Bytes,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Rate, Self::Handshake, Self::Name, Self::Bytes];

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self);
        Self::ALL[at.map_or(0, |at| (at + 1) % Self::ALL.len())]
    }
}

/// Which screen is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// Devices and peers.
    #[default]
    List,
    /// All of one peer.
    Peer,
    /// All of one device: drops, rings, threads.
    Device,
    /// The keys.
    Help,
}

/// A peer: its device's place among the devices, and its own place there.
pub type Place = (usize, usize);

/// How the model is looked at.
#[derive(Default)]
pub struct View {
    pub screen: Screen,
    pub sort: Sort,
    pub reverse: bool,
    pub filter: String,
    /// Characters go to the filter.
    pub typing: bool,
    /// What is sampled is not taken over.
    pub paused: bool,
    /// The device whose peers are shown; all of them without.
    pub focus: Option<InterfaceName>,
    /// Peers shown, in order.
    pub rows: Vec<Place>,
    /// The selected row.
    pub cursor: usize,
    /// The first row that is seen.
    pub top: usize,
    /// Rows that are seen at once; drawing sets it.
    pub page: usize,
    /// The first line of a long screen that is seen.
    pub scroll: usize,
    selected: Option<(InterfaceName, PublicKey)>,
}

impl View {
    /// Sorts and filters anew; the selected peer stays so, wherever it is now. While
    /// nobody moved from the first row, that row is; but not under a page about one.
    pub fn refresh(&mut self, model: &Model) {
        let needle = self.filter.to_lowercase();
        self.rows.clear();
        for (d, device) in model.devices.iter().enumerate() {
            if self.focus.as_ref().is_some_and(|name| *name != device.name) {
                continue;
            }
            let peers = device.peers.iter().enumerate();
            let found =
                peers.filter(|(_, peer)| needle.is_empty() || matches(peer, device, &needle));
            self.rows.extend(found.map(|(p, _)| (d, p)));
        }
        self.order(model);
        let at = self.selected.as_ref().and_then(|(name, key)| {
            let mut rows = self.rows.iter();
            rows.position(|&(d, p)| {
                let device = &model.devices[d];
                device.peers[p].key == *key && device.name == *name
            })
        });
        self.cursor = match at {
            Some(at) if self.cursor > 0 || self.screen != Screen::List => at,
            _ => self.cursor.min(self.rows.len().saturating_sub(1)),
        };
        self.select(model);
    }

    fn order(&mut self, model: &Model) {
        let peer = |&(d, p): &Place| -> &Peer { &model.devices[d].peers[p] };
        let rows = &mut self.rows;
        // Ties keep one order, or rows would jump from look to look.
        match self.sort {
            Sort::Name => rows.sort_by_cached_key(|row| {
                let peer = peer(row);
                (peer.name.is_empty(), peer.label().to_lowercase(), *row)
            }),
            Sort::Rate => rows.sort_by(|a, b| {
                let (x, y) = (peer(a), peer(b));
                y.rate()
                    .total_cmp(&x.rate())
                    .then_with(|| y.handshake.cmp(&x.handshake))
                    .then_with(|| x.key.cmp(&y.key))
            }),
            Sort::Handshake => rows.sort_by(|a, b| {
                let (x, y) = (peer(a), peer(b));
                y.handshake
                    .cmp(&x.handshake)
                    .then_with(|| x.key.cmp(&y.key))
            }),
            Sort::Bytes => rows.sort_by(|a, b| {
                let (x, y) = (peer(a), peer(b));
                let moved = |p: &Peer| p.rx.total.saturating_add(p.tx.total);
                moved(y).cmp(&moved(x)).then_with(|| x.key.cmp(&y.key))
            }),
        }
        if self.reverse {
            rows.reverse();
        }
    }

    fn select(&mut self, model: &Model) {
        self.selected = self
            .current(model)
            .map(|(device, peer)| (device.name.clone(), peer.key));
    }

    /// The selected peer and its device.
    pub fn current<'a>(&self, model: &'a Model) -> Option<(&'a Device, &'a Peer)> {
        let &(d, p) = self.rows.get(self.cursor)?;
        let device = model.devices.get(d)?;
        Some((device, device.peers.get(p)?))
    }

    /// The device that the device's screen shows.
    pub fn device<'a>(&self, model: &'a Model) -> Option<&'a Device> {
        let named = |name: &InterfaceName| model.devices.iter().find(|d| d.name == *name);
        let focused = self.focus.as_ref().and_then(named);
        focused
            .or_else(|| self.current(model).map(|(device, _)| device))
            .or_else(|| model.devices.first())
    }

    /// Moves the selection.
    pub fn step(&mut self, by: isize, model: &Model) {
        let last = self.rows.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.select(model);
    }

    /// The next order.
    pub fn next_sort(&mut self, model: &Model) {
        self.sort = self.sort.next();
        self.reverse = false;
        self.first(model);
    }

    /// The same order, the other way round.
    pub fn turn(&mut self, model: &Model) {
        self.reverse = !self.reverse;
        self.first(model);
    }

    /// Another filter.
    pub fn set_filter(&mut self, change: impl FnOnce(&mut String), model: &Model) {
        change(&mut self.filter);
        if let Some((end, _)) = self.filter.char_indices().nth(FILTER_MAX) {
            self.filter.truncate(end);
        }
        self.first(model);
    }

    /// The next device, and all of them after the last.
    pub fn next_device(&mut self, forward: bool, model: &Model) {
        let names: Vec<_> = model.devices.iter().map(|d| &d.name).collect();
        let at = self
            .focus
            .as_ref()
            .and_then(|f| names.iter().position(|n| *n == f));
        let next = match (at, forward) {
            (None, true) => Some(0),
            (None, false) => names.len().checked_sub(1),
            (Some(at), true) => Some(at + 1),
            (Some(at), false) => at.checked_sub(1),
        };
        self.focus = next
            .and_then(|at| names.get(at))
            .map(|name| (*name).clone());
        self.first(model);
    }

    fn first(&mut self, model: &Model) {
        self.cursor = 0;
        self.top = 0;
        self.refresh(model);
    }

    /// Has the selected row among the `page` rows that are seen.
    pub fn fit(&mut self, page: usize) {
        self.page = page;
        let lowest = (self.cursor + 1).saturating_sub(page);
        let highest = self.rows.len().saturating_sub(page);
        self.top = self.top.clamp(lowest, self.cursor.max(lowest)).min(highest);
    }
}

/// In name, key, endpoint, networks or device, in any case.
fn matches(peer: &Peer, device: &Device, needle: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(needle);
    has(&peer.name)
        || has(device.name.as_str())
        || has(&peer.key.to_base64())
        || peer
            .endpoint
            .is_some_and(|endpoint| has(&endpoint.to_string()))
        || peer.allowed.iter().any(|prefix| has(&prefix.to_string()))
}

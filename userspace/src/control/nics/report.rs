//! What `show` and metrics tell of the network cards.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::card::Card;
use super::{Entry, Nics, State};
use crate::bpf::Counts;
use crate::control::options::IoMode;
use crate::datapath::port::Tunnel;
use crate::datapath::rings::RingTotals;
use crate::net::hops::NoHop;
use crate::xsk::RingSizes;

/// Endpoints that are told with why they are reached by the socket.
const BY_SOCKET_MAX: usize = 8;

/// How a device's packets travel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoReport {
    /// `xdp` if any of it goes through rings, else `udp`.
    pub io: &'static str,
    /// Why, in one line.
    pub reason: String,
    /// What was asked for.
    pub asked: &'static str,
    /// It is not carried out yet.
    pub pending: bool,
    /// Rings come with the first peer that has an endpoint.
    pub waits: bool,
    /// The cards of the process that carry the program.
    pub cards: Vec<CardReport>,
    /// Endpoints that are reached by the socket although rings are in use, and why.
    pub by_socket: Vec<String>,
}

/// A card that carries the program. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardReport {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// `native` or `generic`.
    pub xdp: String,
    /// `zero-copy` or `copy`.
    pub transfer: String,
    /// Bytes of a frame of its rings.
    pub frame_size: u32,
    /// Its queues.
    pub queues: Vec<RingTotals>,
}

/// A LAN interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LanReport {
    /// Its name.
    pub name: String,
    /// `native`, `generic` or `none`.
    pub xdp: String,
    /// Why it does not carry the program.
    pub refused: Option<String>,
    /// Why connections are clamped in the tunnel only, although it carries the program.
    pub not_clamping: Option<String>,
    /// Its rings, if packets go past the kernel's stack.
    pub forwarding: Option<CardReport>,
    /// Why they do not, although that was asked for.
    pub not_forwarding: Option<String>,
}

impl Nics {
    /// The LAN interfaces.
    pub fn lan(&self) -> Vec<LanReport> {
        self.lan.borrow().report(&self.options.lan)
    }

    /// What the program on the LAN interfaces counted; none if it is not loaded.
    pub fn lan_counts(&self) -> Option<Counts> {
        self.lan.borrow().counts()
    }

    /// How this device's packets travel, and why.
    pub fn report(&self, tunnel: &Arc<Tunnel>) -> IoReport {
        let state = self.state.borrow();
        let member = state
            .members
            .iter()
            .find(|m| Arc::ptr_eq(&m.tunnel, tunnel));
        let mode = member.map_or(IoMode::Udp, |member| member.mode);
        let cards = self.cards();
        let used = || {
            let of = member.filter(|m| m.port != 0 && state.broken.is_none());
            state
                .attached()
                .filter(move |card| of.is_some_and(|m| m.uses(card)))
        };
        let pending = state.busy
            || !state.wanted.is_empty()
            || state.unused(&self.options.wan).next().is_some();
        if used().next().is_some() {
            let names: Vec<String> = used()
                .map(|card| {
                    format!(
                        "{}: {}, {}, {} queue{}",
                        card.name,
                        card.mode,
                        card.transfer,
                        card.queues.len(),
                        if card.queues.len() == 1 { "" } else { "s" }
                    )
                })
                .collect();
            let by_socket = state.flows.all().into_iter().filter_map(|flow| {
                state
                    .flows
                    .users(&flow)
                    .find(|(t, ..)| Arc::ptr_eq(t, tunnel))?;
                let why = match self.hops.get(&flow)? {
                    Err(NoHop::Pending) => return None,
                    Err(why) => why.to_string(),
                    Ok(hop) => match state.cards.get(&hop.ifindex)? {
                        Entry::Attached(_) => return None,
                        Entry::Refused { why, .. } => why.clone(),
                    },
                };
                Some(format!("{}: {why}", flow.to))
            });
            return IoReport {
                io: "xdp",
                reason: names.join("; "),
                asked: mode.label(),
                pending,
                waits: false,
                by_socket: by_socket.take(BY_SOCKET_MAX).collect(),
                cards,
            };
        }
        let refusals: Vec<String> = state
            .cards
            .values()
            .filter_map(|entry| match entry {
                Entry::Refused { name, why, .. } if why.starts_with(&**name) => Some(why.clone()),
                Entry::Refused { name, why, .. } => Some(format!("{name}: {why}")),
                Entry::Attached(_) => None,
            })
            .collect();
        let wants = mode != IoMode::Udp && state.broken.is_none();
        let pending = pending || (wants && self.asks_for_hops(&state));
        let waits = wants && refusals.is_empty();
        let reason = if mode == IoMode::Udp {
            "asked for".to_owned()
        } else if let Some(why) = &state.broken {
            why.clone()
        } else if member.is_none_or(|m| m.port == 0) {
            "the device is down".to_owned()
        } else if pending {
            "a network card is being looked at".to_owned()
        } else if !refusals.is_empty() {
            refusals.join("; ")
        } else {
            "no network card is in use yet: the first packet to a peer decides".to_owned()
        };
        IoReport {
            io: "udp",
            reason,
            asked: mode.label(),
            pending,
            waits,
            cards,
            by_socket: Vec::new(),
        }
    }

    /// Whether the way to some peer is still being looked up.
    fn asks_for_hops(&self, state: &State) -> bool {
        let flows = state.flows.all();
        flows.iter().any(|flow| match self.hops.get(flow) {
            Some(Err(NoHop::Pending)) => true,
            // Known, and not told yet.
            Some(Ok(hop)) => !state.cards.contains_key(&hop.ifindex),
            _ => false,
        })
    }

    /// Slots of the rings of each queue.
    pub fn ring_sizes(&self) -> RingSizes {
        self.options.rings
    }

    /// The cards that carry the program.
    pub fn cards(&self) -> Vec<CardReport> {
        let state = self.state.borrow();
        state.attached().map(CardReport::of).collect()
    }

    /// What the program counted since it was loaded; none if it was not.
    pub fn counts(&self) -> Option<Counts> {
        let state = self.state.borrow();
        let counts = state.program.as_ref()?.counts();
        counts
            .inspect_err(|error| tracing::warn!(event = "xdp_counters_unread", %error, "the XDP program's counters"))
            .ok()
    }
}

impl CardReport {
    pub(super) fn of(card: &Card) -> Self {
        Self {
            name: card.name.to_string(),
            driver: card.driver.clone(),
            xdp: card.mode.to_string(),
            transfer: card.transfer.to_string(),
            frame_size: card.frame_size,
            queues: card.queues.iter().map(ring).collect(),
        }
    }
}

fn ring(queue: &super::card::Queue) -> RingTotals {
    let kernel = queue.probe.as_ref().and_then(|p| p.statistics().ok());
    queue.stats.totals(&kernel.unwrap_or_default())
}

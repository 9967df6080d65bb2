//! What is known of cards, devices and flows, and what follows for the
//! program's maps and the peers' exits. No waiting.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ringtun_common::packet::mapped;
use ringtun_common::tables::LocalEndpoint;

use super::card::Card;
use super::flows::{self, Flows};
use super::steer;
use crate::bpf::WanProgram;
use crate::control::names::InterfaceName;
use crate::control::options::IoMode;
use crate::datapath::path::{Exit, Path};
use crate::datapath::port::Tunnel;
use crate::net::hops::NoHop;
use crate::net::outer::{Flow, Hop, Template};
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::time::BootTime;
use crate::xsk::Transfer;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) program: Option<WanProgram>,
    pub(super) cards: BTreeMap<u32, Entry>,
    /// Cards that a flow leads to and that were not looked at yet.
    pub(super) wanted: BTreeSet<u32>,
    pub(super) flows: Flows,
    pub(super) members: Vec<Member>,
    /// Addresses of this host.
    pub(super) locals: HashSet<IpAddr>,
    /// What the program's map holds.
    pub(super) endpoints: HashSet<LocalEndpoint>,
    /// A card is being attached or let go.
    pub(super) busy: bool,
    /// Why tunnels of others are not steered, by place in the options.
    pub(super) not_steered: BTreeMap<usize, String>,
    /// Why nothing works at all.
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Attached(Box<Card>),
    Refused {
        name: Arc<str>,
        why: String,
        at: BootTime,
    },
}

/// A device, and what its packets' way depends on.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) mode: IoMode,
    pub(super) port: u16,
    pub(super) mark: u32,
    /// Index of the TUN device in this namespace; 0 if it is in another.
    pub(super) tun: u32,
}

impl Member {
    pub(super) fn flow(&self, endpoint: &Endpoint) -> Flow {
        Flow {
            to: endpoint.addr,
            source: flows::source(endpoint),
            port: self.port,
            mark: self.mark,
            tunnel: self.tun,
        }
    }

    /// Whether it may use that card.
    pub(super) fn uses(&self, card: &Card) -> bool {
        match self.mode {
            IoMode::Udp => false,
            IoMode::Xdp => true,
            IoMode::Auto => card.transfer == Transfer::ZeroCopy,
        }
    }
}

impl State {
    pub(super) fn member(&mut self, tunnel: &Arc<Tunnel>) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.tunnel, tunnel))
    }

    /// A card to look at; it is being looked at from now on.
    pub(super) fn take_wanted(&mut self) -> Option<u32> {
        let index = self.wanted.pop_first();
        self.busy |= index.is_some();
        index
    }

    pub(super) fn names(&self) -> Vec<InterfaceName> {
        let names = self.members.iter().map(|m| m.tunnel.name.parse());
        names.filter_map(Result::ok).collect()
    }

    pub(super) fn attached(&self) -> impl Iterator<Item = &Card> {
        self.cards.values().filter_map(|entry| match entry {
            Entry::Attached(card) => Some(&**card),
            Entry::Refused { .. } => None,
        })
    }

    /// Cards that no device may use any more; not those of `wan`.
    pub(super) fn unused(&self, wan: &[InterfaceName]) -> impl Iterator<Item = &Card> {
        self.attached().filter(move |card| {
            let used = |m: &Member| m.port != 0 && m.uses(card);
            !self.members.iter().any(used) && !steer::is_asked_for(wan, &card.name)
        })
    }

    pub(super) fn forget_refusal(&mut self, index: u32) {
        if matches!(self.cards.get(&index), Some(Entry::Refused { .. })) {
            self.cards.remove(&index);
        }
    }

    /// Tells the peers of this flow how their packets leave. True if there is a
    /// card to look at first.
    pub(super) fn answered(&mut self, flow: &Flow, answer: &Result<Hop, NoHop>) -> bool {
        let mut news = false;
        if let Ok(hop) = answer
            && !self.cards.contains_key(&hop.ifindex)
            && self.broken.is_none()
        {
            news = self.wanted.insert(hop.ifindex);
        }
        let card = answer
            .as_ref()
            .ok()
            .and_then(|hop| match self.cards.get(&hop.ifindex) {
                Some(Entry::Attached(card)) => Some((hop, card)),
                _ => None,
            });
        for (tunnel, cell, endpoint) in self.flows.users(flow) {
            let member = self
                .members
                .iter()
                .find(|m| Arc::ptr_eq(&m.tunnel, &tunnel));
            let by_ring = card.filter(|(_, card)| member.is_some_and(|m| m.uses(card)));
            let template = by_ring.map(|(hop, _)| Template::new(hop, flow.port, flow.to.port()));
            Path::of(&cell).set_exit(Some(Exit {
                to: endpoint,
                template,
            }));
        }
        news
    }

    /// Makes the program's map hold the addresses and ports of the devices that
    /// use a card, and tells these devices.
    pub(super) fn sync(&mut self) {
        let mut wanted = HashSet::new();
        for member in &self.members {
            let may = self.broken.is_none() && member.port != 0 && member.mode != IoMode::Udp;
            // Also while there is no card: workers ask for the way to each peer,
            // and that is how one gets here.
            member.tunnel.use_rings(may);
            if may && self.attached().any(|card| member.uses(card)) {
                let endpoint = |ip: &IpAddr| {
                    let address = match ip {
                        IpAddr::V4(ip) => mapped(ip.octets()),
                        IpAddr::V6(ip) => ip.octets(),
                    };
                    LocalEndpoint::new(address, member.port)
                };
                wanted.extend(self.locals.iter().map(endpoint));
            }
        }
        let Some(program) = &mut self.program else {
            // Nothing is attached, or a card is being attached: it syncs after.
            return;
        };
        // What is ours no more goes first: there is only so much room.
        for gone in self.endpoints.difference(&wanted) {
            if let Err(error) = program.remove_endpoint(*gone) {
                tracing::warn!(event = "xdp_address_stays", %error, "an address stays in the XDP program's map");
            }
        }
        let mut there: HashSet<_> = self.endpoints.intersection(&wanted).copied().collect();
        for new in wanted.difference(&self.endpoints) {
            match program.add_endpoint(*new) {
                Ok(()) => {
                    there.insert(*new);
                }
                Err(error) => {
                    tracing::warn!(event = "xdp_address_missing", %error, "an address is not in the XDP program's map: its packets go by the socket");
                }
            }
        }
        self.endpoints = there;
    }
}

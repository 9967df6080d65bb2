//! Which peers' packets take which flow.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::datapath::port::Tunnel;
use crate::net::outer::Flow;
use crate::net::udp;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;

/// A peer that uses a flow.
#[derive(Debug)]
pub struct User {
    cell: Weak<PeerCell>,
    tunnel: Weak<Tunnel>,
    /// What it had sent when that was looked at last.
    tx_bytes: u64,
}

/// All flows that were asked for, and by whom.
#[derive(Debug, Default)]
pub struct Flows(HashMap<Flow, Vec<User>>);

/// What is to be done with a flow that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nobody uses it any more.
    Nobody,
    /// Nothing was sent since the last look.
    Quiet,
    /// It carries packets.
    Active,
}

impl Flows {
    /// The peer sends by this flow from now on.
    pub fn add(&mut self, flow: Flow, tunnel: &Arc<Tunnel>, cell: &Arc<PeerCell>) {
        let users = self.0.entry(flow).or_default();
        let cell = Arc::downgrade(cell);
        if users.iter().any(|user| user.cell.ptr_eq(&cell)) {
            return;
        }
        users.push(User {
            cell,
            tunnel: Arc::downgrade(tunnel),
            tx_bytes: 0,
        });
    }

    /// Every flow.
    pub fn all(&self) -> Vec<Flow> {
        self.0.keys().copied().collect()
    }

    /// Who uses the flow, and the endpoint by which they do.
    pub fn users(
        &self,
        flow: &Flow,
    ) -> impl Iterator<Item = (Arc<Tunnel>, Arc<PeerCell>, Endpoint)> {
        let users = self.0.get(flow).map_or(&[][..], Vec::as_slice);
        users.iter().filter_map(|user| user.alive(flow))
    }

    /// Forgets who does not use the flow any more, and the flow with the last of them.
    pub fn look(&mut self, flow: &Flow) -> Use {
        let Some(users) = self.0.get_mut(flow) else {
            return Use::Nobody;
        };
        let mut active = false;
        users.retain_mut(|user| {
            let Some((_, cell, _)) = user.alive(flow) else {
                return false;
            };
            let sent = cell.tx_bytes();
            active |= sent != user.tx_bytes;
            user.tx_bytes = sent;
            true
        });
        if users.is_empty() {
            self.0.remove(flow);
            Use::Nobody
        } else if active {
            Use::Active
        } else {
            Use::Quiet
        }
    }

    /// Takes out all flows of a device; gives them and their peers.
    pub fn remove_of(&mut self, tunnel: &Arc<Tunnel>) -> Vec<(Flow, Vec<Arc<PeerCell>>)> {
        let tunnel = Arc::downgrade(tunnel);
        let is_of =
            |_: &Flow, users: &mut Vec<User>| users.iter().all(|user| user.tunnel.ptr_eq(&tunnel));
        let removed = self.0.extract_if(is_of);
        removed
            .map(|(flow, users)| {
                (
                    flow,
                    users.iter().filter_map(|u| u.cell.upgrade()).collect(),
                )
            })
            .collect()
    }
}

impl User {
    fn alive(&self, flow: &Flow) -> Option<(Arc<Tunnel>, Arc<PeerCell>, Endpoint)> {
        let (cell, tunnel) = (self.cell.upgrade()?, self.tunnel.upgrade()?);
        let endpoint = cell.endpoint.get()?;
        let uses = flow.to == endpoint.addr && flow.source == source(&endpoint);
        (uses && !cell.is_removed()).then_some((tunnel, cell, endpoint))
    }
}

/// The pinned source of an endpoint, as the socket takes it.
#[must_use]
pub fn source(endpoint: &Endpoint) -> Option<udp::Source> {
    endpoint.source.map(|source| udp::Source {
        addr: source.addr,
        ifindex: source.ifindex,
    })
}

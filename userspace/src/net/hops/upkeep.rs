//! Keeping the table small and its neighbours fresh.

use super::NoHop;
use super::table::{FLOWS_MAX, IN_USE, Table};
use crate::net::netlink::{Neighbour, NeighbourKey};
use crate::net::outer::Flow;
use crate::tunnel::time::BootTime;
use std::time::Duration;

/// How often room is made where there is none: it takes a look at every flow.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Table {
    /// The flow does not use that neighbour any more.
    pub(super) fn leave(&mut self, flow: &Flow, neighbour: Option<NeighbourKey>) {
        let Some(key) = neighbour else {
            return;
        };
        if let Some(known) = self.neighbours.get_mut(&key) {
            known.users.remove(flow);
            if known.users.is_empty() {
                self.neighbours.remove(&key);
                self.stale.retain(|stale| *stale != key);
            }
        }
    }

    pub(super) fn neighbour_is(&mut self, key: NeighbourKey, state: Neighbour, now: BootTime) {
        let Some(known) = self.neighbours.get_mut(&key) else {
            return;
        };
        known.state = state;
        known.told = false;
        for flow in &known.users {
            self.work.push(*flow);
        }
        self.keep_fresh(key, now);
    }

    /// Has the kernel ask a STALE neighbour that is in use.
    pub(super) fn keep_fresh(&mut self, key: NeighbourKey, now: BootTime) {
        let Some(known) = self.neighbours.get_mut(&key) else {
            return;
        };
        if known.told || !matches!(known.state, Neighbour::Stale(_)) {
            return;
        }
        let in_use = |flow: &Flow| {
            self.entries
                .get(flow)
                .is_some_and(|entry| now.since(entry.wanted_at) < IN_USE)
        };
        if known.users.iter().any(in_use) {
            known.told = true;
            self.stale.push_back(key);
        }
    }

    /// Whether one more flow can be kept; if need be, those that are not in
    /// use are given up.
    pub(super) fn has_room(&mut self, now: BootTime) -> bool {
        let full = self.entries.len() >= FLOWS_MAX;
        if full && (now.since(self.swept_at) >= SWEEP_EVERY || self.swept_at == BootTime::ZERO) {
            self.swept_at = now;
            self.give_up_unused(now);
        }
        // Forgotten flows stand in the queue until their turn.
        self.entries.len() < FLOWS_MAX && self.work.len() < 2 * FLOWS_MAX
    }

    fn give_up_unused(&mut self, now: BootTime) {
        let unused: Vec<Flow> = self
            .entries
            .iter()
            .filter(|(_, entry)| now.since(entry.wanted_at) >= IN_USE)
            .map(|(flow, _)| *flow)
            .collect();
        for flow in unused {
            self.forget(&flow);
            self.changes.insert(flow, Err(NoHop::Forgotten));
        }
    }
}

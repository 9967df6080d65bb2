//! What is known of flows, links and neighbours, and what to ask next. Time is
//! an argument; whoever holds this does the asking.

use super::NoHop;
use super::path::{self, Walk};
use super::work::Work;
use crate::net::netlink::{Link, Neighbour, NeighbourKey, NetEvent, Way};
use crate::net::outer::{Flow, Hop};
use crate::tunnel::time::BootTime;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Flows kept, over all devices of a process: three times the peers of the
/// largest gateway that is planned for, roaming ones included.
pub const FLOWS_MAX: usize = 32_768;
/// A flow wanted within this time is in use.
pub const IN_USE: Duration = Duration::from_secs(60);
/// A route is looked up again when its flow is wanted and the last lookup is
/// older: no event tells that the kernel learned a path MTU.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After an event that can change every route, more of the same are waited for.
const SETTLE: Duration = Duration::from_millis(50);
/// Looking up all routes again takes at most one part in this many of the time.
const DUTY: u32 = 5;
/// However long it took: perhaps it was not let work.
const REST_MAX: Duration = Duration::from_secs(2);

/// Another answer for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub flow: Flow,
    /// Where its packets go from now on, or why by the socket.
    pub hop: Result<Hop, NoHop>,
}

/// A question for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// → [`Table::route`]
    Route(Flow),
    /// → [`Table::link`]
    Link(u32),
    /// → [`Table::neighbour`]
    Neighbour(NeighbourKey, Flow),
    /// Tell it that this neighbour is in use → [`Table::told_in_use`].
    Use(NeighbourKey),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this. Asked again until it is answered.
    Ask(Ask),
    /// Wait for an event or a new flow, or until then.
    Wait(Option<BootTime>),
}

/// One flow.
#[derive(Debug)]
pub(super) struct Entry {
    /// What was told last.
    answer: Result<Hop, NoHop>,
    /// `None`: to be asked for.
    way: Option<Result<Way, i32>>,
    /// It is one of this neighbour's users.
    pub(super) neighbour: Option<NeighbourKey>,
    pub(super) wanted_at: BootTime,
    looked_up_at: BootTime,
}

/// One neighbour.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) state: Neighbour,
    pub(super) users: HashSet<Flow>,
    /// Since its state changed last, the kernel was told that it is in use, or
    /// is about to be.
    pub(super) told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: HashMap<Flow, Entry>,
    /// All devices heard of; `None` for one that is not there.
    links: HashMap<u32, Option<Link>>,
    /// The neighbours that flows use.
    pub(super) neighbours: HashMap<NeighbourKey, Known>,
    /// Flows whose answer has to be found, some perhaps forgotten since.
    pub(super) work: Work,
    /// Neighbours to be reported in use.
    pub(super) stale: VecDeque<NeighbourKey>,
    /// Not taken yet.
    pub(super) changes: HashMap<Flow, Result<Hop, NoHop>>,
    /// All routes are to be looked up again, not before then.
    renew_at: Option<BootTime>,
    /// When that began last, if it is still going on.
    renewing_since: Option<BootTime>,
    /// Not again before then.
    rest_until: BootTime,
    /// When room was made last.
    pub(super) swept_at: BootTime,
}

impl Table {
    pub(super) fn wanted(&mut self, flow: &Flow, now: BootTime) -> Result<Hop, NoHop> {
        if !self.entries.contains_key(flow) && !self.has_room(now) {
            return Err(NoHop::TableFull);
        }
        let entry = self.entries.entry(*flow).or_insert_with(|| Entry {
            answer: Err(NoHop::Pending),
            way: None,
            neighbour: None,
            wanted_at: now,
            looked_up_at: now,
        });
        entry.wanted_at = now;
        if now.since(entry.looked_up_at) >= LOOK_AGAIN {
            entry.way = None;
        }
        let (answer, neighbour) = (entry.answer.clone(), entry.neighbour);
        if entry.way.is_none() {
            self.work.push(*flow);
        }
        if let Some(key) = neighbour {
            self.keep_fresh(key, now);
        }
        answer
    }

    pub(super) fn forget(&mut self, flow: &Flow) {
        self.changes.remove(flow);
        if let Some(entry) = self.entries.remove(flow) {
            self.leave(flow, entry.neighbour);
        }
    }

    pub(super) fn get(&self, flow: &Flow) -> Option<Result<Hop, NoHop>> {
        self.entries.get(flow).map(|entry| entry.answer.clone())
    }

    pub(super) fn has_work(&self) -> bool {
        !(self.work.is_empty() && self.stale.is_empty() && self.changes.is_empty())
    }

    /// How many flows have another answer than was taken.
    pub(super) fn changes(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.changes
            .drain()
            .map(|(flow, hop)| Change { flow, hop })
            .collect()
    }

    /// What happened.
    pub(super) fn heard(&mut self, event: NetEvent, now: BootTime) {
        match event {
            NetEvent::RoutesChanged | NetEvent::AddressAdded | NetEvent::AddressRemoved { .. } => {
                self.renew(now)
            }
            NetEvent::Link(link) => {
                // A device that went up or down takes routes along, untold.
                if self.links.get(&link.index) != Some(&Some(link.clone())) {
                    self.links.insert(link.index, Some(link));
                    self.renew(now);
                }
            }
            NetEvent::LinkRemoved(index) => {
                self.links.remove(&index);
                self.renew(now);
            }
            NetEvent::Neighbour(key, state) => self.neighbour_is(key, state, now),
            NetEvent::Lost => {
                self.links.clear();
                self.neighbours.clear();
                self.stale.clear();
                for entry in self.entries.values_mut() {
                    entry.neighbour = None;
                }
                self.renew(now);
            }
        }
    }

    /// What to do next.
    pub(super) fn next(&mut self, now: BootTime) -> Next {
        if let Some(key) = self.stale.front() {
            return Next::Ask(Ask::Use(*key));
        }
        if self.work.is_empty() && self.renew_at.is_some_and(|at| at <= now) {
            self.renew_at = None;
            self.renewing_since = Some(now);
            for (flow, entry) in &mut self.entries {
                entry.way = None;
                self.work.push(*flow);
            }
        }
        while let Some(flow) = self.work.front() {
            if let Some(ask) = self.settle(&flow, now) {
                return Next::Ask(ask);
            }
            self.work.pop();
        }
        if let Some(since) = self.renewing_since.take() {
            let rest = now.since(since) * (DUTY - 1);
            self.rest_until = now + rest.min(REST_MAX);
            self.renew_at = self.renew_at.map(|at| at.max(self.rest_until));
        }
        Next::Wait(self.renew_at)
    }

    pub(super) fn route(&mut self, flow: &Flow, answer: Result<Way, i32>, now: BootTime) {
        if let Some(entry) = self.entries.get_mut(flow) {
            entry.way = Some(answer);
            entry.looked_up_at = now;
        }
    }

    pub(super) fn link(&mut self, index: u32, answer: Option<Link>) {
        self.links.insert(index, answer);
    }

    pub(super) fn neighbour(&mut self, key: NeighbourKey, flow: &Flow, answer: Option<Neighbour>) {
        // If nobody wants it any more, it is not kept.
        let Some(entry) = self.entries.get_mut(flow) else {
            return;
        };
        let before = entry.neighbour.replace(key);
        let known = self.neighbours.entry(key).or_insert_with(|| Known {
            state: Neighbour::Unknown,
            users: HashSet::new(),
            told: false,
        });
        known.state = answer.unwrap_or(Neighbour::Unknown);
        known.told = false;
        known.users.insert(*flow);
        if before != Some(key) {
            self.leave(flow, before);
        }
    }

    pub(super) fn told_in_use(&mut self, key: NeighbourKey) {
        self.stale.retain(|stale| *stale != key);
    }

    /// Finds the flow's answer, or what has to be asked for it.
    fn settle(&mut self, flow: &Flow, now: BootTime) -> Option<Ask> {
        let entry = self.entries.get(flow)?;
        let Some(way) = entry.way else {
            return Some(Ask::Route(*flow));
        };
        let answer = match way {
            Err(errno) => Err((path::refused(flow, errno), None)),
            Ok(way) => match path::judge(flow, &way) {
                Err(why) => Err((why, None)),
                Ok(()) => {
                    let link = |index| self.links.get(&index).map(Option::as_ref);
                    match path::walk(way.ifindex, link) {
                        Walk::Unknown(index) => return Some(Ask::Link(index)),
                        Walk::Done(Err(why)) => Err((why, None)),
                        Walk::Done(Ok(found)) => {
                            let key = path::next_hop(flow, &way);
                            let Some(known) = self.neighbours.get(&key) else {
                                return Some(Ask::Neighbour(key, *flow));
                            };
                            path::hop(flow, &way, &found, known.state)
                                .map(|hop| (hop, key))
                                .map_err(|why| (why, Some(key)))
                        }
                    }
                }
            },
        };
        let (answer, neighbour) = match answer {
            Ok((hop, key)) => (Ok(hop), Some(key)),
            Err((why, key)) => (Err(why), key),
        };
        self.tell(flow, answer, neighbour);
        if let Some(key) = neighbour {
            self.keep_fresh(key, now);
        }
        None
    }

    fn tell(&mut self, flow: &Flow, answer: Result<Hop, NoHop>, neighbour: Option<NeighbourKey>) {
        let Some(entry) = self.entries.get_mut(flow) else {
            return;
        };
        if entry.answer != answer {
            entry.answer = answer.clone();
            self.changes.insert(*flow, answer);
        }
        let before = std::mem::replace(&mut entry.neighbour, neighbour);
        if before != neighbour {
            if let Some(known) = neighbour.and_then(|key| self.neighbours.get_mut(&key)) {
                known.users.insert(*flow);
            }
            self.leave(flow, before);
        }
    }

    /// All routes are to be looked up again, soon.
    fn renew(&mut self, now: BootTime) {
        let at = (now + SETTLE).max(self.rest_until);
        self.renew_at.get_or_insert(at);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

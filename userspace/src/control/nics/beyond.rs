//! Destinations on the LAN side of packets out of the tunnels: asked for by
//! workers, looked up like the ways to peers, kept true by the same events.
//!
//! The kernel is asked for the route of a packet of this host, so rules that
//! look at where a packet came in are not heeded; and its switches are read
//! (`net.ipv4.conf.DEVICE.forwarding`), as of its own accord it forwards nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nix::net::if_::if_indextoname;
use ringtun_common::lan::Inside;
use ringtun_common::mss::Limits;

use super::Nics;
use crate::datapath::forward::{DESTINATIONS_MAX, Destinations, NextHop};
use crate::datapath::port::Tunnel;
use crate::net::hops::NoHop;
use crate::net::outer::{Flow, Hop};
use crate::tunnel::allowed_ips::Prefix;

/// Looks ([`Nics::tend_beyond`]) after which a destination is given up to which
/// nothing went.
const QUIET_MAX: u8 = 6;

/// What is known, by device: the index of its TUN device.
#[derive(Debug, Default)]
pub struct Beyond(BTreeMap<u32, Of>);

/// Of one device.
#[derive(Debug)]
struct Of {
    tunnel: Arc<Tunnel>,
    known: Destinations,
    /// Whether the kernel forwards what comes out of it, by family.
    forwards: Forwards,
    /// Looks since something went there.
    quiet: HashMap<IpAddr, u8>,
    /// Workers do not know all of it.
    changed: bool,
}

impl Of {
    fn new(tunnel: Arc<Tunnel>, tun: u32) -> Self {
        Self {
            tunnel,
            forwards: Forwards::of(tun),
            known: Destinations::new(),
            quiet: HashMap::new(),
            changed: false,
        }
    }

    /// Makes room for one more. False if all that is known is in use.
    fn make_room(&mut self, forget: impl FnOnce(IpAddr)) -> bool {
        if self.known.len() < DESTINATIONS_MAX {
            return true;
        }
        let of_the_kernel = self.known.iter().find(|(_, hop)| hop.is_none());
        let Some(destination) = of_the_kernel.map(|(destination, _)| *destination) else {
            return false;
        };
        self.remove(destination);
        forget(destination);
        true
    }

    fn remove(&mut self, destination: IpAddr) {
        self.known.remove(&destination);
        self.quiet.remove(&destination);
        self.changed = true;
    }
}

impl Beyond {
    /// Lets the workers know what changed.
    pub fn publish(&mut self) {
        for of in self.0.values_mut() {
            if std::mem::take(&mut of.changed) {
                of.tunnel.forwarding.publish(of.known.clone());
            }
        }
    }
}

/// The question for a destination. No peer's has port 0.
fn flow(destination: IpAddr, tun: u32) -> Flow {
    Flow {
        to: SocketAddr::new(destination, 0),
        source: None,
        port: 0,
        mark: 0,
        tunnel: tun,
    }
}

/// Whether a flow is one of these.
pub fn is_beyond(flow: &Flow) -> bool {
    flow.port == 0
}

/// Whether the kernel forwards packets that come in by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forwards {
    v4: bool,
    v6: bool,
}

impl Forwards {
    /// As its switches are now.
    fn of(tun: u32) -> Self {
        let is_on = |path: &str| {
            let text = fs::read(path);
            text.is_ok_and(|text| text.first().is_some_and(|first| *first != b'0'))
        };
        let name = if_indextoname(tun).ok().and_then(|n| n.into_string().ok());
        Self {
            v4: name
                .is_some_and(|name| is_on(&format!("/proc/sys/net/ipv4/conf/{name}/forwarding"))),
            // The switch of one device says only whether it is a host's (RFC 4861).
            v6: is_on("/proc/sys/net/ipv6/conf/all/forwarding"),
        }
    }

    const fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }
}

impl Nics {
    /// Finds out where packets of this device for `destination` go, and keeps that true.
    pub fn want_hop(&self, tunnel: &Arc<Tunnel>, destination: IpAddr) {
        let tun = match self.state.borrow_mut().member(tunnel) {
            Some(member) if tunnel.forwarding.is_on() => member.tun,
            _ => return,
        };
        {
            let mut beyond = self.beyond.borrow_mut();
            let of = beyond.0.entry(tun);
            let of = of.or_insert_with(|| Of::new(Arc::clone(tunnel), tun));
            if of.known.contains_key(&destination) {
                return;
            }
            if !of.make_room(|gone| self.hops.forget(&flow(gone, tun))) {
                return;
            }
            of.known.insert(destination, None);
            of.quiet.insert(destination, 0);
        }
        let flow = flow(destination, tun);
        let answer = self.hops.wanted(&flow);
        self.hop_found(&flow, &answer);
        self.beyond.borrow_mut().publish();
    }

    /// Takes what is known of a destination; [`Beyond::publish`] tells the workers.
    pub(super) fn hop_found(&self, flow: &Flow, answer: &Result<Hop, NoHop>) {
        let mut beyond = self.beyond.borrow_mut();
        let Some(of) = beyond.0.get_mut(&flow.tunnel) else {
            return;
        };
        let destination = flow.to.ip();
        let lan = self.lan.borrow();
        let forwards = of.forwards.has(destination);
        let hop = answer.as_ref().ok();
        let hop = hop.filter(|hop| forwards && lan.forwards(hop.ifindex));
        let Some(known) = of.known.get_mut(&destination) else {
            return;
        };
        let new = hop.map(NextHop::new);
        if known.as_deref() != new.as_ref() {
            *known = new.map(Arc::new);
            of.changed = true;
        }
    }

    /// Looks through the destinations: those in use are wanted again, which keeps their
    /// neighbours fresh, and those not in use are forgotten.
    pub(super) fn tend_beyond(&self) {
        let mut wanted = Vec::new();
        let mut switched = false;
        for (tun, of) in &mut self.beyond.borrow_mut().0 {
            let before = std::mem::replace(&mut of.forwards, Forwards::of(*tun));
            switched |= of.forwards != before;
            let mut gone = Vec::new();
            for (destination, quiet) in &mut of.quiet {
                let hop = of.known.get(destination).and_then(Option::as_deref);
                if hop.is_some_and(NextHop::take_used) {
                    *quiet = 0;
                    wanted.push(flow(*destination, *tun));
                } else {
                    *quiet += 1;
                    if *quiet > QUIET_MAX {
                        gone.push(*destination);
                    }
                }
            }
            for destination in gone {
                of.remove(destination);
                self.hops.forget(&flow(destination, *tun));
            }
        }
        for flow in wanted {
            let answer = self.hops.wanted(&flow);
            self.hop_found(&flow, &answer);
        }
        if switched {
            self.judge_beyond();
        }
        self.beyond.borrow_mut().publish();
    }

    /// Judges all destinations anew by what the kernel has told of them.
    fn judge_beyond(&self) {
        let known: Vec<Flow> = {
            let beyond = self.beyond.borrow();
            let of = beyond.0.iter();
            of.flat_map(|(tun, of)| of.known.keys().map(|to| flow(*to, *tun)))
                .collect()
        };
        for flow in known {
            if let Some(answer) = self.hops.get(&flow) {
                self.hop_found(&flow, &answer);
            }
        }
    }

    /// Forgets the destinations of a device.
    pub(super) fn forget_beyond(&self, tunnel: &Arc<Tunnel>) {
        let is_of = |_: &u32, of: &mut Of| Arc::ptr_eq(&of.tunnel, tunnel);
        let gone: Vec<_> = {
            let mut beyond = self.beyond.borrow_mut();
            beyond.0.extract_if(.., is_of).collect()
        };
        for (tun, of) in gone {
            for destination in of.known.keys() {
                self.hops.forget(&flow(*destination, tun));
            }
        }
        tunnel.forwarding.publish(Destinations::new());
    }

    /// A device or a LAN interface came, went or changed: tells the workers which
    /// devices' packets go past the kernel's stack, and where to.
    pub(super) fn forwarding_changed(&self) {
        let any = self.lan.borrow().cards().next().is_some();
        {
            let state = self.state.borrow();
            for member in &state.members {
                let on = any && state.broken.is_none() && member.port != 0 && member.tun != 0;
                member.tunnel.forwarding.set(on);
            }
        }
        self.judge_beyond();
        self.beyond.borrow_mut().publish();
        self.inside_changed();
    }

    /// Networks inside the tunnels that are up: what a segment into them may be, the
    /// smaller where two devices have the same, and by which device packets may go
    /// past the kernel's stack: none where two devices' networks overlap, as a worker
    /// could not tell them apart.
    pub(super) fn inside(&self) -> HashMap<Prefix, Inside> {
        let forwards = self.lan.borrow().cards().next().is_some();
        let state = self.state.borrow();
        let mut all: HashMap<Prefix, Inside> = HashMap::new();
        let mut owners = Vec::new();
        for member in state.members.iter().filter(|member| member.port != 0) {
            let limits = member.tunnel.mss_limits();
            let tunnel = if forwards { member.tun } else { 0 };
            let inside = Inside {
                limits: limits.unwrap_or(Limits::fixed(u16::MAX)),
                tunnel,
            };
            let is_of_use = limits.is_some() || tunnel != 0;
            let snapshot = member.tunnel.shared.snapshot();
            for (prefix, _) in snapshot.allowed_ips.iter() {
                owners.push((prefix, Arc::as_ptr(&member.tunnel)));
                if is_of_use {
                    all.entry(prefix)
                        .and_modify(|known| known.limits = known.limits.min(inside.limits))
                        .or_insert(inside);
                }
            }
        }
        for prefix in contested(owners) {
            if let Some(inside) = all.get_mut(&prefix) {
                inside.tunnel = 0;
            }
        }
        all
    }
}

/// Networks that overlap with one of another owner.
fn contested<O: Copy + Ord>(mut owners: Vec<(Prefix, O)>) -> Vec<Prefix> {
    let first = owners.first().map(|(_, owner)| *owner);
    if owners.iter().all(|(_, owner)| Some(*owner) == first) {
        return Vec::new();
    }
    // What contains a network comes before it, and all between is inside, too.
    owners.sort_unstable_by_key(|(prefix, owner)| (prefix.addr(), prefix.len(), *owner));
    let mut found = Vec::new();
    let mut around: Vec<(Prefix, O)> = Vec::new();
    for (prefix, owner) in owners {
        while around
            .pop_if(|(outer, _)| !outer.contains(prefix.addr()))
            .is_some()
        {}
        let others = around.iter().filter(|(_, other)| *other != owner);
        let before = found.len();
        found.extend(others.map(|(outer, _)| *outer));
        if found.len() > before {
            found.push(prefix);
        }
        around.push((prefix, owner));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(list: &[(&str, u32)]) -> Vec<(Prefix, u32)> {
        let parse = |(text, owner): &(&str, u32)| (text.parse().unwrap(), *owner);
        list.iter().map(parse).collect()
    }

    #[test]
    fn networks_of_two_devices_that_overlap_are_contested_and_no_others() {
        let owners = [
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("10.1.1.0/24", 2),
            ("10.2.0.0/16", 1),
            ("10.2.3.0/24", 1),
            ("11.0.0.0/8", 2),
            ("12.0.0.0/24", 1),
            ("12.0.0.0/24", 2),
            ("fd00::/64", 1),
            ("fd00:0:0:1::/64", 2),
        ];
        let mut found = contested(prefixes(&owners));
        found.sort_unstable_by_key(|prefix| (prefix.addr(), prefix.len()));
        found.dedup();
        let expected = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "12.0.0.0/24"];
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_device_contests_nothing() {
        let owners = [("0.0.0.0/0", 1), ("10.0.0.0/8", 1)];
        assert_eq!(contested(prefixes(&owners)), []);
    }
}

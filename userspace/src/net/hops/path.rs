//! From the kernel's answers to a hop.

use super::NoHop;
use crate::net::netlink::{Link, LinkKind, Medium, Neighbour, NeighbourKey, Way};
use crate::net::outer::{Addresses, Flow, Hop, Mac, Tags};
use std::net::IpAddr;

/// TTL and hop limit where the route says nothing: that of Linux.
const HOP_LIMIT: u8 = 64;
/// Devices below one another that are looked at. Two tags are written, and a
/// chain longer than any sane one has to end.
const DEPTH_MAX: usize = 4;

/// Why the kernel gave no route, by its error number.
pub(super) fn refused(flow: &Flow, errno: i32) -> NoHop {
    let to = flow.to.ip();
    match (errno, flow.pinned()) {
        (libc::EADDRNOTAVAIL, Some(source)) => NoHop::SourceGone(source.addr),
        (libc::ENETUNREACH, _) => NoHop::NoRoute(to),
        (libc::EHOSTUNREACH, _) => NoHop::Unreachable(to),
        (libc::EACCES, _) => NoHop::Prohibited(to),
        (libc::EINVAL, _) => NoHop::Blackhole(to),
        (errno, _) => NoHop::LookupFailed { to, errno },
    }
}

/// What rules a route out, whatever it leads to.
pub(super) fn judge(flow: &Flow, way: &Way) -> Result<(), NoHop> {
    let to = flow.to.ip();
    if way.local {
        return Err(NoHop::Local(to));
    }
    if flow.tunnel != 0 && way.ifindex == flow.tunnel {
        return Err(NoHop::Loop(to));
    }
    if !way.unicast {
        return Err(NoHop::NotUnicast(to));
    }
    if way.encapsulated {
        return Err(NoHop::Encapsulated(to));
    }
    Ok(())
}

/// The neighbour that a way leads to.
pub(super) fn next_hop(flow: &Flow, way: &Way) -> NeighbourKey {
    NeighbourKey {
        ifindex: way.ifindex,
        addr: way.gateway.unwrap_or(flow.to.ip()),
    }
}

/// The device of a route, down to the one with the rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// The one that holds the source address.
    top: &'a Link,
    mac: Mac,
    /// Index of the one with the rings.
    physical: u32,
    tags: Tags,
}

/// What is to be known, or was found.
pub(super) enum Walk<'a> {
    /// Ask for this device.
    Unknown(u32),
    Done(Result<Path<'a>, NoHop>),
}

/// Walks from the route's device down to the one with the rings. `link` gives
/// `None` for a device that nobody asked for, `Some(None)` for one that is gone.
pub(super) fn walk<'a>(top: u32, link: impl Fn(u32) -> Option<Option<&'a Link>>) -> Walk<'a> {
    let mut tags = Tags::NONE;
    let mut first = None;
    let mut index = top;
    for _ in 0..DEPTH_MAX {
        let at = match link(index) {
            None => return Walk::Unknown(index),
            Some(None) => return Walk::Done(Err(NoHop::NoDevice(index))),
            Some(Some(at)) => at,
        };
        let mac = match ethernet(at) {
            Ok(mac) => mac,
            Err(why) => return Walk::Done(Err(why)),
        };
        let (top, mac) = *first.get_or_insert((at, mac));
        match (&at.kind, at.below) {
            (LinkKind::Device, _) => {
                let physical = at.index;
                return Walk::Done(Ok(Path {
                    top,
                    mac,
                    physical,
                    tags,
                }));
            }
            (LinkKind::Stacked(kind), _) => {
                let (device, kind) = (at.name.clone(), kind.clone());
                return Walk::Done(Err(NoHop::Stacked { device, kind }));
            }
            (LinkKind::Vlan(_), None) => {
                return Walk::Done(Err(NoHop::BelowElsewhere(at.name.clone())));
            }
            (LinkKind::Vlan(tag), Some(below)) => {
                // The upper device's tag is inside that of the lower one.
                if !tags.wrap(*tag) {
                    return Walk::Done(Err(NoHop::TooManyTags(top.name.clone())));
                }
                index = below;
            }
        }
    }
    // Two tags at most, so this many devices are never walked.
    Walk::Done(Err(NoHop::NoDevice(index)))
}

/// The address of a device that is up and sends Ethernet frames.
fn ethernet(link: &Link) -> Result<Mac, NoHop> {
    let not = |what| NoHop::NotEthernet {
        device: link.name.clone(),
        what,
    };
    match link.medium {
        Medium::Ethernet => {}
        Medium::Loopback => return Err(not("the loopback device")),
        Medium::Ppp => return Err(not("a PPP link")),
        Medium::Ip => return Err(not("a device without a link layer")),
        Medium::Other(_) => return Err(not("of another kind")),
    }
    if !link.running {
        return Err(NoHop::Down(link.name.clone()));
    }
    link.mac.ok_or_else(|| not("without a MAC address"))
}

/// Puts the answers together.
pub(super) fn hop(
    flow: &Flow,
    way: &Way,
    path: &Path<'_>,
    neighbour: Neighbour,
) -> Result<Hop, NoHop> {
    let to = flow.to.ip();
    let device = path.top.name.clone();
    let next_hop = next_hop(flow, way).addr;
    let next_hop_mac = match neighbour {
        Neighbour::There(mac) | Neighbour::Stale(mac) => mac,
        Neighbour::Failed => return Err(NoHop::NoAnswer { next_hop, device }),
        Neighbour::Resolving | Neighbour::Unknown => {
            return Err(NoHop::Unresolved { next_hop, device });
        }
    };
    let source: Option<IpAddr> = flow.pinned().map(|source| source.addr).or(way.source);
    let addresses = source
        .and_then(|source| Addresses::new(source, to))
        .ok_or(NoHop::NoSource(to))?;
    Ok(Hop {
        ifindex: path.physical,
        source_mac: path.mac,
        next_hop_mac,
        tags: path.tags,
        addresses,
        mtu: way.mtu.unwrap_or(u32::MAX).min(path.top.mtu),
        hop_limit: way.hop_limit.unwrap_or(HOP_LIMIT),
    })
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;

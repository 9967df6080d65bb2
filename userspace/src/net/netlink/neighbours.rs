//! Who is on the link: ARP and neighbour discovery, as the kernel sees it.

use crate::net::outer::Mac;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use std::net::IpAddr;

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NeighbourKey {
    /// Index of the device that holds the IP address: the VLAN device where
    /// there is one.
    pub ifindex: u32,
    /// The gateway, or the endpoint itself.
    pub addr: IpAddr,
}

/// What the kernel knows of a neighbour: its `NUD_…` state
/// (`<linux/neighbour.h>`), as far as it matters to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// There: REACHABLE, PERMANENT or NOARP; DELAY or PROBE, where the kernel
    /// is about to ask it.
    There(Mac),
    /// Was there (STALE): to be used, and to be asked because it is.
    Stale(Mac),
    /// Being asked for (INCOMPLETE).
    Resolving,
    /// Does not answer (FAILED).
    Failed,
    /// Nobody asked for it.
    Unknown,
}

fn message(key: NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match key.addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = key.ifindex;
    let destination = NeighbourAttribute::Destination(key.addr.into());
    message.attributes.push(destination);
    message
}

/// What to ask with.
pub(super) fn question(key: NeighbourKey) -> NeighbourMessage {
    message(key)
}

/// What says that the neighbour is in use.
///
/// `NTF_USE` is what the kernel does itself for a packet to a STALE neighbour:
/// DELAY now, unicast probes some seconds later (RFC 4861 section 7.3.3; ARP
/// the same way). It leaves nothing behind, unlike `NTF_EXT_MANAGED`, whose
/// entries would stay after us.
pub(super) fn in_use(key: NeighbourKey) -> NeighbourMessage {
    let mut message = message(key);
    message.header.flags = NeighbourFlags::Use;
    message
}

/// Which neighbour a message is about, and its state; `None` if it is about
/// a bridge's forwarding table or an address answered for another.
pub(super) fn read(message: &NeighbourMessage) -> Option<(NeighbourKey, Neighbour)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut addr: Option<IpAddr> = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                addr = Some((*v4).into())
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                addr = Some((*v6).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::from_slice(bytes),
            _ => {}
        }
    }
    let key = NeighbourKey {
        ifindex: message.header.ifindex,
        addr: addr?,
    };
    let state = match (message.header.state, mac) {
        (
            NeighbourState::Reachable
            | NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Delay
            | NeighbourState::Probe,
            Some(mac),
        ) => Neighbour::There(mac),
        (NeighbourState::Stale, Some(mac)) => Neighbour::Stale(mac),
        (NeighbourState::Incomplete, _) => Neighbour::Resolving,
        (NeighbourState::Failed, _) => Neighbour::Failed,
        _ => Neighbour::Unknown,
    };
    Some((key, state))
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;

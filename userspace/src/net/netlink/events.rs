//! Changes that can make what was looked up wrong: a sticky source, a hop.

use super::links::{self, Link};
use super::neighbours::{self, Neighbour, NeighbourKey};
use super::{Connection, Heard, group};
use futures_util::FutureExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use std::io;
use std::net::IpAddr;

/// What happened in the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// A local address is gone: nothing can be sent from it any more.
    AddressRemoved {
        /// The address.
        addr: IpAddr,
        /// Index of its interface.
        ifindex: u32,
    },
    /// A local address came, or its lifetime changed: the kernel may choose
    /// another source now.
    AddressAdded,
    /// A route or a rule came, changed or went: look up anew what was looked
    /// up before. Several changes at once are told once.
    RoutesChanged,
    /// A device came, or is as told now. [`NetEvents::open_all`] only.
    Link(Link),
    /// The device of that index is gone. [`NetEvents::open_all`] only.
    LinkRemoved(u32),
    /// A neighbour is as told now. [`NetEvents::open_all`] only.
    Neighbour(NeighbourKey, Neighbour),
    /// News were lost for want of room: anything may have happened.
    Lost,
}

/// News of addresses, routes and rules; of links and neighbours too, if asked.
#[derive(Debug)]
pub struct NetEvents {
    connection: Connection,
    /// Heard while changes of routes were gathered, not told yet.
    pending: Option<NetEvent>,
}

// RTNLGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV6_RULE.
const GROUPS: u32 = group(5) | group(7) | group(8) | group(9) | group(11) | group(19);
// RTNLGRP_LINK, RTNLGRP_NEIGH.
const LINKS_AND_NEIGHBOURS: u32 = group(1) | group(3);

impl NetEvents {
    /// Starts listening in the calling thread's namespace; within a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn open() -> io::Result<Self> {
        Self::listen(GROUPS)
    }

    /// As [`open`](Self::open), for links and neighbours too. Of those there
    /// can be many where many hosts are on one link.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_all() -> io::Result<Self> {
        Self::listen(GROUPS | LINKS_AND_NEIGHBOURS)
    }

    fn listen(groups: u32) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(groups, false)?,
            pending: None,
        })
    }

    /// The next event. Can be dropped and called again without losing one.
    ///
    /// # Errors
    /// If the socket broke; open another, and take it as [`NetEvent::Lost`].
    pub async fn next(&mut self) -> io::Result<NetEvent> {
        if let Some(event) = self.pending.take() {
            return Ok(event);
        }
        loop {
            let heard = self.connection.next().await?;
            let Some(event) = interpret(heard) else {
                continue;
            };
            if event == NetEvent::RoutesChanged {
                self.skip_route_changes();
            }
            return Ok(event);
        }
    }

    /// Takes what is already there of a burst of route changes, such as a
    /// routing daemon's start.
    fn skip_route_changes(&mut self) {
        while let Some(Ok(heard)) = self.connection.next().now_or_never() {
            match interpret(heard) {
                Some(NetEvent::RoutesChanged) | None => {}
                event => {
                    self.pending = event;
                    return;
                }
            }
        }
    }
}

fn interpret(heard: Heard) -> Option<NetEvent> {
    let message = match heard {
        Heard::Overrun => return Some(NetEvent::Lost),
        Heard::Message(message) => message,
    };
    match message {
        RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(NetEvent::RoutesChanged),
        RouteNetlinkMessage::NewAddress(_) => Some(NetEvent::AddressAdded),
        RouteNetlinkMessage::DelAddress(message) => Some(NetEvent::AddressRemoved {
            addr: local_address(&message)?,
            ifindex: message.header.index,
        }),
        RouteNetlinkMessage::NewLink(message) => links::read(&message).map(NetEvent::Link),
        // Of the family "bridge": no longer a port of one.
        RouteNetlinkMessage::DelLink(message) => (message.header.interface_family
            == AddressFamily::Unspec)
            .then_some(NetEvent::LinkRemoved(message.header.index)),
        RouteNetlinkMessage::NewNeighbour(message) => {
            neighbours::read(&message).map(|(key, state)| NetEvent::Neighbour(key, state))
        }
        RouteNetlinkMessage::DelNeighbour(message) => {
            neighbours::read(&message).map(|(key, _)| NetEvent::Neighbour(key, Neighbour::Unknown))
        }
        _ => None,
    }
}

/// `IFA_LOCAL` where there is one: on a point-to-point link `IFA_ADDRESS` is
/// the other end's.
pub(super) fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    address
}

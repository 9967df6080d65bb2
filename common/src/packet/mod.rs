//! The one packet parser: from the Ethernet header to the [`Class`].
//!
//! ```text
//! Ethernet [802.1ad] [802.1Q]  IPv4 [options]            UDP, TCP, ESP, GRE, …
//!                              IPv6 [extension headers]  UDP, TCP, ESP, GRE, …
//! ```
//!
//! Here: Ethernet and VLAN tags.
//!
//! * `network`: IPv4 and IPv6.
//! * `transport`: what IP carries.
//! * `datagram`: what UDP carries.
//! * `inner`: the packet inside GRE.

mod datagram;
mod inner;
mod network;
mod transport;

use crate::class::Class;
use crate::cursor::{Cursor, Truncated};

pub use datagram::{IKE_PORT, NAT_T_PORT, OPENVPN_PORT};
pub use network::{Address, MAX_EXTENSION_HEADERS, Network, Part, is_mapped, mapped};
pub use transport::PPTP_PORT;

/// VLAN tags that are walked: one 802.1ad service tag and one 802.1Q tag.
pub const MAX_VLAN_TAGS: usize = 2;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// Why the headers of a frame cannot be read to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The frame ends before its headers do.
    Truncated,
    /// Header fields that contradict each other or the frame's length.
    Malformed,
    /// More VLAN tags or IPv6 extension headers than are walked.
    TooDeep,
}

impl From<Truncated> for Unreadable {
    #[inline]
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub class: Class,
    /// Whether there is an IP header; without, only `class` and
    /// `destination_mac` mean anything.
    pub ip: bool,
    /// Where the frame goes.
    pub destination_mac: [u8; 6],
    /// What the IP header says.
    pub network: Network,
    /// Of UDP and TCP, else 0.
    pub source_port: u16,
    /// Of UDP and TCP, else 0.
    pub destination_port: u16,
    /// Of a whole TCP segment: whether it opens a connection (SYN, SYN-ACK).
    pub syn: bool,
    /// Bytes of UDP's payload, else 0.
    pub payload_len: u16,
    /// What tells apart the flows of this class between two hosts: the SPI of ESP,
    /// the GRE key or Call ID or flow inside, the receiver index of WireGuard, the
    /// peer id of OpenVPN; 0 where there is none.
    pub key: u32,
}

/// Reads the frame under `cursor`.
///
/// # Errors
/// [`Unreadable`].
// Always inlined: each XDP program has its own, without the cost of a call and
// of a result that goes through memory.
#[inline(always)]
pub fn parse<C: Cursor>(cursor: &mut C) -> Result<Packet, Unreadable> {
    walk(cursor, |packet, why| match why {
        None => Ok(packet),
        Some(why) => Err(why),
    })
}

/// As [`parse`]; of a frame that cannot be read to its end, the packet holds what
/// was read before.
#[inline(always)]
pub fn parse_partly<C: Cursor>(cursor: &mut C) -> (Packet, Option<Unreadable>) {
    walk(cursor, |packet, why| (packet, why))
}

/// Calls `end` at each end of the walk: with one place for all, a frame that is no
/// IP costs the XDP programs two thirds more (ARP 20 ns in place of 12).
#[inline(always)]
fn walk<C: Cursor, R>(cursor: &mut C, end: impl Fn(Packet, Option<Unreadable>) -> R) -> R {
    let mut packet = Packet {
        class: Class::EthernetOther,
        ip: false,
        destination_mac: [0; 6],
        network: Network::default(),
        source_port: 0,
        destination_port: 0,
        syn: false,
        payload_len: 0,
        key: 0,
    };
    let header: [u8; 14] = match cursor.take() {
        Ok(header) => header,
        Err(why) => return end(packet, Some(why.into())),
    };
    packet.destination_mac = [
        header[0], header[1], header[2], header[3], header[4], header[5],
    ];
    let ethertype = match untagged(cursor, u16::from_be_bytes([header[12], header[13]])) {
        Ok(ethertype) => ethertype,
        Err(why) => return end(packet, Some(why)),
    };
    let v4 = match ethertype {
        ETHERTYPE_IPV4 => true,
        ETHERTYPE_IPV6 => false,
        ETHERTYPE_ARP => {
            packet.class = Class::Arp;
            return end(packet, None);
        }
        _ => return end(packet, None),
    };
    if let Err(why) = packet.network.read(cursor, v4) {
        return end(packet, Some(why));
    }
    packet.ip = true;
    packet.class = Class::LaterFragment;
    if packet.network.part != Part::Later {
        packet.class = match transport::classify(cursor, &mut packet) {
            Ok(class) => class,
            Err(why) => return end(packet, Some(why)),
        };
    }
    end(packet, None)
}

/// Walks the VLAN tags, of which `ethertype` may be the first, to the type of what follows.
#[inline(always)]
fn untagged<C: Cursor>(cursor: &mut C, mut ethertype: u16) -> Result<u16, Unreadable> {
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ethertype) {
            return Ok(ethertype);
        }
        let tag: [u8; 4] = cursor.take()?;
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
    }
    if is_vlan(ethertype) {
        return Err(Unreadable::TooDeep);
    }
    Ok(ethertype)
}

#[inline]
const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN)
}

#[cfg(test)]
mod tests;

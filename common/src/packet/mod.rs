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
pub use network::{Address, MAX_EXTENSION_HEADERS, Network, Part, mapped};
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

<<<<<<< HEAD
/// Which part of an IP packet a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The beginning, with the transport header.
    First,
    /// A later fragment.
    Later,
}

/// An address of either family; IPv4 as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
pub type Address = [u8; 16];

/// `address` as an [`Address`].
#[must_use]
#[inline]
pub const fn mapped(address: [u8; 4]) -> Address {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether this is an IPv4 address as an [`Address`].
#[must_use]
#[inline]
pub const fn is_mapped(address: &Address) -> bool {
    matches!(
        address,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, _, _, _, _]
    )
}

=======
>>>>>>> dd0c351ad899a33377a22b2d3b46d8ad4e231b65
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
<<<<<<< HEAD
    /// TOS byte or traffic class.
    pub traffic_class: u8,
    /// Where in the frame UDP's payload begins, else 0.
    pub payload_at: u16,
=======
    /// Of a whole TCP segment: whether it opens a connection (SYN, SYN-ACK).
    pub syn: bool,
>>>>>>> dd0c351ad899a33377a22b2d3b46d8ad4e231b65
    /// Bytes of UDP's payload, else 0.
    pub payload_len: u16,
    /// What tells apart the flows of this class between two hosts: the SPI of ESP,
    /// the GRE key or Call ID, the receiver index of WireGuard, the peer id of
    /// OpenVPN; 0 where there is none.
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
    let header: [u8; 14] = cursor.take()?;
    let mut packet = Packet {
        class: Class::EthernetOther,
        ip: false,
        destination_mac: [
            header[0], header[1], header[2], header[3], header[4], header[5],
        ],
        network: Network::default(),
        source_port: 0,
        destination_port: 0,
<<<<<<< HEAD
        traffic_class: 0,
        payload_at: 0,
=======
        syn: false,
>>>>>>> dd0c351ad899a33377a22b2d3b46d8ad4e231b65
        payload_len: 0,
        key: 0,
    };
    let ethertype = untagged(cursor, u16::from_be_bytes([header[12], header[13]]))?;
    let v4 = match ethertype {
        ETHERTYPE_IPV4 => true,
        ETHERTYPE_IPV6 => false,
        ETHERTYPE_ARP => {
            packet.class = Class::Arp;
            return Ok(packet);
        }
        _ => return Ok(packet),
    };
    packet.network.read(cursor, v4)?;
    packet.ip = true;
    packet.class = Class::LaterFragment;
    if packet.network.part != Part::Later {
        packet.class = transport::classify(cursor, &mut packet)?;
    }
    Ok(packet)
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

<<<<<<< HEAD
/// The number of the transport protocol, and the bytes that it may be long.
type Carried = (u8, usize);

/// IPv4 (RFC 791).
#[inline]
fn ipv4<C: Cursor>(cursor: &mut C, packet: &mut Packet) -> Result<Carried, Unreadable> {
    let room = cursor.frame_len().saturating_sub(cursor.offset());
    let header: [u8; IPV4_LEN] = cursor.take()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len || total_len > room {
        return Err(Unreadable::Malformed);
    }
    packet.traffic_class = header[1];
    packet.source = mapped([header[12], header[13], header[14], header[15]]);
    packet.destination = mapped([header[16], header[17], header[18], header[19]]);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    packet.part = part(fragment & 0x1fff, fragment & 0x2000 != 0);
    cursor.skip(header_len - IPV4_LEN)?;
    Ok((header[9], total_len - header_len))
}

/// IPv6 (RFC 8200) with its extension headers.
#[inline]
fn ipv6<C: Cursor>(cursor: &mut C, packet: &mut Packet) -> Result<Carried, Unreadable> {
    let header: [u8; IPV6_LEN] = cursor.take()?;
    let mut rest = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let room = cursor.frame_len().saturating_sub(cursor.offset());
    if header[0] >> 4 != 6 || rest > room {
        return Err(Unreadable::Malformed);
    }
    packet.traffic_class = header[0] << 4 | header[1] >> 4;
    packet.source.copy_from_slice(&header[8..24]);
    packet.destination.copy_from_slice(&header[24..40]);
    // They would be taken for IPv4 from here on; no host puts them on a wire
    // (RFC 4291, section 2.5.5.2).
    if is_mapped(&packet.source) || is_mapped(&packet.destination) {
        return Err(Unreadable::Malformed);
    }
    let mut next = header[6];
    for depth in 0..=MAX_EXTENSION_HEADERS {
        match next {
            NEXT_HOP_BY_HOP | NEXT_ROUTING | NEXT_FRAGMENT | NEXT_DESTINATION => {}
            _ => return Ok((next, rest)),
        }
        if depth == MAX_EXTENSION_HEADERS {
            break;
        }
        let start: [u8; 4] = cursor.take()?;
        let len = if next == NEXT_FRAGMENT {
            let fragment = u16::from_be_bytes([start[2], start[3]]);
            packet.part = part(fragment >> 3, fragment & 1 != 0);
            if packet.part == Part::Later {
                // What follows belongs to the middle of something.
                return Ok((start[0], 0));
            }
            8
        } else {
            // In units of 8 bytes, not counting the first 8 (section 4.3).
            (usize::from(start[1]) + 1) * 8
        };
        rest = rest.checked_sub(len).ok_or(Unreadable::Malformed)?;
        cursor.skip(len - start.len())?;
        next = start[0];
    }
    Err(Unreadable::TooDeep)
}

/// From the offset and the "more fragments" flag. An IPv6 packet may say that it
/// is its own only fragment (RFC 6946).
#[inline]
const fn part(offset: u16, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

=======
>>>>>>> dd0c351ad899a33377a22b2d3b46d8ad4e231b65
#[cfg(test)]
mod tests;

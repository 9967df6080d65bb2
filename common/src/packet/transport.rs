//! What IP carries.

use super::{Packet, Part, Unreadable, datagram, inner};
use crate::class::Class;
use crate::cursor::Cursor;
use crate::ip::{AH, ESP, GRE, ICMP, ICMPV6, TCP, TCP_LEN, TCP_SYN, UDP, UDP_LEN};

/// PPTP's control connection (RFC 2637, section 3).
pub const PPTP_PORT: u16 = 1723;

/// What a first fragment must hold of a datagram's payload for that to be
/// looked at: as much as any class asks for.
const HEAD_LEN: usize = 32;
/// SPI and sequence number.
const ESP_HEADER_LEN: usize = 8;

/// The class of what `packet.network` carries; what identifies the flow goes into `packet`.
#[inline(always)]
pub(super) fn classify<C: Cursor>(
    cursor: &mut C,
    packet: &mut Packet,
) -> Result<Class, Unreadable> {
    let room = packet.network.len;
    match packet.network.protocol {
        UDP => udp(cursor, room, packet),
        TCP => tcp(cursor, room, packet),
        ESP => esp(cursor, room, packet),
        GRE => gre(cursor, room, packet),
        AH => Ok(Class::Ah),
        ICMP | ICMPV6 => Ok(Class::Icmp),
        _ => Ok(Class::IpOther),
    }
}

/// UDP (RFC 768).
#[inline(always)]
fn udp<C: Cursor>(cursor: &mut C, room: usize, packet: &mut Packet) -> Result<Class, Unreadable> {
    if room < UDP_LEN {
        return Err(Unreadable::Malformed);
    }
    let header: [u8; UDP_LEN] = cursor.take()?;
    packet.source_port = u16::from_be_bytes([header[0], header[1]]);
    packet.destination_port = u16::from_be_bytes([header[2], header[3]]);
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // A first fragment holds less than the datagram's length.
    if len < UDP_LEN || (len > room && packet.network.part == Part::Whole) {
        return Err(Unreadable::Malformed);
    }
    let payload_len = len - UDP_LEN;
    // Not more than 65,527.
    packet.payload_len = payload_len as u16;
    if packet.network.part == Part::First && room < UDP_LEN + HEAD_LEN {
        return Ok(Class::Udp);
    }
    datagram::classify(cursor, payload_len, packet)
}

/// TCP (RFC 9293): the ports and, of a whole segment, the SYN flag.
#[inline(always)]
fn tcp<C: Cursor>(cursor: &mut C, room: usize, packet: &mut Packet) -> Result<Class, Unreadable> {
    if room < TCP_LEN && packet.network.part == Part::Whole {
        return Err(Unreadable::Malformed);
    }
    let ports: [u8; 4] = cursor.take()?;
    packet.source_port = u16::from_be_bytes([ports[0], ports[1]]);
    packet.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    if packet.network.part == Part::Whole {
        // Sequence and acknowledgment number, data offset, flags.
        let [.., flags]: [u8; 10] = cursor.take()?;
        packet.syn = flags & TCP_SYN != 0;
    }
    if packet.source_port == PPTP_PORT || packet.destination_port == PPTP_PORT {
        Ok(Class::PptpControl)
    } else {
        Ok(Class::Tcp)
    }
}

/// ESP (RFC 4303): the SPI.
#[inline(always)]
fn esp<C: Cursor>(cursor: &mut C, room: usize, packet: &mut Packet) -> Result<Class, Unreadable> {
    if room < ESP_HEADER_LEN {
        return Err(Unreadable::Malformed);
    }
    packet.key = u32::from_be_bytes(cursor.take()?);
    Ok(Class::Esp)
}

/// GRE (RFC 2784, RFC 2890) and the enhanced GRE of PPTP (RFC 2637, section 4.1).
///
/// ```text
///  0                   1                   2                   3
/// |C|R|K|S|s|recur|A| flags | ver |         protocol              |
/// |  checksum, if C or R (v0)     |  offset                       |
/// |  key, if K: v0 a number; v1 payload length and Call ID        |
/// |  sequence number, if S                                        |
/// ```
///
/// Where version 0 has no key, the flow inside takes its place.
#[inline(always)]
fn gre<C: Cursor>(cursor: &mut C, room: usize, packet: &mut Packet) -> Result<Class, Unreadable> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    if room < 4 {
        return Err(Unreadable::Malformed);
    }
    let [flags, version, kind @ ..]: [u8; 4] = cursor.take()?;
    let class = match version & 0x07 {
        0 => Class::GreV0,
        1 => Class::GreV1,
        _ => return Ok(Class::GreOther),
    };
    if flags & KEY == 0 {
        let is_plain = class == Class::GreV0 && packet.network.part == Part::Whole;
        if is_plain && flags & ROUTING == 0 {
            let before = optional(flags, CHECKSUM) + optional(flags, SEQUENCE);
            packet.key =
                inner::flow(cursor, room - 4, before, u16::from_be_bytes(kind)).unwrap_or(0);
        }
        return Ok(class);
    }
    let before = if class == Class::GreV0 && flags & (CHECKSUM | ROUTING) != 0 {
        4
    } else {
        0
    };
    if room < 4 + before + 4 {
        return match packet.network.part {
            Part::Whole => Err(Unreadable::Malformed),
            _ => Ok(class),
        };
    }
    cursor.skip(before)?;
    let key = u32::from_be_bytes(cursor.take()?);
    packet.key = if class == Class::GreV1 {
        key & 0xffff
    } else {
        key
    };
    Ok(class)
}

/// Bytes of a field of GRE's header that is there if `flag` is.
#[inline(always)]
const fn optional(flags: u8, flag: u8) -> usize {
    if flags & flag == 0 { 0 } else { 4 }
}

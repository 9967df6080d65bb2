//! What UDP carries: WireGuard on any port, the others on theirs.

use super::{Packet, Unreadable};
use crate::class::Class;
use crate::cursor::Cursor;
use crate::wireguard::MessageType;

/// IKE (RFC 7296, section 2).
pub const IKE_PORT: u16 = 500;
/// IKE and ESP through a NAT (RFC 3948).
pub const NAT_T_PORT: u16 = 4500;
/// OpenVPN, as IANA has it.
pub const OPENVPN_PORT: u16 = 1194;

const IKE_HEADER_LEN: usize = 28;

/// The class of a payload of `len` bytes under `cursor`.
///
/// A WireGuard message is looked for first, on every port: it begins as nothing
/// else does (an SPI or IKE's cookie of that value is a matter of chance, and
/// OpenVPN has no opcode 0), and users do put it on the ports of others.
#[inline(always)]
pub(super) fn classify<C: Cursor>(
    cursor: &mut C,
    len: usize,
    packet: &mut Packet,
) -> Result<Class, Unreadable> {
    let known = |port| packet.source_port == port || packet.destination_port == port;
    let (ike, nat_t, openvpn) = (known(IKE_PORT), known(NAT_T_PORT), known(OPENVPN_PORT));
    if len < 4 {
        return if nat_t && len == 1 && cursor.take()? == [0xff] {
            Ok(Class::NatTKeepalive)
        } else {
            Ok(Class::Udp)
        };
    }
    let head: [u8; 4] = cursor.take()?;
    if let Some(kind) = MessageType::classify(head, len) {
        return wireguard(cursor, kind, packet);
    }
    if ike {
        exchange(cursor, len)
    } else if nat_t {
        nat_traversal(cursor, head, len, packet)
    } else if openvpn {
        Ok(open_vpn(head, len, packet))
    } else {
        Ok(Class::Udp)
    }
}

/// Data carries the index that its receiver chose.
#[inline(always)]
fn wireguard<C: Cursor>(
    cursor: &mut C,
    kind: MessageType,
    packet: &mut Packet,
) -> Result<Class, Unreadable> {
    Ok(match kind {
        MessageType::Initiation => Class::WireGuardInitiation,
        MessageType::Response => Class::WireGuardResponse,
        MessageType::CookieReply => Class::WireGuardCookieReply,
        MessageType::Data => {
            packet.key = u32::from_le_bytes(cursor.take()?);
            Class::WireGuardData
        }
    })
}

/// The header of IKE (RFC 7296, section 3.1; RFC 2408, section 3.1):
///
/// ```text
/// initiator SPI (8) | responder SPI (8) | next (1) | version (1) | exchange (1) | flags (1) | …
/// ```
#[inline(always)]
fn exchange<C: Cursor>(cursor: &mut C, len: usize) -> Result<Class, Unreadable> {
    if len < IKE_HEADER_LEN {
        return Ok(Class::Udp);
    }
    // Its first four bytes were read already.
    cursor.skip(13)?;
    let [version, exchange]: [u8; 2] = cursor.take()?;
    Ok(match (version >> 4, exchange) {
        (1, 2) => Class::IkeMain,
        (1, 4) => Class::IkeAggressive,
        (1, 5) => Class::IkeNotify,
        (1, 32) => Class::IkeQuick,
        (2, 34) => Class::IkeSaInit,
        (2, 35) => Class::IkeAuth,
        (2, 36) => Class::IkeCreateChildSa,
        (2, 37) => Class::IkeInformational,
        (1 | 2, _) => Class::IkeOther,
        _ => Class::Udp,
    })
}

/// RFC 3948, section 2: ESP, or four zero bytes and IKE.
#[inline(always)]
fn nat_traversal<C: Cursor>(
    cursor: &mut C,
    head: [u8; 4],
    len: usize,
    packet: &mut Packet,
) -> Result<Class, Unreadable> {
    if head != [0; 4] {
        if len < 8 {
            return Ok(Class::Udp);
        }
        packet.key = u32::from_be_bytes(head);
        return Ok(Class::NatTEsp);
    }
    if len < 4 + IKE_HEADER_LEN {
        return Ok(Class::Udp);
    }
    cursor.skip(4)?;
    Ok(match exchange(cursor, len - 4)? {
        Class::Udp => Class::Udp,
        _ => Class::NatTIke,
    })
}

/// OpenVPN over UDP: opcode and key id in the first byte; data of version 2
/// carries the id of the peer in the next three.
#[inline(always)]
fn open_vpn(head: [u8; 4], len: usize, packet: &mut Packet) -> Class {
    // A control packet: opcode, session id (8), no acknowledgments (1).
    const CONTROL_MIN_LEN: usize = 10;
    let class = match head[0] >> 3 {
        3 => Class::OpenVpnSoftReset,
        4 => Class::OpenVpnControl,
        5 => Class::OpenVpnAck,
        6 => return Class::OpenVpnDataV1,
        7 => Class::OpenVpnHardResetClientV2,
        8 => Class::OpenVpnHardResetServerV2,
        9 => {
            packet.key = u32::from_be_bytes([0, head[1], head[2], head[3]]);
            return Class::OpenVpnDataV2;
        }
        10 => Class::OpenVpnHardResetClientV3,
        11 => Class::OpenVpnControlWkc,
        _ => return Class::Udp,
    };
    if len < CONTROL_MIN_LEN {
        return Class::Udp;
    }
    class
}

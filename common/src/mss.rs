//! The MSS clamp: SYN and SYN-ACK are told what fits through the tunnel.
//!
//! Where the way back of "fragmentation needed" is blocked, a TCP connection
//! through a tunnel opens and then carries nothing: both ends believe in the
//! MTU of their own Ethernet. Lowering the option with which they tell each
//! other their maximum segment size (RFC 9293, section 3.7.1) ends that.
//!
//! The option is only ever lowered, and none is added. A checksum that is
//! right stays right (RFC 1624); one that is *partial*, the sum of the pseudo
//! header, to be finished by whoever sends the packet, is left as it is; and a
//! packet whose checksum is neither is not touched.

use crate::checksum::{Sum, update};
use crate::ip::{GRE, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, TCP, TCP_LEN, TCP_SYN, Tcp, version};
use crate::packet::{MAX_EXTENSION_HEADERS, NEXT_DESTINATION, NEXT_HOP_BY_HOP, NEXT_ROUTING};

/// Bytes of a TCP segment's headers over IPv4, without options.
const HEADERS_V4: usize = IPV4_LEN + TCP_LEN;
/// Bytes of a TCP segment's headers over IPv6, without options and extensions.
const HEADERS_V6: usize = IPV6_LEN + TCP_LEN;
/// The least that is asked for, whatever the MTU: Linux's `TCP_MIN_MSS`.
pub const MSS_MIN: u16 = 88;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const MSS_LEN: usize = 4;

/// The largest segments that fit, in bytes of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    v4: u16,
    v6: u16,
}

impl Limits {
    /// For a tunnel of this MTU, bytes.
    #[inline]
    #[must_use]
    pub const fn of_mtu(mtu: usize) -> Self {
        Self {
            v4: bounded(mtu.saturating_sub(HEADERS_V4)),
            v6: bounded(mtu.saturating_sub(HEADERS_V6)),
        }
    }

    /// The same for both families.
    #[inline]
    #[must_use]
    pub const fn fixed(mss: u16) -> Self {
        let mss = bounded(mss as usize);
        Self { v4: mss, v6: mss }
    }

    /// For what travels inside, behind `overhead` bytes of further headers.
    #[inline]
    const fn within(self, overhead: usize) -> Self {
        Self {
            v4: bounded((self.v4 as usize).saturating_sub(overhead)),
            v6: bounded((self.v6 as usize).saturating_sub(overhead)),
        }
    }
}

#[inline]
const fn bounded(mss: usize) -> u16 {
    if mss < MSS_MIN as usize {
        MSS_MIN
    } else if mss > u16::MAX as usize {
        u16::MAX
    } else {
        mss as u16
    }
}

/// What was done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is no SYN, or none that can be read: left alone.
    NotSyn,
    /// A SYN without the option, or with one that is low enough: left alone.
    Fits,
    /// The option asks for too much, and the checksum is wrong: left alone.
    BadChecksum,
    /// The option was lowered.
    Lowered,
}

/// Lowers the option in `packet`, a whole IP packet that may have bytes behind
/// it, if it is a TCP SYN, or one in GRE (version 0, without checksum).
#[inline]
pub fn clamp(packet: &mut [u8], limits: &Limits) -> Outcome {
    let Some(carried) = Carried::of(packet) else {
        return Outcome::NotSyn;
    };
    match carried.protocol {
        TCP => segment(packet, &carried, limits),
        GRE => encapsulated(packet, &carried, limits),
        _ => Outcome::NotSyn,
    }
}

/// What an IP packet carries, and where.
struct Carried {
    v4: bool,
    protocol: u8,
    /// First byte of the transport header.
    at: usize,
    /// First byte behind the packet.
    end: usize,
    /// Where both addresses begin and end.
    addresses: (usize, usize),
}

impl Carried {
    /// `None` for a fragment and for what cannot be read.
    #[inline]
    fn of(packet: &[u8]) -> Option<Self> {
        match version(packet) {
            4 => Self::of_v4(packet),
            6 => Self::of_v6(packet),
            _ => None,
        }
    }

    #[inline]
    fn of_v4(packet: &[u8]) -> Option<Self> {
        let header = Ipv4(packet.first_chunk::<IPV4_LEN>()?);
        let (at, end) = (header.header_len(), usize::from(header.total_len()));
        let whole = at >= IPV4_LEN && end <= packet.len() && !header.is_fragment();
        whole.then(|| Self {
            v4: true,
            protocol: header.protocol(),
            at,
            end,
            addresses: (12, 20),
        })
    }

    #[inline]
    fn of_v6(packet: &[u8]) -> Option<Self> {
        let header = Ipv6(packet.first_chunk::<IPV6_LEN>()?);
        let end = IPV6_LEN + usize::from(header.payload_len());
        if end > packet.len() {
            return None;
        }
        let (mut protocol, mut at) = (header.next_header(), IPV6_LEN);
        for _ in 0..MAX_EXTENSION_HEADERS {
            if !matches!(protocol, NEXT_HOP_BY_HOP | NEXT_ROUTING | NEXT_DESTINATION) {
                break;
            }
            let [next, units]: [u8; 2] = *packet.get(at..)?.first_chunk()?;
            protocol = next;
            at += (usize::from(units) + 1) * 8;
        }
        Some(Self {
            v4: false,
            protocol,
            at,
            end,
            addresses: (8, 40),
        })
    }
}

fn segment(packet: &mut [u8], carried: &Carried, limits: &Limits) -> Outcome {
    let Some((headers, rest)) = packet.split_at_mut_checked(carried.at) else {
        return Outcome::NotSyn;
    };
    let Some(segment) = carried
        .end
        .checked_sub(carried.at)
        .and_then(|len| rest.get_mut(..len))
    else {
        return Outcome::NotSyn;
    };
    let Some(fixed) = segment.first_chunk::<TCP_LEN>() else {
        return Outcome::NotSyn;
    };
    let (flags, header_len) = (Tcp(fixed).flags(), Tcp(fixed).header_len());
    if flags & TCP_SYN == 0 || header_len < TCP_LEN || header_len > segment.len() {
        return Outcome::NotSyn;
    }
    let limit = if carried.v4 { limits.v4 } else { limits.v6 };
    let mut at = TCP_LEN;
    while let Some(found) = next_mss(&segment[..header_len], at) {
        if found.mss > limit {
            let (first, last) = carried.addresses;
            let pseudo = Sum::pseudo_header(&headers[first..last], TCP, segment.len() as u32);
            return lower(segment, header_len, pseudo, limit);
        }
        at = found.at + MSS_LEN;
    }
    Outcome::Fits
}

/// Lowers every MSS option that is above `limit`: receivers differ in which of
/// several they believe.
fn lower(segment: &mut [u8], header_len: usize, pseudo: Sum, limit: u16) -> Outcome {
    let field = [segment[16], segment[17]];
    let is_partial = field == pseudo.partial();
    if !is_partial && !(pseudo + Sum::of(segment)).is_valid() {
        return Outcome::BadChecksum;
    }
    let old = Sum::of(&segment[TCP_LEN..header_len]);
    let mut at = TCP_LEN;
    while let Some(found) = next_mss(&segment[..header_len], at) {
        if found.mss > limit {
            segment[found.at + 2..found.at + MSS_LEN].copy_from_slice(&limit.to_be_bytes());
        }
        at = found.at + MSS_LEN;
    }
    if !is_partial {
        let new = Sum::of(&segment[TCP_LEN..header_len]);
        segment[16..18].copy_from_slice(&update(field, old, new));
    }
    Outcome::Lowered
}

/// An MSS option.
struct Found {
    /// Its first byte, from the start of the TCP header.
    at: usize,
    mss: u16,
}

/// The next MSS option of a TCP header at or behind `at`; what stands behind a
/// length that cannot be is not looked at.
fn next_mss(header: &[u8], mut at: usize) -> Option<Found> {
    loop {
        match *header.get(at)? {
            KIND_END => return None,
            KIND_NOP => at += 1,
            kind => {
                let len = usize::from(*header.get(at + 1)?);
                if len < 2 || at + len > header.len() {
                    return None;
                }
                if kind == KIND_MSS && len == MSS_LEN {
                    let mss = u16::from_be_bytes([header[at + 2], header[at + 3]]);
                    return Some(Found { at, mss });
                }
                at += len;
            }
        }
    }
}

/// GRE (RFC 2784, RFC 2890): an IP packet inside is treated as one outside,
/// for which there is less room.
fn encapsulated(packet: &mut [u8], carried: &Carried, limits: &Limits) -> Outcome {
    const CHECKSUM_OR_ROUTING: u8 = 0xc0;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    let Some([flags, version, kind @ ..]) = packet
        .get(carried.at..carried.end)
        .and_then(|gre| gre.first_chunk::<4>())
        .copied()
    else {
        return Outcome::NotSyn;
    };
    let is_ip = matches!(u16::from_be_bytes(kind), 0x0800 | 0x86dd);
    if !is_ip || version & 0x07 != 0 || flags & CHECKSUM_OR_ROUTING != 0 {
        return Outcome::NotSyn;
    }
    let optional = [KEY, SEQUENCE]
        .iter()
        .filter(|flag| flags & **flag != 0)
        .count();
    let inside = carried.at + 4 + 4 * optional;
    let Some(inner) = packet.get_mut(inside..carried.end) else {
        return Outcome::NotSyn;
    };
    match Carried::of(inner) {
        Some(carried) if carried.protocol == TCP => {
            segment(inner, &carried, &limits.within(inside))
        }
        _ => Outcome::NotSyn,
    }
}

#[cfg(test)]
#[path = "mss_tests.rs"]
mod tests;

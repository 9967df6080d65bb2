//! Which packets may become one: the rules of the kernel's GRO.
//!
//! IPv4 (`inet_gro_receive`): no options, no fragment, total length right,
//! header checksum right; TOS, TTL and DF equal; identification counting up,
//! or, with DF, standing still (RFC 6864: it means nothing there). IPv6: no
//! extension headers, payload length right; traffic class, flow label and hop
//! limit equal. TCP (`tcp_gro_receive`): no SYN, RST or URG; acknowledgment,
//! window, flags (but for CWR on the first, FIN and PSH on the last), reserved
//! bits and options equal; sequence contiguous; all payloads of one size but
//! the last, which may be shorter. UDP (`udp_gro_receive_segment`): length
//! right, checksum present, one size but the last.

use super::vnet::Gso;
use crate::net::checksum;
use ringtun_common::checksum::Sum;
use ringtun_common::ip::{
    self, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, TCP_ACK, TCP_CWR, TCP_FIN, TCP_LEN, TCP_PSH, TCP_RST,
    TCP_SYN, TCP_URG, Tcp, UDP_LEN, Udp,
};

/// Longest headers of a mergeable packet: IPv6 and TCP with 40 bytes of options.
pub(super) const HEADERS_MAX: usize = IPV6_LEN + 60;

/// What one look at a packet's headers tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    /// What its flow is merged as; `None`: it has no flow that is.
    pub kind: Option<Gso>,
    /// Without a flow that is merged, for certain: others may overtake it.
    pub bystander: bool,
    /// May be the first of a super-packet.
    pub opens: bool,
    /// May follow in a super-packet, if the rules between packets allow it.
    pub joins: bool,
    pub v4: bool,
    /// Offset of the transport header.
    pub transport: u16,
    /// Bytes of all headers.
    pub headers: u16,
    /// Bytes of payload.
    pub payload: u16,
    /// TCP flags; 0 for UDP.
    pub flags: u8,
}

impl Candidate {
    /// Reads the headers of a whole IP packet.
    pub fn of(packet: &[u8], udp: bool) -> Self {
        Self::read(packet, udp).unwrap_or_default()
    }

    fn read(packet: &[u8], udp: bool) -> Option<Self> {
        let len = u16::try_from(packet.len()).ok()?;
        let (v4, protocol, transport) = match ip::version(packet) {
            4 => {
                let ipv4 = Ipv4(packet.first_chunk()?);
                let mergeable = packet[0] == 0x45 && !ipv4.is_fragment() && ipv4.total_len() == len;
                (true, mergeable.then(|| ipv4.protocol())?, IPV4_LEN)
            }
            6 => {
                let ipv6 = Ipv6(packet.first_chunk()?);
                let mergeable = usize::from(ipv6.payload_len()) + IPV6_LEN == packet.len();
                (false, mergeable.then(|| ipv6.next_header())?, IPV6_LEN)
            }
            _ => return None,
        };
        let body = packet.get(transport..)?;
        let (kind, header_len, flags, right) = match protocol {
            ip::TCP => {
                let tcp = Tcp(body.first_chunk()?);
                let kind = if v4 { Gso::Tcp4 } else { Gso::Tcp6 };
                (kind, tcp.header_len().max(TCP_LEN), tcp.flags(), true)
            }
            ip::UDP if udp => {
                let datagram = Udp(body.first_chunk()?);
                let right =
                    usize::from(datagram.len()) == body.len() && datagram.checksum() != [0, 0];
                (Gso::Udp, UDP_LEN, 0, right)
            }
            _ => {
                return Some(Self {
                    bystander: v4 || !is_extension(protocol),
                    ..Self::default()
                });
            }
        };
        let headers = transport + header_len;
        let payload = packet.len().checked_sub(headers)?;
        let joins = right && payload > 0;
        Some(Self {
            kind: Some(kind),
            bystander: false,
            joins,
            opens: joins
                && flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_URG) == 0
                && (kind == Gso::Udp || flags & TCP_ACK != 0),
            v4,
            // All at most the packet's length, which fits 16 bits.
            transport: transport as u16,
            headers: headers as u16,
            payload: payload as u16,
            flags,
        })
    }
}

/// Whether this IPv6 next header is an extension header behind which a
/// transport header may follow (IANA, "IPv6 Extension Header Types").
fn is_extension(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// What tells flows apart: addresses, ports, protocol and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FlowKey {
    addresses: [u64; 4],
    ports: u32,
    kind: u8,
}

impl FlowKey {
    pub fn of(packet: &[u8], candidate: &Candidate) -> Self {
        let mut addresses = [0; 4];
        let from = if candidate.v4 {
            &packet[12..IPV4_LEN]
        } else {
            &packet[8..IPV6_LEN]
        };
        let (words, _) = from.as_chunks::<8>();
        for (to, word) in addresses.iter_mut().zip(words) {
            *to = u64::from_ne_bytes(*word);
        }
        let transport = usize::from(candidate.transport);
        let ports = packet[transport..].first_chunk::<4>();
        Self {
            addresses,
            ports: ports.map_or(0, |ports| u32::from_ne_bytes(*ports)),
            kind: u8::from(candidate.v4) << 1 | u8::from(candidate.kind == Some(Gso::Udp)),
        }
    }

    /// Spreads flows over the table. Not secret: collisions cost a worker at
    /// most [`PROBES`](super::coalesce) looks and the flow its merging.
    pub fn hash(&self) -> usize {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [a, b, c, d] = self.addresses;
        let mixed = (a ^ b.rotate_left(17) ^ c.rotate_left(31) ^ d.rotate_left(47))
            .wrapping_mul(ODD)
            ^ u64::from(self.ports).wrapping_mul(ODD.rotate_left(32))
            ^ u64::from(self.kind);
        (mixed.wrapping_mul(ODD) >> 32) as usize
    }
}

/// Whether two packets have version, protocol, addresses and ports in common.
pub(super) fn is_same_flow(
    first: &[u8],
    shape: &Candidate,
    next: &[u8],
    candidate: &Candidate,
) -> bool {
    // Ports follow the addresses: neither has options or extension headers.
    let range = if shape.v4 { 12..24 } else { 8..44 };
    shape.kind == candidate.kind
        && shape.v4 == candidate.v4
        && first.get(range.clone()) == next.get(range)
}

/// Whether `next` continues a group of `count` packets and `so_far` payload
/// bytes that began with `first`; if so, whether the IPv4 identification
/// stands still. Payload sizes and checksums are the caller's.
pub(super) fn follows(
    first: &[u8],
    shape: &Candidate,
    next: &[u8],
    candidate: &Candidate,
    count: u16,
    fixed_id: bool,
    so_far: u32,
) -> Option<bool> {
    if !is_same_flow(first, shape, next, candidate) || shape.headers != candidate.headers {
        return None;
    }
    let mut fixed = false;
    if shape.v4 {
        let (a, b) = (Ipv4(first.first_chunk()?), Ipv4(next.first_chunk()?));
        if a.tos() != b.tos() || a.ttl() != b.ttl() || a.fragment_word() != b.fragment_word() {
            return None;
        }
        let step = b.id().wrapping_sub(a.id());
        fixed = if count == 1 {
            a.dont_fragment() && step == 0
        } else {
            fixed_id
        };
        if step != if fixed { 0 } else { count } {
            return None;
        }
    } else {
        let (a, b) = (Ipv6(first.first_chunk()?), Ipv6(next.first_chunk()?));
        if a.first_word() != b.first_word() || a.hop_limit() != b.hop_limit() {
            return None;
        }
    }
    if shape.kind == Some(Gso::Udp) {
        return Some(fixed);
    }
    let transport = usize::from(shape.transport);
    let headers = usize::from(shape.headers);
    let (a, b) = (
        first.get(transport..headers)?,
        next.get(transport..headers)?,
    );
    let (tcp_a, tcp_b) = (Tcp(a.first_chunk()?), Tcp(b.first_chunk()?));
    // CWR may stand on the first, FIN and PSH on the last; the rest, with
    // window, data offset and reserved bits, is one word.
    let ignored_first = u32::from(TCP_CWR) << 16;
    let ignored_next = u32::from(TCP_FIN | TCP_PSH) << 16;
    (tcp_a.flag_word() & !ignored_first == tcp_b.flag_word() & !ignored_next
        && tcp_a.acknowledgment() == tcp_b.acknowledgment()
        && tcp_b.sequence() == tcp_a.sequence().wrapping_add(so_far)
        && a[18..] == b[18..])
        .then_some(fixed)
}

/// Whether the IPv4 header's and the transport's checksum are right.
pub(super) fn checksums_are_valid(packet: &[u8], shape: &Candidate) -> bool {
    // The addresses of the pseudo header stand right before the transport
    // header: one sum takes both.
    let addresses_at = if shape.v4 {
        match packet.first_chunk::<IPV4_LEN>() {
            Some(header) if Sum::of(header).is_valid() => 12,
            _ => return false,
        }
    } else {
        8
    };
    let protocol = if shape.kind == Some(Gso::Udp) {
        ip::UDP
    } else {
        ip::TCP
    };
    // The packet is at most 65,535 bytes long (`Candidate::read`).
    let transport_len = packet.len() - usize::from(shape.transport);
    let sum = checksum::sum(&packet[addresses_at..])
        + Sum::of_u16(u16::from(protocol))
        + Sum::of_u16(transport_len as u16);
    sum.is_valid()
}

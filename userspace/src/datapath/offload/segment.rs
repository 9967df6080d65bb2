//! Super-packets from the TUN device into packets of one MTU.
//!
//! What the kernel's `tcp_gso_segment`, `__udp_gso_segment` and
//! `inet_gso_segment` do to a packet that leaves by a device without
//! segmentation offload, done here: lengths, IPv4 identification (counting
//! up), TCP sequence numbers and flags (FIN and PSH on the last segment only,
//! CWR on the first only), and every checksum.
//!
//! The transport checksum of a super-packet holds the sum of its pseudo header
//! (`NEEDS_CSUM`), so a segment's sum is that, minus the old length, plus the
//! new one, plus its own header and payload: addresses are never summed again,
//! and a routing header, which changes the pseudo header's destination, needs
//! no special case.

use super::vnet::{Gso, VNET_LEN, VnetHeader};
use crate::drops::DropReason;
use crate::net::checksum;
use ringtun_common::checksum::Sum;
use ringtun_common::ip::{
    self, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, TCP_CWR, TCP_FIN, TCP_LEN, TCP_PSH, Tcp, UDP_LEN, Udp,
};

const MALFORMED: DropReason = DropReason::OutboundMalformed;
/// Offset of the checksum field in a TCP header.
const TCP_CSUM: u16 = 16;
/// Offset of the checksum field in a UDP header.
const UDP_CSUM: u16 = 6;

/// One read from the TUN device, to be taken apart.
///
/// ```
/// # use ringtun::datapath::offload::Segmenter;
/// # fn seal(_: &[u8]) {}
/// # fn example(read: &mut [u8], out: &mut [u8]) -> Result<(), ringtun::drops::DropReason> {
/// let mut segments = Segmenter::new(read)?; // vnet header and packet
/// while let Some(len) = segments.next_len() {
///     segments.write_next(&mut out[..len]);
///     seal(&out[..len]);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Segmenter<'a> {
    packet: &'a mut [u8],
    /// Payload bytes written so far.
    offset: usize,
    /// Segments written so far.
    index: usize,
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    /// One packet, complete as it is.
    Whole {
        done: bool,
    },
    Split(Split),
}

/// A super-packet: all that is the same in each of its segments.
#[derive(Clone, Copy, Debug)]
struct Split {
    kind: Gso,
    v4: bool,
    /// Where the transport header starts.
    transport: usize,
    /// Bytes of all headers.
    headers: usize,
    /// Payload bytes per segment.
    size: usize,
    /// Sum of the transport header and its pseudo header without the fields
    /// that differ: length, TCP sequence number and flags, checksum.
    transport_sum: Sum,
    /// Sum of the IPv4 header without total length, identification and checksum.
    ip_sum: Sum,
    id: u16,
    sequence: u32,
    /// The TCP word with data offset, flags and window.
    flag_word: u32,
}

impl<'a> Segmenter<'a> {
    /// Takes `read`, a vnet header and a packet. A partial checksum of a
    /// single packet is completed in place.
    ///
    /// # Errors
    /// [`DropReason::OutboundMalformed`] if this is neither IPv4 nor IPv6, if
    /// it is shorter than it says, or if the vnet header contradicts it.
    pub fn new(read: &'a mut [u8]) -> Result<Self, DropReason> {
        let (header, packet) = read.split_first_chunk_mut::<VNET_LEN>().ok_or(MALFORMED)?;
        let header = VnetHeader::parse(header).ok_or(MALFORMED)?;
        Self::with_header(&header, packet)
    }

    /// As [`new`](Self::new), for a vnet header that was read apart from its packet.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_header(header: &VnetHeader, packet: &'a mut [u8]) -> Result<Self, DropReason> {
        let plan = match header.gso {
            None => {
                if header.needs_csum {
                    complete(header, packet)?;
                }
                check_ip(packet)?;
                Plan::Whole { done: false }
            }
            Some(kind) => Plan::Split(Split::new(kind, header, packet)?),
        };
        Ok(Self {
            packet,
            offset: 0,
            index: 0,
            plan,
        })
    }

    /// The packet as one whole: for reading addresses, the same for every
    /// segment; and, where [`is_single`](Self::is_single), the packet itself.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        self.packet
    }

    /// Whether there is nothing to cut: [`packet`](Self::packet) can be used where it lies.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.plan, Plan::Whole { .. })
    }

    /// The packet, complete, where there is nothing to cut.
    pub fn single_mut(&mut self) -> Option<&mut [u8]> {
        match self.plan {
            Plan::Whole { .. } => Some(self.packet),
            Plan::Split(_) => None,
        }
    }

    /// Segments still to be written.
    #[must_use]
    pub fn remaining(&self) -> usize {
        match &self.plan {
            Plan::Whole { done } => usize::from(!done),
            Plan::Split(split) => {
                (self.packet.len() - split.headers - self.offset).div_ceil(split.size)
            }
        }
    }

    /// Bytes of the next segment, headers included; `None` when all are written.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        match &self.plan {
            Plan::Whole { done: true } => None,
            Plan::Whole { done: false } => Some(self.packet.len()),
            Plan::Split(split) => {
                let left = self.packet.len() - split.headers - self.offset;
                (left > 0).then(|| split.headers + left.min(split.size))
            }
        }
    }

    /// Writes the next segment to the front of `out` and gives its length;
    /// `None` when all are written, or if `out` is shorter than [`next_len`](Self::next_len).
    pub fn write_next(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = self.next_len()?;
        let out = out.get_mut(..len)?;
        match &mut self.plan {
            Plan::Whole { done } => {
                out.copy_from_slice(self.packet);
                *done = true;
            }
            Plan::Split(split) => {
                let payload = len - split.headers;
                let from = split.headers + self.offset;
                let (header, body) = out.split_at_mut(split.headers);
                header.copy_from_slice(&self.packet[..split.headers]);
                body.copy_from_slice(&self.packet[from..from + payload]);
                let last = from + payload == self.packet.len();
                split.finish(header, body, self.index, self.offset, last)?;
                self.offset += payload;
            }
        }
        self.index += 1;
        Some(len)
    }
}

/// At least as long as the IP header says, for a packet that is passed on as
/// it is. What follows the end is dropped by the receiver like padding.
fn check_ip(packet: &[u8]) -> Result<(), DropReason> {
    let fits = match ip::version(packet) {
        4 => packet.first_chunk().is_some_and(|header| {
            let header = Ipv4(header);
            let total = usize::from(header.total_len());
            header.header_len() >= IPV4_LEN && total >= header.header_len() && total <= packet.len()
        }),
        6 => packet.first_chunk().is_some_and(|header| {
            IPV6_LEN + usize::from(Ipv6(header).payload_len()) <= packet.len()
        }),
        _ => false,
    };
    fits.then_some(()).ok_or(MALFORMED)
}

/// Completes a partial checksum over everything from `csum_start` on.
fn complete(header: &VnetHeader, packet: &mut [u8]) -> Result<(), DropReason> {
    let start = usize::from(header.csum_start);
    // Never inside the IP header, whose fields others go by.
    if start < IPV4_LEN {
        return Err(MALFORMED);
    }
    let covered = packet.get_mut(start..).ok_or(MALFORMED)?;
    // The field holds the pseudo header's sum, so it is summed with the rest.
    // A zero becomes 0xffff for every protocol, as in `skb_checksum_help`: the
    // two mean the same to TCP.
    let sum = checksum::sum(covered).finish_nonzero();
    covered
        .get_mut(usize::from(header.csum_offset)..)
        .and_then(|rest| rest.first_chunk_mut())
        .map(|field: &mut [u8; 2]| *field = sum)
        .ok_or(MALFORMED)
}

impl Split {
    fn new(kind: Gso, header: &VnetHeader, packet: &[u8]) -> Result<Self, DropReason> {
        let transport = usize::from(header.csum_start);
        let protocol_matches = match (kind, ip::version(packet)) {
            (Gso::Tcp4 | Gso::Udp, 4) => packet.first_chunk().is_some_and(|bytes| {
                let ipv4 = Ipv4(bytes);
                let protocol = if kind == Gso::Udp { ip::UDP } else { ip::TCP };
                ipv4.header_len() >= IPV4_LEN
                    && ipv4.header_len() == transport
                    && !ipv4.is_fragment()
                    && ipv4.protocol() == protocol
            }),
            // With extension headers the transport header lies further on; the
            // kernel knows where, and what follows is checked on its own.
            (Gso::Tcp6 | Gso::Udp, 6) => {
                transport >= IPV6_LEN
                    && (transport > IPV6_LEN
                        || packet.first_chunk().is_some_and(|bytes| {
                            let protocol = if kind == Gso::Udp { ip::UDP } else { ip::TCP };
                            Ipv6(bytes).next_header() == protocol
                        }))
            }
            _ => false,
        };
        let csum_offset = if kind == Gso::Udp { UDP_CSUM } else { TCP_CSUM };
        if !protocol_matches
            || !header.needs_csum
            || header.csum_offset != csum_offset
            || header.gso_size == 0
            || packet.len() > usize::from(u16::MAX) + IPV6_LEN
        {
            return Err(MALFORMED);
        }
        let body = packet.get(transport..).ok_or(MALFORMED)?;
        let pseudo = |len: usize, field: [u8; 2]| {
            // `transport_len` fits 32 bits: the packet was read in one piece.
            Sum::of_field(field).without(Sum::of_u32(len as u32))
        };
        let mut split = Self {
            kind,
            v4: ip::version(packet) == 4,
            transport,
            headers: 0,
            size: usize::from(header.gso_size),
            transport_sum: Sum::ZERO,
            ip_sum: Sum::ZERO,
            id: 0,
            sequence: 0,
            flag_word: 0,
        };
        if kind == Gso::Udp {
            let udp = Udp(body.first_chunk().ok_or(MALFORMED)?);
            split.headers = transport + UDP_LEN;
            split.transport_sum = pseudo(body.len(), udp.checksum()) + Sum::of(&udp.ports());
        } else {
            let tcp = Tcp(body.first_chunk().ok_or(MALFORMED)?);
            let options = body.get(TCP_LEN..tcp.header_len()).ok_or(MALFORMED)?;
            split.headers = transport + tcp.header_len();
            split.sequence = tcp.sequence();
            split.flag_word = tcp.flag_word();
            split.transport_sum = pseudo(body.len(), tcp.checksum())
                + Sum::of(&tcp.ports())
                + Sum::of_u32(tcp.acknowledgment())
                + Sum::of(&body[18..20])
                + Sum::of(options);
        }
        // A super-packet of no payload has no segments: nothing sends one.
        if packet.len() <= split.headers {
            return Err(MALFORMED);
        }
        if split.headers + split.size > usize::from(u16::MAX) {
            // Fits one segment in any case; keeps lengths within 16 bits below.
            split.size = usize::from(u16::MAX) - split.headers;
        }
        if split.v4 {
            let header = &packet[..transport];
            split.id = Ipv4(header.first_chunk().ok_or(MALFORMED)?).id();
            split.ip_sum = Sum::of(&header[..2]) + Sum::of(&header[6..10]) + Sum::of(&header[12..]);
        }
        Ok(split)
    }

    /// Rewrites the copied `header` for segment `index`, whose payload starts
    /// at `offset` of the whole.
    fn finish(
        &self,
        header: &mut [u8],
        body: &[u8],
        index: usize,
        offset: usize,
        last: bool,
    ) -> Option<()> {
        let (network, transport) = header.split_at_mut(self.transport);
        let transport_len = transport.len() + body.len();
        // All lengths fit 16 bits: `new` holds `size` to it.
        if self.v4 {
            let mut ipv4 = Ipv4(network.first_chunk_mut()?);
            let total = (self.transport + transport_len) as u16;
            let id = self.id.wrapping_add(index as u16);
            ipv4.set_total_len(total);
            ipv4.set_id(id);
            ipv4.set_checksum((self.ip_sum + Sum::of_u16(total) + Sum::of_u16(id)).finish());
        } else {
            let len = self.transport - IPV6_LEN + transport_len;
            Ipv6(network.first_chunk_mut()?).set_payload_len(len as u16);
        }
        let sum = self.transport_sum + Sum::of_u32(transport_len as u32) + checksum::sum(body);
        if self.kind == Gso::Udp {
            let mut udp = Udp(transport.first_chunk_mut()?);
            udp.set_len(transport_len as u16);
            let sum = sum + Sum::of_u16(transport_len as u16);
            udp.set_checksum(sum.finish_nonzero());
        } else {
            let mut cleared = 0;
            if !last {
                cleared |= TCP_FIN | TCP_PSH;
            }
            if index > 0 {
                cleared |= TCP_CWR;
            }
            let flag_word = self.flag_word & !(u32::from(cleared) << 16);
            let sequence = self.sequence.wrapping_add(offset as u32);
            let mut tcp = Tcp(transport.first_chunk_mut()?);
            tcp.set_sequence(sequence);
            tcp.set_flags((flag_word >> 16) as u8);
            let sum = sum + Sum::of_u32(sequence) + Sum::of_u32(flag_word);
            tcp.set_checksum(sum.finish());
        }
        Some(())
    }
}

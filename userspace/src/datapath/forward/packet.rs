//! A packet on its way through this host: what of a router's work (RFC 1812,
//! RFC 8200) is done to it here, and what is left to the kernel.

use std::net::IpAddr;
use std::ops::Range;

use ringtun_common::checksum::{self, Sum};
use ringtun_common::ip::{self, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, TCP, UDP};

use crate::datapath::offload::VnetHeader;

const ETHERNET_LEN: usize = 14;
const ICMPV6: u8 = 58;

/// Where in a frame from a LAN ring the packet lies. `None` if the frame is not
/// what the XDP program hands over, or its IPv4 header does not add up (RFC 1812,
/// section 5.2.2; nobody has looked at that before).
#[must_use]
pub fn find(frame: &[u8]) -> Option<Range<usize>> {
    let packet = frame.get(ETHERNET_LEN..)?;
    let len = match (frame[12], frame[13]) {
        (0x08, 0x00) => {
            let header = packet.first_chunk::<IPV4_LEN>()?;
            let len = usize::from(Ipv4(header).total_len());
            // Version and length: no options.
            let plain = header[0] == 0x45 && !Ipv4(header).is_fragment();
            (plain && len >= IPV4_LEN && Sum::of(header).is_valid()).then_some(len)
        }
        (0x86, 0xdd) => {
            let header = packet.first_chunk::<IPV6_LEN>()?;
            let len = IPV6_LEN + usize::from(Ipv6(header).payload_len());
            (ip::version(packet) == 6).then_some(len)
        }
        _ => None,
    }?;
    (len <= packet.len() && hops_left(packet) > 1).then_some(ETHERNET_LEN..ETHERNET_LEN + len)
}

fn hops_left(packet: &[u8]) -> u8 {
    match ip::version(packet) {
        4 => packet[8],
        _ => packet[7],
    }
}

/// Takes one hop from a packet that [`find`] or [`destination`] gave, and its
/// IPv4 checksum along (RFC 1624).
pub fn lower_hop_limit(packet: &mut [u8]) {
    if ip::version(packet) != 4 {
        packet[7] -= 1;
        return;
    }
    let before = Sum::of(&packet[8..10]);
    packet[8] -= 1;
    let field = [packet[10], packet[11]];
    let after = checksum::update(field, before, Sum::of(&packet[8..10]));
    packet[10..12].copy_from_slice(&after);
}

/// What a TUN device would say of a packet whose checksum its sender left to the
/// card, as containers and virtual machines do: it holds the sum of the pseudo header.
/// A right checksum of that very value comes out of the completion as it was.
#[must_use]
pub fn vnet_header(packet: &[u8]) -> VnetHeader {
    unfinished(packet).unwrap_or_default()
}

fn unfinished(packet: &[u8]) -> Option<VnetHeader> {
    let (protocol, at, addresses) = match ip::version(packet) {
        4 => (packet[9], IPV4_LEN, 12..IPV4_LEN),
        _ => (packet[6], IPV6_LEN, 8..IPV6_LEN),
    };
    let field = match protocol {
        TCP => 16,
        UDP => 6,
        ICMPV6 => 2,
        _ => return None,
    };
    let carried = packet.get(at..)?;
    let value = carried.get(field..field + 2)?;
    let pseudo = Sum::pseudo_header(&packet[addresses], protocol, carried.len() as u32);
    // Zero is UDP without a checksum, over IPv4.
    let partial = value == pseudo.partial() && value != [0, 0];
    partial.then_some(VnetHeader {
        needs_csum: true,
        csum_start: at as u16,
        csum_offset: field as u16,
        ..VnetHeader::default()
    })
}

/// Where a packet out of a tunnel goes, if it may leave past the kernel, which
/// answers those that have no hop left and looks at options. `None`: it is the
/// kernel's.
#[must_use]
pub fn destination(packet: &[u8]) -> Option<IpAddr> {
    match ip::version(packet) {
        4 => {
            let header = packet.first_chunk::<IPV4_LEN>()?;
            (header[0] == 0x45 && header[8] > 1).then(|| Ipv4(header).destination().into())
        }
        6 => {
            let header = packet.first_chunk::<IPV6_LEN>()?;
            // Hop-by-hop options are for every router on the way.
            let plain = header[6] != 0 && header[7] > 1;
            plain.then(|| Ipv6(header).destination().into())
        }
        _ => None,
    }
}

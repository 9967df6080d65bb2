//! The header in front of each packet of a TUN device opened with `IFF_VNET_HDR`.
//!
//! ```text
//!  0  flags   1  gso_type   2..4  hdr_len   4..6  gso_size
//!  6..8  csum_start   8..10  csum_offset          (numbers in host byte order)
//! ```
//!
//! `struct virtio_net_hdr` of `<linux/virtio_net.h>`, virtio 1.2 section 5.1.6;
//! TUN uses the host's byte order unless `TUNSETVNETLE` or `TUNSETVNETBE` says otherwise.

/// Bytes of the header: the kernel's default, without `num_buffers`.
pub const VNET_LEN: usize = 10;

/// The checksum at `csum_start + csum_offset` holds the pseudo header only and
/// is to be completed over everything from `csum_start` on.
pub(crate) const NEEDS_CSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside a TCP type when the first segment carries CWR.
const GSO_ECN: u8 = 0x80;

/// What a super-packet is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one size, over either IP version.
    Udp,
}

/// The header, decoded. Nothing in it has been held against the packet yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// The checksum is partial: see [`csum_start`](Self::csum_start).
    pub needs_csum: bool,
    /// `None` for a single packet.
    pub gso: Option<Gso>,
    /// The TCP super-packet's first segment carries CWR (RFC 3168).
    pub ecn: bool,
    /// Bytes of all headers: a hint of how much to keep in one piece.
    pub hdr_len: u16,
    /// Payload bytes per segment.
    pub gso_size: u16,
    /// Offset in the packet from which the checksum is summed.
    pub csum_start: u16,
    /// Offset of the checksum field from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Decodes the header; `None` for a super-packet of a kind that was never
    /// asked for (UDP fragmentation offload, or unknown).
    #[must_use]
    pub fn parse(bytes: &[u8; VNET_LEN]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(Gso::Tcp4),
            GSO_TCPV6 => Some(Gso::Tcp6),
            GSO_UDP_L4 => Some(Gso::Udp),
            _ => return None,
        };
        Some(Self {
            needs_csum: bytes[0] & NEEDS_CSUM != 0,
            gso,
            ecn: bytes[1] & GSO_ECN != 0,
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        })
    }

    /// Encodes the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; VNET_LEN] {
        let kind = match self.gso {
            None => GSO_NONE,
            Some(Gso::Tcp4) => GSO_TCPV4,
            Some(Gso::Tcp6) => GSO_TCPV6,
            Some(Gso::Udp) => GSO_UDP_L4,
        };
        let mut bytes = [0; VNET_LEN];
        bytes[0] = if self.needs_csum { NEEDS_CSUM } else { 0 };
        bytes[1] = kind | if self.ecn { GSO_ECN } else { 0 };
        for (at, word) in [
            (2, self.hdr_len),
            (4, self.gso_size),
            (6, self.csum_start),
            (8, self.csum_offset),
        ] {
            bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn udp_fragmentation_offload_was_never_asked_for() {
        assert_eq!(VnetHeader::parse(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_plain_packet_has_an_all_zero_header() {
        assert_eq!(VnetHeader::default().to_bytes(), [0; VNET_LEN]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: [u8; VNET_LEN]) {
            if let Some(header) = VnetHeader::parse(&bytes) {
                prop_assert_eq!(VnetHeader::parse(&header.to_bytes()), Some(header));
            }
        }
    }
}

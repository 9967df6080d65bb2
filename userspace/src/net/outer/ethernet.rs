//! The Ethernet header of a hop.

use ringtun_common::packet::MAX_VLAN_TAGS;

use super::hop::Hop;

const MACS_LEN: usize = 12;
const TAG_LEN: usize = 4;
const TYPE_LEN: usize = 2;
/// Bytes of the longest: addresses, two tags, type.
pub const ETHERNET_MAX: usize = MACS_LEN + MAX_VLAN_TAGS * TAG_LEN + TYPE_LEN;

/// What stands in front of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    bytes: [u8; ETHERNET_MAX],
    len: u8,
}

impl Ethernet {
    /// The header of packets by this hop, of the family of its addresses.
    #[must_use]
    pub fn of(hop: &Hop) -> Self {
        let mut bytes = [0; ETHERNET_MAX];
        let mut len = 0;
        // Tags are bounded by their type.
        let mut put = |part: &[u8]| {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        };
        put(&hop.next_hop_mac.0);
        put(&hop.source_mac.0);
        for tag in hop.tags.as_slice() {
            put(&tag.bytes());
        }
        let v4 = hop.addresses.destination().is_ipv4();
        put(if v4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
        let len = len as u8;
        Self { bytes, len }
    }

    /// Its bytes: 14 to [`ETHERNET_MAX`].
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

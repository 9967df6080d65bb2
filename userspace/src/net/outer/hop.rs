//! Where frames to an endpoint go.

use ringtun_common::packet::MAX_VLAN_TAGS;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address in these bytes, if they are six and not all zero: a device
    /// or a neighbour that has none yet shows zeros.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 6] = bytes.try_into().ok()?;
        (bytes != [0; 6]).then_some(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One VLAN tag (IEEE 802.1Q clause 9.3).
///
/// ```text
///  0..2  0x8100 (802.1Q) or 0x88a8 (802.1ad)
///  2..4  priority (3 bits), drop eligible (1), VLAN (12)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// An 802.1ad service tag; else 802.1Q.
    pub service: bool,
    /// VLAN identifier, 0 to 4095.
    pub vlan: u16,
    /// Priority code point, 0 to 7.
    pub priority: u8,
}

impl Tag {
    /// As it stands in the frame.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        let protocol: u16 = if self.service { 0x88a8 } else { 0x8100 };
        let control = ((self.priority as u16 & 7) << 13) | (self.vlan & 0xfff);
        let ([a, b], [c, d]) = (protocol.to_be_bytes(), control.to_be_bytes());
        [a, b, c, d]
    }
}

/// The VLAN tags of a frame, the outermost first: at most as many as the
/// parser walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    len: u8,
    tags: [Tag; MAX_VLAN_TAGS],
}

impl Tags {
    /// No tag.
    pub const NONE: Self = Self {
        len: 0,
        tags: [Tag {
            service: false,
            vlan: 0,
            priority: 0,
        }; MAX_VLAN_TAGS],
    };

    /// Puts a tag around those that are there. False if there is no room.
    #[must_use]
    pub fn wrap(&mut self, tag: Tag) -> bool {
        if usize::from(self.len) == MAX_VLAN_TAGS {
            return false;
        }
        self.tags.rotate_right(1);
        self.tags[0] = tag;
        self.len += 1;
        true
    }

    /// The tags, the outermost first.
    #[must_use]
    pub fn as_slice(&self) -> &[Tag] {
        &self.tags[..usize::from(self.len)]
    }
}

/// Source and destination of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// A local address.
        source: Ipv4Addr,
        /// The endpoint's.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// A local address.
        source: Ipv6Addr,
        /// The endpoint's.
        destination: Ipv6Addr,
    },
}

impl Addresses {
    /// Both addresses, if they are of one family.
    #[must_use]
    pub const fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 {
                source,
                destination,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 {
                source,
                destination,
            }),
            _ => None,
        }
    }

    /// The local address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        match self {
            Self::V4 { source, .. } => IpAddr::V4(*source),
            Self::V6 { source, .. } => IpAddr::V6(*source),
        }
    }

    /// The endpoint's address.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        match self {
            Self::V4 { destination, .. } => IpAddr::V4(*destination),
            Self::V6 { destination, .. } => IpAddr::V6(*destination),
        }
    }
}

/// Where frames to an endpoint go, and what their headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Index of the physical device: the one under all VLAN devices.
    pub ifindex: u32,
    /// MAC address of the device that holds the source address.
    pub source_mac: Mac,
    /// MAC address of the gateway, or of the endpoint itself.
    pub next_hop_mac: Mac,
    /// Tags of the VLAN devices in between.
    pub tags: Tags,
    /// IP addresses.
    pub addresses: Addresses,
    /// Bytes of the longest IP packet on this path.
    pub mtu: u32,
    /// TTL, or hop limit.
    pub hop_limit: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tag(vlan: u16) -> Tag {
        Tag {
            service: false,
            vlan,
            priority: 0,
        }
    }

    #[test]
    fn a_tag_put_around_others_is_the_first_and_the_third_has_no_room() {
        let mut tags = Tags::NONE;
        assert_eq!(tags.as_slice(), []);
        assert!(tags.wrap(tag(5)));
        assert!(tags.wrap(tag(6)));
        assert_eq!(tags.as_slice(), [tag(6), tag(5)]);
        assert!(!tags.wrap(tag(7)));
        assert_eq!(tags.as_slice(), [tag(6), tag(5)]);
    }

    #[test]
    fn a_tag_is_protocol_priority_and_vlan() {
        assert_eq!(tag(0xabc).bytes(), [0x81, 0x00, 0x0a, 0xbc]);
        let service = Tag {
            service: true,
            vlan: 1,
            priority: 5,
        };
        assert_eq!(service.bytes(), [0x88, 0xa8, 0xa0, 0x01]);
    }

    #[test]
    fn only_six_bytes_that_are_not_zero_are_an_address() {
        assert_eq!(Mac::from_slice(&[0; 6]), None);
        assert_eq!(Mac::from_slice(&[1; 5]), None);
        assert_eq!(Mac::from_slice(&[1; 8]), None);
        let mac = Mac::from_slice(&[2, 0, 0, 0xab, 0, 1]).expect("six bytes");
        assert_eq!(mac.to_string(), "02:00:00:ab:00:01");
    }

    #[test]
    fn addresses_are_of_one_family() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap());
        assert_eq!(Addresses::new(v4, v6), None);
        assert_eq!(Addresses::new(v6, v4), None);
        let both = Addresses::new(v6, "fd00::2".parse().unwrap()).expect("one family");
        assert_eq!(both.source(), v6);
    }
}

//! Where packets for one destination go on the LAN side.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::net::outer::{Ethernet, Hop};

/// The Ethernet header of packets to one destination, and the card that they leave
/// by. Made by control, shared by all workers.
#[derive(Debug)]
pub struct NextHop {
    ifindex: u32,
    header: Ethernet,
    mtu: u16,
    used: AtomicBool,
}

impl PartialEq for NextHop {
    /// Whether packets leave the same way.
    fn eq(&self, other: &Self) -> bool {
        let way = |hop: &Self| (hop.ifindex, hop.header, hop.mtu);
        way(self) == way(other)
    }
}

impl NextHop {
    /// For packets to the address that the hop was looked up for.
    #[must_use]
    pub fn new(hop: &Hop) -> Self {
        Self {
            ifindex: hop.ifindex,
            header: Ethernet::of(hop),
            mtu: hop.mtu.min(u16::MAX.into()) as u16,
            used: AtomicBool::new(false),
        }
    }

    /// Index of the card by whose ring the frames leave.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// What stands in front of the packet.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// Bytes of the longest packet.
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.mtu as usize
    }

    /// A packet went there. Written once between two looks: the line of memory is
    /// shared by all workers.
    pub fn mark_used(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether one did since this was asked last.
    #[must_use]
    pub fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::outer::{Addresses, ETHERNET_MAX, Mac, Tag, Tags};

    fn hop(destination: &str, tags: Tags) -> Hop {
        let v4 = destination.contains('.');
        let source = if v4 { "192.0.2.1" } else { "fd00::1" };
        let addresses = Addresses::new(source.parse().unwrap(), destination.parse().unwrap());
        Hop {
            ifindex: 3,
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            next_hop_mac: Mac([2, 0, 0, 0, 0, 2]),
            tags,
            addresses: addresses.unwrap(),
            mtu: 1500,
            hop_limit: 64,
        }
    }

    #[test]
    fn a_header_is_addresses_tags_and_the_type_of_the_family() {
        let plain = NextHop::new(&hop("192.0.2.9", Tags::NONE));
        let header = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        assert_eq!(plain.header(), header);
        let mut tags = Tags::NONE;
        for vlan in [7, 9] {
            let priority = 0;
            let service = vlan == 9;
            assert!(tags.wrap(Tag {
                service,
                vlan,
                priority
            }));
        }
        let tagged = NextHop::new(&hop("fd00::9", tags));
        assert_eq!(tagged.header().len(), ETHERNET_MAX);
        let behind = [0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 0x86, 0xdd];
        assert_eq!(tagged.header()[12..], behind);
    }

    #[test]
    fn use_is_seen_once() {
        let hop = NextHop::new(&hop("192.0.2.9", Tags::NONE));
        assert!(!hop.take_used());
        hop.mark_used();
        assert!(hop.take_used());
        assert!(!hop.take_used());
    }
}

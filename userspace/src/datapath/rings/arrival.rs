//! A frame from a receive ring, read as what the XDP program took it for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;

use ringtun_common::checksum::Sum;
use ringtun_common::class::Class;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::ip::UDP_LEN;
use ringtun_common::packet::{self, Address, Part};

use crate::tunnel::endpoint::{Endpoint, Source};
use crate::tunnel::transport::Ecn;

/// WireGuard data in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The local port that it is for.
    pub port: u16,
    /// Who sent it, and where to answer from.
    pub from: Endpoint,
    /// The outer congestion mark.
    pub ecn: Ecn,
    /// Where in the frame the message lies.
    pub payload: Range<usize>,
}

impl Arrival {
    /// Reads a frame that came in by the interface `ifindex`. `None` if it is
    /// not what the program in the kernel hands over, or its IPv4 header does not
    /// add up (RFC 1122 section 3.2.1.2; the kernel checks that for sockets, and
    /// nobody has for this frame). UDP's checksum is not looked at: the payload is
    /// authenticated.
    #[must_use]
    pub fn read(frame: &[u8], ifindex: u32) -> Option<Self> {
        let packet = packet::parse(&mut SliceCursor::new(frame)).ok()?;
        if packet.class != Class::WireGuardData || packet.network.part != Part::Whole {
            return None;
        }
        let network = &packet.network;
        if network.is_ambiguous() {
            return None;
        }
        let header = &frame[network.start..network.at];
        if network.v4 && !Sum::of(header).is_valid() {
            return None;
        }
        let at = network.at + UDP_LEN;
        let payload = at..at + usize::from(packet.payload_len);
        frame.get(payload.clone())?;
        let (from, to) = (address(network.source), address(network.destination));
        let from = match from {
            IpAddr::V6(ip) => {
                // As the kernel tells it of a socket's datagrams.
                let scope = if ip.is_unicast_link_local() {
                    ifindex
                } else {
                    0
                };
                SocketAddrV6::new(ip, packet.source_port, 0, scope).into()
            }
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, packet.source_port),
        };
        // A tagged frame came to the address of a VLAN device, whose index is
        // not known here: the routing table chooses what it is answered from.
        let source = is_untagged(&frame[12..14]).then_some(Source { addr: to, ifindex });
        Some(Self {
            port: packet.destination_port,
            from: Endpoint { addr: from, source },
            ecn: Ecn::of_packet(&frame[network.start..]),
            payload,
        })
    }
}

fn is_untagged(ethertype: &[u8]) -> bool {
    matches!(ethertype, [0x08, 0x00] | [0x86, 0xdd])
}

fn address(address: Address) -> IpAddr {
    let ip = Ipv6Addr::from(address);
    ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringtun_common::fixtures::{self, Fixture};
    use ringtun_common::verdict::Verdict;

    /// A frame as it arrives: if one of its bytes was changed, so was the checksum
    /// of its IPv4 header.
    fn arriving(fixture: &Fixture) -> Vec<u8> {
        let mut frame = fixture.frame.clone();
        let parsed = packet::parse(&mut SliceCursor::new(&frame));
        if let Ok(packet) = parsed
            && packet.ip
            && packet.network.v4
        {
            let (start, end) = (packet.network.start, packet.network.at);
            frame[start + 10..start + 12].fill(0);
            let checksum = Sum::of(&frame[start..end]).finish();
            frame[start + 10..start + 12].copy_from_slice(&checksum);
        }
        frame
    }

    #[test]
    fn what_the_program_takes_is_read_and_nothing_else_of_other_classes() {
        let mut taken = 0;
        for fixture in fixtures::all() {
            let arrival = Arrival::read(&arriving(&fixture), 7);
            if fixture.verdict == Verdict::Ours {
                let arrival = arrival.unwrap_or_else(|| panic!("{}", fixture.name));
                assert_eq!(fixture.frame[arrival.payload.clone()][0], 4);
                taken += 1;
            } else if fixture.class != Class::WireGuardData {
                assert_eq!(arrival, None, "{}", fixture.name);
            }
        }
        assert!(taken > 10, "{taken}");
    }

    #[test]
    fn a_tagged_frame_has_no_source_and_another_has() {
        let ours = fixtures::all()
            .into_iter()
            .filter(|fixture| fixture.verdict == Verdict::Ours);
        let mut seen = [0, 0];
        for fixture in ours {
            let arrival = Arrival::read(&arriving(&fixture), 7).expect("ours");
            let tagged = !is_untagged(&fixture.frame[12..14]);
            assert_eq!(arrival.from.source.is_none(), tagged, "{}", fixture.name);
            seen[usize::from(tagged)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
    }

    #[test]
    fn an_ipv4_header_that_does_not_add_up_is_refused() {
        let mut refused = 0;
        for fixture in fixtures::all() {
            let mut frame = arriving(&fixture);
            let at = packet::parse(&mut SliceCursor::new(&frame)).map(|p| p.network.start);
            let (Verdict::Ours, Ok(at)) = (fixture.verdict, at) else {
                continue;
            };
            frame[at + 1] ^= Ecn::Ce as u8;
            let is_v4 = frame[at] >> 4 == 4;
            assert_eq!(
                Arrival::read(&frame, 7).is_none(),
                is_v4,
                "{}",
                fixture.name
            );
            refused += usize::from(is_v4);
        }
        assert!(refused > 5, "{refused}");
    }

    proptest! {
        #[test]
        fn a_damaged_frame_is_read_within_its_bounds_or_not_at_all(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let all = fixtures::all();
            let mut frame = which.get(&all).frame.clone();
            if !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = value;
                frame.truncate(cut.index(frame.len()) + 1);
            }
            if let Some(arrival) = Arrival::read(&frame, 7) {
                prop_assert!(arrival.payload.end <= frame.len());
                prop_assert!(arrival.payload.len() >= 32);
            }
        }
    }
}

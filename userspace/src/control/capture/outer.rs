//! Ethernet, IP and UDP for messages that a socket sent or received.
//!
//! What the kernel put there is not known here: the Ethernet addresses are zero,
//! so is the IPv4 identification, the hop limit is 64, and our own address is
//! unspecified as long as the kernel chooses it.

use std::net::{IpAddr, SocketAddr};

use crate::datapath::taps::{Direction, Link};
use crate::net::checksum;
use crate::net::outer::{Addresses, Checksum, HEADERS_MAX, Hop, Mac, Outer, Tags, Template};

const HOP_LIMIT: u8 = 64;

/// The headers of a batch; none where its packets have theirs.
#[must_use]
pub fn headers(link: &Link, direction: Direction) -> Option<(Template, u8)> {
    match *link {
        Link::Ip | Link::Ethernet => None,
        Link::Ring { template, tos } => Some((template, tos)),
        Link::Socket {
            peer,
            local,
            port,
            tos,
        } => {
            let unspecified: IpAddr = match peer {
                SocketAddr::V4(_) => [0; 4].into(),
                SocketAddr::V6(_) => [0; 16].into(),
            };
            let local = local.filter(|local| local.is_ipv4() == peer.is_ipv4());
            let ours = SocketAddr::new(local.unwrap_or(unspecified), port);
            let (source, destination) = match direction {
                Direction::In => (peer, ours),
                Direction::Out => (ours, peer),
            };
            Some((template(source, destination)?, tos))
        }
    }
}

fn template(source: SocketAddr, destination: SocketAddr) -> Option<Template> {
    let hop = Hop {
        ifindex: 0,
        source_mac: Mac::default(),
        next_hop_mac: Mac::default(),
        tags: Tags::NONE,
        addresses: Addresses::new(source.ip(), destination.ip())?,
        mtu: u16::MAX.into(),
        hop_limit: HOP_LIMIT,
    };
    Some(Template::new(&hop, source.port(), destination.port()))
}

/// Puts a message of `len` bytes, of which these are the first, behind its
/// headers; the length of those. The checksum is right if nothing is missing.
pub fn assemble(
    frame: &mut Vec<u8>,
    (template, tos): &(Template, u8),
    message: &[u8],
    len: usize,
) -> usize {
    frame.clear();
    frame.resize(template.len().min(HEADERS_MAX), 0);
    let outer = Outer {
        payload_len: len.min(template.payload_max()),
        traffic_class: *tos,
        id: 0,
    };
    let sum = Checksum::Complete(checksum::sum(message));
    if let Err(unwritten) = template.write(frame, outer, sum) {
        unreachable!("there is room, and it is as long as is allowed: {unwritten}");
    }
    frame.extend_from_slice(message);
    template.len()
}

#[cfg(test)]
mod tests {
    use ringtun_common::class::Class;
    use ringtun_common::cursor::SliceCursor;
    use ringtun_common::packet;

    use super::*;
    use crate::tunnel::transport::Ecn;
    use ringtun_common::ip::UDP_LEN;

    /// A data message of `len` bytes.
    fn message(len: usize) -> Vec<u8> {
        let mut message = vec![0x5a; len];
        message[..4].copy_from_slice(&[4, 0, 0, 0]);
        message
    }

    #[test]
    fn a_made_up_frame_is_read_as_what_it_was() {
        let cases = [
            ("192.0.2.1:7", Some("198.51.100.2")),
            ("192.0.2.1:7", None),
            ("[2001:db8::1]:7", Some("2001:db8::2")),
            // Of the wrong family: as if there was none.
            ("[2001:db8::1]:7", Some("198.51.100.2")),
        ];
        for (peer, local) in cases {
            for direction in [Direction::In, Direction::Out] {
                let peer: SocketAddr = peer.parse().expect("an address");
                let link = Link::Socket {
                    peer,
                    local: local.map(|l| l.parse().expect("an address")),
                    port: 51820,
                    tos: 2,
                };
                let headers = headers(&link, direction).expect("there are some");
                let (mut frame, message) = (Vec::new(), message(96));
                let at = assemble(&mut frame, &headers, &message, message.len());
                assert_eq!(frame[at..], message);
                let packet = packet::parse(&mut SliceCursor::new(&frame)).expect("sound");
                assert_eq!(packet.class, Class::WireGuardData);
                assert_eq!(packet.network.at + UDP_LEN, at);
                assert_eq!(usize::from(packet.payload_len), message.len());
                assert_eq!(Ecn::of_packet(&frame[packet.network.start..]) as u8, 2);
                let (theirs, ours) = match direction {
                    Direction::In => (packet.source_port, packet.destination_port),
                    Direction::Out => (packet.destination_port, packet.source_port),
                };
                assert_eq!((theirs, ours), (7, 51820));
            }
        }
    }

    #[test]
    fn a_message_that_was_cut_says_how_long_it_was() {
        for (peer, longest) in [("192.0.2.1:7", 65_507), ("[2001:db8::1]:7", 65_487)] {
            let link = Link::Socket {
                peer: peer.parse().expect("an address"),
                local: None,
                port: 1,
                tos: 0,
            };
            let headers = headers(&link, Direction::In).expect("there are some");
            for len in [40, 1000, longest, longest + 20, usize::MAX] {
                let mut frame = Vec::new();
                let at = assemble(&mut frame, &headers, &[9; 40], len);
                assert_eq!(frame.len(), at + 40);
                let udp = u16::from_be_bytes([frame[at - 4], frame[at - 3]]);
                assert_eq!(usize::from(udp), 8 + len.min(longest));
            }
        }
    }
}

use super::*;
use crate::cursor::SliceCursor;
use crate::fixtures::{self, World, frames, syn};
use crate::verdict::{Verdict, judge};
use proptest::prelude::*;
use std::collections::HashSet;
use std::vec;
use std::vec::Vec;

fn read(frame: &[u8]) -> Result<Packet, Unreadable> {
    parse(&mut SliceCursor::new(frame))
}

fn judged(frame: &[u8], mut world: World) -> (Class, Verdict) {
    judge(&read(frame), frame.len(), &mut world)
}

#[test]
fn every_fixture_gets_its_class_and_verdict() {
    for fixture in fixtures::all() {
        let expected = (fixture.class, fixture.verdict);
        let got = judged(&fixture.frame, World::with_socket());
        assert_eq!(got, expected, "{}", fixture.name);
        let expected = (fixture.class, fixture.verdict_without_socket());
        let got = judged(&fixture.frame, World::without_socket());
        assert_eq!(got, expected, "{} without socket", fixture.name);
    }
}

#[test]
fn every_class_and_verdict_has_a_fixture_and_every_fixture_its_own_name() {
    let fixtures = fixtures::all();
    let classes: HashSet<_> = fixtures.iter().map(|f| f.class).collect();
    for class in Class::ALL {
        assert!(classes.contains(class), "no fixture for {class:?}");
    }
    let with = fixtures.iter().map(|f| f.verdict);
    let without = fixtures.iter().map(|f| f.verdict_without_socket());
    let steered = fixtures
        .iter()
        .map(|f| f.verdict_steering(crate::steer::Group::Esp));
    let lan = fixtures::lan::all().into_iter().map(|f| f.verdict);
    let forward = fixtures::forward::all().into_iter().map(|f| f.verdict);
    let lan = lan.chain(forward);
    let verdicts: HashSet<_> = with.chain(without).chain(steered).chain(lan).collect();
    for verdict in Verdict::ALL {
        assert!(verdicts.contains(verdict), "no fixture for {verdict:?}");
    }
    let names: HashSet<_> = fixtures.iter().map(|f| &f.name).collect();
    assert_eq!(names.len(), fixtures.len());
    assert!(fixtures.len() >= 150, "{} fixtures", fixtures.len());
}

#[test]
fn addresses_ports_and_length_are_read() {
    let udp = frames::udp_between(0x1234, 51820, &fixtures::message(4, 40));
    let network = Network {
        v4: true,
        source: mapped(frames::PEER4),
        destination: mapped(frames::HOST4),
        part: Part::Whole,
        start: 14,
        hop_limit: 64,
        traffic_class: 0,
        protocol: 17,
        at: 14 + 20,
        len: 48,
    };
    let six = Network {
        v4: false,
        source: frames::PEER6,
        destination: frames::HOST6,
        at: 14 + 40,
        ..network
    };
    for (frame, network) in [
        (frames::over4(17, &udp), network),
        (frames::over6(17, &udp), six),
    ] {
        assert_eq!(
            read(&frame),
            Ok(Packet {
                class: Class::WireGuardData,
                ip: true,
                destination_mac: frames::HOST_MAC,
                network,
                source_port: 0x1234,
                destination_port: 51820,
                syn: false,
                payload_len: 40,
                key: 0xa5a5_a5a5,
            })
        );
    }
}

/// What steering hashes, per class.
#[test]
fn each_class_with_flows_of_its_own_gives_their_key() {
    let keys = |wanted: Class| -> HashSet<u32> {
        let fixtures = fixtures::all().into_iter();
        fixtures
            .filter(|fixture| fixture.class == wanted)
            .filter_map(|fixture| read(&fixture.frame).ok())
            .filter(|packet| packet.network.part == Part::Whole)
            .map(|packet| packet.key)
            .collect()
    };
    assert_eq!(keys(Class::WireGuardData), [0xa5a5_a5a5].into());
    assert_eq!(keys(Class::WireGuardInitiation), [0].into());
    assert_eq!(keys(Class::Esp), [0xc001_0203].into());
    assert_eq!(keys(Class::NatTEsp), [0xc001_0203, 0x100].into());
    // Without a key: no packet inside, or one whose flow is told apart.
    let gre: HashSet<u32> = keys(Class::GreV0);
    assert!(gre.is_superset(&[0, 7].into()), "{gre:?}");
    assert_eq!(keys(Class::GreV1), [9].into());
    assert_eq!(keys(Class::OpenVpnDataV2), [0x0055_5555].into());
    assert_eq!(keys(Class::OpenVpnDataV1), [0].into());
}

/// GRE without a key: what it carries.
mod flows_inside {
    use super::*;
    use crate::ip::{GRE, TCP, UDP};

    /// The key of GRE with these flags around a packet.
    fn key(flags: u8, inner: &[u8]) -> u32 {
        read(&frames::ethernet(
            &[],
            0x0800,
            &syn::gre(false, flags, 0, inner),
        ))
        .unwrap()
        .key
    }

    fn four(protocol: u8, source_port: u8) -> Vec<u8> {
        frames::ipv4(&[], protocol, &[0x12, source_port, 0, 80, 0, 8, 0, 0])
    }

    fn six(protocol: u8, source_port: u8) -> Vec<u8> {
        frames::ipv6(protocol, &[0x12, source_port, 0, 80, 0, 8, 0, 0])
    }

    #[test]
    fn each_has_a_key_and_keeps_it() {
        let mut keys = HashSet::new();
        for packet in [four, six] {
            for protocol in [TCP, UDP] {
                for source_port in 0..200 {
                    let flow = packet(protocol, source_port);
                    let [plain, longer] = [flow.clone(), [flow.clone(), vec![7; 99]].concat()];
                    assert_eq!(key(0, &plain), key(0, &longer));
                    // A checksum, a sequence number, both.
                    for flags in [0x80, 0x10, 0x90] {
                        assert_eq!(key(flags, &plain), key(0, &plain), "{flags:#x}");
                    }
                    keys.insert(key(0, &plain));
                }
            }
        }
        // TCP and UDP between the same ports may share one.
        assert!(keys.len() >= 400, "{}", keys.len());
        assert!(!keys.contains(&0));
    }

    #[test]
    fn options_are_passed_over_and_ports_count_behind_them() {
        let with = |port| {
            let inner = frames::ipv4(&[1; 8], UDP, &[0x12, port, 0, 80, 0, 8, 0, 0]);
            key(0, &inner)
        };
        assert_eq!(with(1), key(0, &four(UDP, 1)));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn a_datagram_stays_together_in_whatever_fragments() {
        let of = |port, word: [u8; 2]| {
            let mut inner = four(UDP, port);
            inner[6..8].copy_from_slice(&word);
            key(0, &inner)
        };
        let (first, later, last) = (of(1, [0x20, 0]), of(7, [0x20, 9]), of(9, [0, 18]));
        assert_eq!([first, later], [last; 2]);
        assert_ne!(first, of(1, [0x40, 0]), "DF is no fragment");
    }

    #[test]
    fn what_has_no_ports_has_its_addresses() {
        const ICMP: u8 = 1;
        assert_eq!(key(0, &four(ICMP, 1)), key(0, &four(ICMP, 2)));
        for at in [12, 19] {
            let mut other = four(ICMP, 1);
            other[at] ^= 1;
            assert_ne!(key(0, &other), key(0, &four(ICMP, 1)), "byte {at}");
        }
        for at in [8, 23, 24, 39] {
            let mut other = six(ICMP, 1);
            other[at] ^= 1;
            assert_ne!(key(0, &other), key(0, &six(ICMP, 1)), "byte {at}");
        }
    }

    #[test]
    fn padding_behind_the_tunnel_is_not_looked_at() {
        // As much of the packet as the tunnel has; the rest stands behind it.
        let cut = |inner: &[u8], len: usize| {
            let packet = syn::gre(false, 0, 0, &inner[..len]);
            let frame = frames::ethernet(&[], 0x0800, &packet);
            let padded = [&frame[..], &inner[len..], &[9; 40]].concat();
            let keys = [read(&frame), read(&padded)].map(|packet| packet.unwrap().key);
            assert_eq!(keys[0], keys[1], "{len} of {} bytes", inner.len());
            keys[0]
        };
        let with_options = frames::ipv4(&[1; 40], UDP, &[0x12, 1, 0, 80, 0, 8, 0, 0]);
        for (inner, header) in [(four(UDP, 1), 20), (with_options, 20), (six(TCP, 1), 40)] {
            let ports = inner.len() - 8;
            for len in 1..=inner.len() {
                let found = cut(&inner, len);
                assert_eq!(found == 0, len < header, "{len}");
                assert_eq!(found == key(0, &inner), len >= ports + 4, "{len}");
            }
        }
    }

    #[test]
    fn what_is_no_packet_has_none_and_a_key_is_taken_first() {
        // Cut off, routed, in a fragment, no IP.
        assert_eq!(key(0, &four(UDP, 1)[..19]), 0);
        assert_eq!(key(0x40, &four(UDP, 1)), 0);
        let mut fragment = syn::gre(false, 0, 0, &four(UDP, 1));
        fragment[6] = 0x20;
        let fragment = read(&frames::ethernet(&[], 0x0800, &fragment)).unwrap();
        assert_eq!((fragment.class, fragment.key), (Class::GreV0, 0));
        let bridged = frames::over4(GRE, &[&[0, 0, 0x65, 0x58][..], &[9; 64]].concat());
        assert_eq!(read(&bridged).unwrap().key, 0);
        assert_eq!(key(0x20, &four(UDP, 1)), 9);
    }
}

#[test]
fn the_receiver_index_is_little_endian() {
    let mut message = fixtures::message(4, 40);
    message[4..8].copy_from_slice(&[1, 2, 3, 4]);
    let frame = frames::over4(17, &frames::udp(&message));
    assert_eq!(read(&frame).unwrap().key, 0x0403_0201);
}

#[test]
fn ethernet_padding_behind_a_short_packet_is_not_payload() {
    let mut frame = frames::over4(17, &frames::udp(&[4, 0]));
    frame.resize(60, 0);
    assert_eq!(
        judged(&frame, World::with_socket()),
        (Class::Udp, Verdict::Other)
    );
    let mut frame = frames::over4(17, &frames::udp(&fixtures::message(4, 32)));
    frame.resize(frame.len() + 20, 0);
    assert_eq!(read(&frame).unwrap().payload_len, 32);
}

#[test]
fn every_truncation_of_every_fixture_is_refused_or_the_same() {
    for fixture in fixtures::all() {
        for len in 0..fixture.frame.len() {
            let got = judged(&fixture.frame[..len], World::with_socket());
            assert!(
                got.0 == Class::Unreadable || got == (fixture.class, fixture.verdict),
                "{} cut to {len}: {got:?}",
                fixture.name
            );
        }
    }
}

#[test]
fn a_frame_whose_first_buffer_ends_early_is_read_as_far_as_it_reaches() {
    struct Short<'a>(SliceCursor<&'a [u8]>, usize);
    impl Cursor for Short<'_> {
        fn frame_len(&self) -> usize {
            self.1
        }
        fn offset(&self) -> usize {
            self.0.offset()
        }
        fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
            self.0.take()
        }
        fn skip(&mut self, n: usize) -> Result<(), Truncated> {
            self.0.skip(n)
        }
    }
    let frame = frames::over4(17, &frames::udp(&fixtures::message(4, 8900)));
    for (reach, class) in [
        (14 + 20 + 8 + 8, Ok(Class::WireGuardData)),
        (14 + 20 + 8 + 7, Err(Unreadable::Truncated)),
        (14 + 20 + 7, Err(Unreadable::Truncated)),
    ] {
        let mut cursor = Short(SliceCursor::new(&frame[..reach]), frame.len());
        assert_eq!(parse(&mut cursor).map(|packet| packet.class), class);
    }
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict_and_the_cursor_stays_inside(frame: Vec<u8>) {
        let mut cursor = SliceCursor::new(&frame);
        let _ = parse(&mut cursor);
        prop_assert!(cursor.offset() <= frame.len());
    }

    #[test]
    fn any_ip_packet_gets_a_verdict(v6: bool, tags in 0usize..4, packet: Vec<u8>) {
        let ethertype = if v6 { 0x86dd } else { 0x0800 };
        let frame = frames::ethernet(&vec![0x8100; tags], ethertype, &packet);
        let mut cursor = SliceCursor::new(&frame);
        let parsed = parse(&mut cursor);
        prop_assert!(cursor.offset() <= frame.len());
        prop_assert_ne!(judge(&parsed, frame.len(), &mut World::with_socket()).1, Verdict::NotIp);
    }

    #[test]
    fn a_datagram_of_any_size_is_found(
        v6: bool,
        ports: (u16, u16),
        payload in proptest::collection::vec(any::<u8>(), 0..1500),
    ) {
        let udp = frames::udp_between(ports.0, ports.1, &payload);
        let frame = if v6 { frames::over6(17, &udp) } else { frames::over4(17, &udp) };
        let found = read(&frame).unwrap();
        prop_assert_eq!(usize::from(found.payload_len), payload.len());
        prop_assert_eq!((found.source_port, found.destination_port), ports);
    }

    /// Only a frame with our hardware address, our address and our port is taken.
    #[test]
    fn nothing_but_ours_is_taken(index in 0usize..1000, at in 0usize..120, bit in 0u8..8) {
        let fixtures = fixtures::all();
        let fixture = &fixtures[index % fixtures.len()];
        let mut frame = fixture.frame.clone();
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= 1 << bit;
        }
        if judged(&frame, World::with_socket()).1 == Verdict::Ours {
            let packet = read(&frame).unwrap();
            prop_assert_eq!(packet.destination_mac, frames::HOST_MAC);
            prop_assert_eq!(packet.destination_port, frames::PORT);
            prop_assert!(
                [mapped(frames::HOST4), frames::HOST6].contains(&packet.network.destination)
            );
            prop_assert_eq!(packet.network.part, Part::Whole);
        }
    }
}

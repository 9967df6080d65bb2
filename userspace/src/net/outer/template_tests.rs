use super::*;
use crate::net::checksum;
use proptest::prelude::*;
use ringtun_common::checksum::Sum;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::ip::{Ipv4, Ipv6, UDP, Udp};
use ringtun_common::packet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A frame taken apart again, by the project's parser and by offset.
struct Parsed<'a> {
    ip: &'a [u8],
    udp: &'a [u8],
    payload: &'a [u8],
}

fn hop(addresses: Addresses, tags: &[Tag]) -> Hop {
    let mut all = Tags::NONE;
    for tag in tags.iter().rev() {
        assert!(all.wrap(*tag));
    }
    Hop {
        ifindex: 7,
        source_mac: Mac([2, 1, 1, 1, 1, 1]),
        next_hop_mac: Mac([2, 2, 2, 2, 2, 2]),
        tags: all,
        addresses,
        mtu: 9100,
        hop_limit: 61,
    }
}

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|[source, destination]| Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        }),
        any::<[[u8; 16]; 2]>().prop_map(|[source, destination]| Addresses::V6 {
            source: source.into(),
            destination: destination.into(),
        }),
    ]
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    let tag = (any::<bool>(), 0u16..4096, 0u8..8).prop_map(|(service, vlan, priority)| Tag {
        service,
        vlan,
        priority,
    });
    proptest::collection::vec(tag, 0..=2)
}

/// Writes the headers in front of `payload`; gives the frame.
fn frame(
    template: &Template,
    outer: Outer,
    payload: &[u8],
    checksum: Checksum,
) -> (Vec<u8>, Option<Offload>) {
    let mut room = vec![0xaa; HEADERS_MAX];
    let offload = template.write(&mut room, outer, checksum).expect("it fits");
    let start = HEADERS_MAX - template.len();
    assert!(
        room[..start].iter().all(|b| *b == 0xaa),
        "written before its place"
    );
    let mut frame = room.split_off(start);
    frame.extend_from_slice(payload);
    (frame, offload)
}

fn parse<'a>(frame: &'a [u8], tags: &[Tag], ports: (u16, u16)) -> Parsed<'a> {
    let packet = packet::parse(&mut SliceCursor::new(frame)).expect("a whole UDP datagram");
    assert_eq!((packet.source_port, packet.destination_port), ports);
    // Nothing is behind it.
    let payload_at = frame.len() - usize::from(packet.payload_len);
    let payload = &frame[payload_at..];
    assert_eq!(frame[..6], [2; 6]);
    assert_eq!(frame[6..12], [2, 1, 1, 1, 1, 1]);
    for (tag, bytes) in tags.iter().zip(frame[12..].chunks(4)) {
        let control = u16::from(tag.priority) << 13 | tag.vlan;
        let protocol = if tag.service { [0x88, 0xa8] } else { [0x81, 0] };
        assert_eq!(bytes[..2], protocol);
        assert_eq!(bytes[2..], control.to_be_bytes());
    }
    Parsed {
        ip: &frame[14 + 4 * tags.len()..payload_at - 8],
        udp: &frame[payload_at - 8..payload_at],
        payload,
    }
}

/// The whole UDP checksum adds up, computed from nothing but the bytes.
fn udp_is_valid(parsed: &Parsed<'_>) -> bool {
    let addresses = if parsed.ip.len() == 20 { 12 } else { 8 };
    let len = (parsed.udp.len() + parsed.payload.len()) as u32;
    let sum = Sum::pseudo_header(&parsed.ip[addresses..], UDP, len)
        + Sum::of(parsed.udp)
        + Sum::of(parsed.payload);
    sum.is_valid()
}

fn check_ip(parsed: &Parsed<'_>, addresses: &Addresses, outer: Outer) {
    let udp_len = 8 + outer.payload_len;
    match addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            let header: &[u8; 20] = parsed.ip.try_into().expect("no options");
            assert!(Sum::of(header).is_valid());
            let ip = Ipv4(header);
            assert_eq!((header[0], ip.protocol(), ip.ttl()), (0x45, 17, 61));
            assert_eq!((ip.tos(), ip.id()), (outer.traffic_class, outer.id));
            assert_eq!(usize::from(ip.total_len()), 20 + udp_len);
            assert_eq!(ip.fragment_word(), 0, "DF is clear");
            assert_eq!(ip.source(), source.octets());
            assert_eq!(ip.destination(), destination.octets());
        }
        Addresses::V6 {
            source,
            destination,
        } => {
            let header: &[u8; 40] = parsed.ip.try_into().expect("no extension headers");
            let ip = Ipv6(header);
            assert_eq!((ip.next_header(), ip.hop_limit()), (17, 61));
            assert_eq!(ip.traffic_class(), outer.traffic_class);
            assert_eq!(usize::from(ip.payload_len()), udp_len);
            assert_eq!(ip.first_word() >> 28, 6);
            assert_ne!(ip.first_word() & 0xf_ffff, 0, "a flow label");
            assert_eq!(ip.source(), source.octets());
            assert_eq!(ip.destination(), destination.octets());
        }
    }
    assert_eq!(
        usize::from(Udp::<&[u8; 8]>(parsed.udp.try_into().unwrap()).len()),
        udp_len
    );
}

proptest! {
    #[test]
    fn what_is_written_is_parsed_again_and_adds_up(
        addresses in addresses(),
        tags in tags(),
        ports in any::<(u16, u16)>(),
        traffic_class in any::<u8>(),
        id in any::<u16>(),
        payload in proptest::collection::vec(any::<u8>(), 0..=9000),
    ) {
        let template = Template::new(&hop(addresses, &tags), ports.0, ports.1);
        prop_assert_eq!(template.ifindex(), 7);
        let outer = Outer { payload_len: payload.len(), traffic_class, id };

        let complete = Checksum::Complete(checksum::sum(&payload));
        let (whole, offload) = frame(&template, outer, &payload, complete);
        prop_assert_eq!(offload, None);
        let parsed = parse(&whole, &tags, ports);
        check_ip(&parsed, &addresses, outer);
        prop_assert!(udp_is_valid(&parsed));
        prop_assert_ne!(&parsed.udp[6..], [0, 0], "zero says that there is none");

        // What the NIC does with a partial one: sums from `start` to the end,
        // field included, and stores the complement.
        let (mut partial, offload) = frame(&template, outer, &payload, Checksum::Partial);
        let offload = offload.expect("for the metadata");
        let (start, offset) = (usize::from(offload.start), usize::from(offload.offset));
        let field = Sum::of(&partial[start..]).finish_nonzero();
        partial[start + offset..start + offset + 2].copy_from_slice(&field);
        prop_assert_eq!(partial, whole);

        if matches!(addresses, Addresses::V4 { .. }) {
            let (zero, offload) = frame(&template, outer, &payload, Checksum::Zero);
            prop_assert_eq!(offload, None);
            let parsed = parse(&zero, &tags, ports);
            check_ip(&parsed, &addresses, outer);
            prop_assert_eq!(&parsed.udp[6..], [0, 0]);
        }
    }
}

const V4: Addresses = Addresses::V4 {
    source: Ipv4Addr::new(192, 0, 2, 1),
    destination: Ipv4Addr::new(192, 0, 2, 2),
};
const V6: Addresses = Addresses::V6 {
    source: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    destination: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
};

#[test]
fn every_length_is_parsed_again_in_every_shape() {
    let data: Vec<u8> = (0..=9000u32).map(|i| (i * 7) as u8).collect();
    let tag = Tag {
        service: true,
        vlan: 9,
        priority: 1,
    };
    for addresses in [V4, V6] {
        for tags in [&[][..], &[tag], &[tag, tag]] {
            let template = Template::new(&hop(addresses, tags), 51820, 4242);
            for len in 0..=9000 {
                let outer = Outer {
                    payload_len: len,
                    ..Outer::default()
                };
                let checksum = Checksum::Complete(checksum::sum(&data[..len]));
                let (frame, _) = frame(&template, outer, &data[..len], checksum);
                let parsed = parse(&frame, tags, (51820, 4242));
                check_ip(&parsed, &addresses, outer);
                assert!(udp_is_valid(&parsed), "{len} bytes");
            }
        }
    }
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_all_ones() {
    for addresses in [V4, V6] {
        let template = Template::new(&hop(addresses, &[]), 51820, 4242);
        let outer = Outer {
            payload_len: 2,
            ..Outer::default()
        };
        let field = |payload: [u8; 2]| {
            let complete = Checksum::Complete(Sum::of(&payload));
            let (frame, _) = frame(&template, outer, &payload, complete);
            let parsed = parse(&frame, &[], (51820, 4242));
            assert!(udp_is_valid(&parsed));
            [parsed.udp[6], parsed.udp[7]]
        };
        // The complement of the rest: together they are all ones.
        let rest = field([0, 0]);
        assert_eq!(field(rest), [0xff, 0xff]);
    }
}

#[test]
fn ipv6_is_not_sent_without_a_checksum() {
    let template = Template::new(&hop(V6, &[]), 1, 2);
    let mut room = [0xaa; HEADERS_MAX];
    let result = template.write(&mut room, Outer::default(), Checksum::Zero);
    assert_eq!(result, Err(Unwritten::ChecksumNeeded));
    assert_eq!(room, [0xaa; HEADERS_MAX], "nothing is written");
}

#[test]
fn what_exceeds_the_path_or_has_no_room_is_refused() {
    for (addresses, headers) in [(V4, 28), (V6, 48)] {
        let mut hop = hop(addresses, &[]);
        for (mtu, max) in [
            (1280, 1280 - headers),
            (headers as u32, 0),
            (0, 0),
            // What a 16-bit length can say.
            (u32::MAX, 65535 - headers),
        ] {
            hop.mtu = mtu;
            let template = Template::new(&hop, 1, 2);
            assert_eq!(template.payload_max(), max);
            let mut room = [0; HEADERS_MAX];
            for (payload_len, fits) in [(max, true), (max + 1, false), (usize::MAX, false)] {
                let outer = Outer {
                    payload_len,
                    ..Outer::default()
                };
                let result = template.write(&mut room, outer, Checksum::Partial);
                let too_long = Unwritten::TooLong {
                    len: payload_len,
                    max,
                };
                assert_eq!(result.err(), (!fits).then_some(too_long));
            }
            let len = template.len();
            let result = template.write(&mut room[1..len], Outer::default(), Checksum::Partial);
            let room = len - 1;
            assert_eq!(result, Err(Unwritten::NoRoom { room, len }));
        }
    }
}

#[test]
fn a_flow_has_one_label_and_another_flow_another() {
    let label = |hop: &Hop, ports: (u16, u16)| {
        let template = Template::new(hop, ports.0, ports.1);
        let (frame, _) = frame(&template, Outer::default(), &[], Checksum::Partial);
        Ipv6::<&[u8; 40]>(frame[14..54].try_into().unwrap()).first_word() & 0xf_ffff
    };
    let hop_a = hop(V6, &[]);
    assert_eq!(label(&hop_a, (1, 2)), label(&hop_a, (1, 2)));
    let mut other_mac = hop_a;
    other_mac.next_hop_mac = Mac([6; 6]);
    assert_eq!(label(&hop_a, (1, 2)), label(&other_mac, (1, 2)));
    let labels: std::collections::HashSet<u32> =
        (0..200).map(|port| label(&hop_a, (51820, port))).collect();
    assert!(labels.len() > 190, "{} labels of 200 flows", labels.len());
}

#[test]
fn a_template_is_shared_by_workers() {
    fn shared<T: Copy + Send + Sync + 'static>() {}
    shared::<Template>();
    assert_eq!(HEADERS_MAX, 70);
}

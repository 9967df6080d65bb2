//! Coalescing: what is cut up again must be what came in, in order.

use super::coalesce::{Coalescer, SEGMENTS_MAX};
use super::packets::{Spec, is_intact};
use super::segment::Segmenter;
use super::vnet::{VNET_LEN, VnetHeader};
use proptest::prelude::*;
use std::collections::HashMap;

/// Everything that a batch becomes: writes, and how many packets are in each.
fn writes(coalescer: &mut Coalescer, packets: &[Vec<u8>]) -> Vec<(Vec<u8>, usize)> {
    let mut all = Vec::new();
    coalescer.run(
        packets.len(),
        |i| &packets[i],
        |merged| {
            let bytes: Vec<u8> = merged
                .slices
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            assert!(bytes.len() <= VNET_LEN + 65_535);
            all.push((bytes, merged.packets));
        },
    );
    all
}

/// What a device without segmentation offload would send of a write.
fn cut(mut write: Vec<u8>) -> Vec<Vec<u8>> {
    let mut segmenter = Segmenter::new(&mut write).expect("our own header");
    let mut out = vec![0; 70_000];
    let mut all = Vec::new();
    while let Some(len) = segmenter.write_next(&mut out) {
        all.push(out[..len].to_vec());
    }
    all
}

/// How many packets each write holds, in order.
fn sizes(packets: &[Vec<u8>]) -> Vec<usize> {
    let mut coalescer = Coalescer::new(256, true);
    writes(&mut coalescer, packets)
        .into_iter()
        .map(|(write, count)| {
            assert_eq!(cut(write).len(), count);
            count
        })
        .collect()
}

/// `count` segments of a bulk transfer.
fn bulk(first: &Spec, count: usize, size: usize) -> Vec<Spec> {
    (0..count)
        .map(|i| Spec {
            id: first.id.wrapping_add(i as u16),
            sequence: first.sequence.wrapping_add((i * size) as u32),
            payload: vec![i as u8; size],
            ..first.clone()
        })
        .collect()
}

fn build(specs: &[Spec]) -> Vec<Vec<u8>> {
    specs.iter().map(Spec::build).collect()
}

fn timestamps() -> Vec<u8> {
    vec![1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9]
}

#[test]
fn a_bulk_transfer_becomes_one_write_of_each_kind() {
    for (v6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let options = if udp { Vec::new() } else { timestamps() };
        let first = Spec {
            v6,
            udp,
            options,
            ..Spec::default()
        };
        let packets = build(&bulk(&first, 40, 1368));
        let mut coalescer = Coalescer::new(64, true);
        let all = writes(&mut coalescer, &packets);
        assert_eq!(all.len(), 1, "IPv6 {v6}, UDP {udp}");
        assert_eq!(cut(all[0].0.clone()), packets);
        let header = VnetHeader::parse(all[0].0.first_chunk().expect("header")).expect("known");
        assert_eq!(usize::from(header.hdr_len), first.header_len());
        assert_eq!(header.gso_size, 1368);
    }
}

#[test]
fn a_super_packet_never_exceeds_64_segments_or_64_kib() {
    let first = Spec::default();
    assert_eq!(
        sizes(&build(&bulk(&first, 130, 100))),
        [SEGMENTS_MAX, SEGMENTS_MAX, 2]
    );
    // 47 × 1380 + 40 = 64,900; one more would be 66,280.
    assert_eq!(sizes(&build(&bulk(&first, 50, 1380))), [47, 3]);
}

#[test]
fn udp_is_left_alone_where_the_device_takes_no_super_packets_of_it() {
    let first = Spec {
        udp: true,
        ..Spec::default()
    };
    let packets = build(&bulk(&first, 5, 1000));
    let all = writes(&mut Coalescer::new(8, false), &packets);
    assert_eq!(all.len(), 5);
}

/// Each change to the third of five packets, and what it does to the merging.
#[test]
fn a_packet_that_breaks_a_rule_is_not_merged() {
    type Change = fn(&mut Spec);
    let tcp: &[(&str, Change, &[usize])] = &[
        ("nothing", |_| {}, &[5]),
        (
            "a shorter one ends it",
            |p| p.payload.truncate(500),
            &[3, 2],
        ),
        ("PSH ends it", |p| p.flags |= 0x08, &[3, 2]),
        ("FIN ends it", |p| p.flags |= 0x01, &[3, 2]),
        (
            "a longer one begins the next",
            |p| p.payload.push(1),
            &[2, 2, 1],
        ),
        ("no payload", |p| p.payload.clear(), &[2, 1, 2]),
        ("SYN", |p| p.flags |= 0x02, &[2, 1, 2]),
        ("RST", |p| p.flags |= 0x04, &[2, 1, 2]),
        ("URG", |p| p.flags |= 0x20, &[2, 1, 2]),
        ("ECE", |p| p.flags |= 0x40, &[2, 1, 2]),
        ("CWR", |p| p.flags |= 0x80, &[2, 3]),
        ("a gap", |p| p.sequence += 1, &[2, 1, 2]),
        (
            "another acknowledgment",
            |p| p.acknowledgment += 1,
            &[2, 1, 2],
        ),
        ("another window", |p| p.window += 1, &[2, 1, 2]),
        ("an urgent pointer", |p| p.urgent = 1, &[2, 1, 2]),
        ("another timestamp", |p| p.options[7] += 1, &[2, 1, 2]),
        ("fewer options", |p| p.options.clear(), &[2, 1, 2]),
        ("another TTL", |p| p.ttl -= 1, &[2, 1, 2]),
        ("a congestion mark", |p| p.tos = 3, &[2, 1, 2]),
    ];
    for (name, change, expected) in tcp {
        for v6 in [false, true] {
            let first = Spec {
                v6,
                options: timestamps(),
                ..Spec::default()
            };
            let mut specs = bulk(&first, 5, 1000);
            change(&mut specs[2]);
            // A shorter or longer one shifts what follows, so that only the
            // named rule is broken.
            let mut sequence = specs[2].sequence + specs[2].payload.len() as u32;
            if *name != "a gap" {
                for spec in &mut specs[3..] {
                    spec.sequence = sequence;
                    sequence += 1000;
                }
            }
            assert_eq!(sizes(&build(&specs)), *expected, "{name}, IPv6 {v6}");
        }
    }
}

#[test]
fn ipv4_identification_counts_up_or_with_df_stands_still() {
    let with_ids = |df: bool, ids: [u16; 4]| {
        let first = Spec {
            df,
            ..Spec::default()
        };
        let mut specs = bulk(&first, 4, 1000);
        for (spec, id) in specs.iter_mut().zip(ids) {
            spec.id = id;
        }
        sizes(&build(&specs))
    };
    for df in [false, true] {
        assert_eq!(with_ids(df, [7, 8, 9, 10]), [4]);
        assert_eq!(with_ids(df, [0xfffe, 0xffff, 0, 1]), [4]);
        assert_eq!(with_ids(df, [7, 8, 10, 11]), [2, 2]);
    }
    assert_eq!(with_ids(true, [0, 0, 0, 0]), [4]);
    assert_eq!(with_ids(true, [5, 5, 6, 7]), [2, 2]);
    assert_eq!(with_ids(false, [0, 0, 0, 0]), [1, 1, 1, 1]);
}

#[test]
fn a_wrong_checksum_is_passed_on_as_it_came() {
    // In the IPv4 header, in the TCP header, in the payload.
    for at in [10, 20 + 16, 20 + 20 + 12 + 999] {
        for bad in 0..4 {
            let first = Spec {
                options: timestamps(),
                ..Spec::default()
            };
            let mut packets = build(&bulk(&first, 4, 1000));
            packets[bad][at] ^= 0x10;
            let all = writes(&mut Coalescer::new(8, true), &packets);
            let out: Vec<Vec<u8>> = all
                .iter()
                .flat_map(|(write, _)| cut(write.clone()))
                .collect();
            assert_eq!(out, packets, "byte {at} of packet {bad}");
            let alone = all
                .iter()
                .find(|(write, _)| write[VNET_LEN..] == packets[bad]);
            let (write, count) = alone.expect("the bad packet goes by itself");
            assert_eq!((*count, &write[..VNET_LEN]), (1, &[0; VNET_LEN][..]));
        }
    }
}

#[test]
fn a_udp_datagram_without_checksum_or_with_a_wrong_length_is_not_merged() {
    let first = Spec {
        udp: true,
        ..Spec::default()
    };
    let mut packets = build(&bulk(&first, 4, 1000));
    packets[1][26..28].fill(0);
    assert_eq!(sizes(&packets), [1, 1, 2]);
    let mut packets = build(&bulk(&first, 4, 1000));
    packets[1][25] -= 1;
    assert_eq!(sizes(&packets), [1, 1, 2]);
}

#[test]
fn interleaved_flows_are_merged_each_by_itself() {
    let flows: Vec<Vec<Spec>> = (0..8)
        .map(|port| {
            let first = Spec {
                port,
                v6: port % 2 == 0,
                ..Spec::default()
            };
            bulk(&first, 8, 1000)
        })
        .collect();
    let packets: Vec<Vec<u8>> = (0..8)
        .flat_map(|i| flows.iter().map(move |flow| flow[i].build()))
        .collect();
    assert_eq!(sizes(&packets), [8; 8]);
}

#[test]
fn a_fragment_ends_every_super_packet_and_icmp_none() {
    let specs = bulk(&Spec::default(), 4, 1000);
    let mut packets = build(&specs);
    let mut fragment = specs[0].build();
    fragment[6] = 0x20;
    packets.insert(2, fragment);
    assert_eq!(sizes(&packets), [2, 1, 2]);
    let mut icmp = specs[0].build();
    icmp[9] = 1;
    packets[2] = icmp;
    assert_eq!(sizes(&packets), [4, 1]);
}

#[test]
fn a_coalescer_remembers_nothing_of_the_batch_before() {
    let packets = build(&bulk(&Spec::default(), 4, 1000));
    let mut coalescer = Coalescer::new(4, true);
    for _ in 0..3 {
        assert_eq!(writes(&mut coalescer, &packets[..2]).len(), 1);
        assert_eq!(writes(&mut coalescer, &packets[2..]).len(), 1);
    }
    assert_eq!(writes(&mut coalescer, &[]), []);
}

/// One step of a traffic mix: which flow, and what is odd about its next packet.
#[derive(Clone, Debug)]
struct Step {
    flow: u16,
    len: usize,
    oddity: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![6 => Just(700usize), 1 => 0usize..900];
    let step = (0u16..6, len, 0u8..40).prop_map(|(flow, len, oddity)| Step { flow, len, oddity });
    proptest::collection::vec(step, 0..120)
}

/// The packets of a traffic mix: each flow counts on as a sender would.
fn traffic(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut flows: HashMap<u16, Spec> = HashMap::new();
    let mut packets = Vec::new();
    for step in steps {
        let next = flows.entry(step.flow).or_insert_with(|| Spec {
            port: step.flow,
            v6: step.flow % 2 == 1,
            udp: step.flow >= 4,
            sequence: u32::MAX - 2000,
            id: u16::MAX - 2,
            options: if step.flow >= 4 {
                Vec::new()
            } else {
                timestamps()
            },
            ..Spec::default()
        });
        let mut spec = Spec {
            payload: (0..step.len)
                .map(|i| (i * 7 + usize::from(next.id)) as u8)
                .collect(),
            ..next.clone()
        };
        let mut damage = None;
        match step.oddity {
            0 => spec.flags |= 0x08,
            1 => spec.flags |= 0x01,
            2 => spec.flags = 0x02,
            3 => spec.flags |= 0x80,
            4 => spec.sequence = spec.sequence.wrapping_add(1),
            5 => spec.tos = 3,
            6 => spec.ttl = 3,
            7 => spec.acknowledgment = 77,
            8 => damage = Some(12),
            9 => damage = Some(spec.header_len() + step.len / 2),
            10 => damage = Some(6),
            11 => damage = Some(0),
            _ => {}
        }
        next.sequence = next.sequence.wrapping_add(step.len as u32);
        next.id = next.id.wrapping_add(1);
        let mut packet = spec.build();
        if let Some(byte) = damage.and_then(|at| packet.get_mut(at)) {
            *byte ^= 0x21;
        }
        packets.push(packet);
    }
    packets
}

/// Addresses and ports, as far as there are any: what must stay in order.
///
/// Damage can make a short IPv4 packet say that it is IPv6: then it is shorter
/// than the header that it names.
fn flow_of(packet: &[u8]) -> Vec<u8> {
    let (protocol, addresses_and_ports) = match packet[0] >> 4 {
        4 => (9, 12..24),
        6 => (6, 8..44),
        _ => return Vec::new(),
    };
    match packet.get(addresses_and_ports) {
        Some(rest) => [&packet[protocol..=protocol], rest].concat(),
        None => packet.to_vec(),
    }
}

proptest! {
    #[test]
    fn cutting_up_what_was_merged_gives_back_every_packet_in_order(steps in steps()) {
        let packets = traffic(&steps);
        let mut coalescer = Coalescer::new(128, true);
        let all = writes(&mut coalescer, &packets);
        prop_assert_eq!(all.iter().map(|(_, count)| count).sum::<usize>(), packets.len());
        let mut out = Vec::new();
        for (write, count) in all {
            if count == 1 {
                prop_assert_eq!(&write[..VNET_LEN], &[0; VNET_LEN]);
                out.push(write[VNET_LEN..].to_vec());
                continue;
            }
            let cut = cut(write);
            prop_assert_eq!(cut.len(), count);
            for packet in &cut {
                prop_assert!(is_intact(packet));
            }
            out.extend(cut);
        }
        let by_flow = |packets: Vec<Vec<u8>>| {
            let mut flows: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
            for packet in packets {
                flows.entry(flow_of(&packet)).or_default().push(packet);
            }
            flows
        };
        prop_assert_eq!(by_flow(out), by_flow(packets));
    }

    #[test]
    fn random_bytes_pass_through(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..120), 0..50),
    ) {
        let all = writes(&mut Coalescer::new(64, true), &packets);
        let out: Vec<Vec<u8>> = all.into_iter().map(|(write, _)| write[VNET_LEN..].to_vec()).collect();
        prop_assert_eq!(out, packets);
    }
}

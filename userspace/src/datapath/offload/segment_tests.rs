//! Segmentation against packets made and summed the slow way.

use super::packets::{Spec, is_intact};
use super::segment::Segmenter;
use super::vnet::{Gso, VNET_LEN, VnetHeader};
use crate::drops::DropReason;
use proptest::prelude::*;

fn spec() -> impl Strategy<Value = Spec> {
    let fields = (
        any::<[bool; 3]>(),
        any::<u8>(),
        any::<(u16, u16, u32, u32, u16, u16)>(),
        any::<u8>(),
        proptest::collection::vec(any::<u8>(), 0..=10),
        proptest::collection::vec(any::<u8>(), 1..9000),
    );
    fields.prop_map(
        |(
            [v6, udp, df],
            tos,
            (port, id, sequence, acknowledgment, window, urgent),
            flags,
            options,
            payload,
        )| Spec {
            v6,
            udp,
            df,
            tos,
            port,
            id,
            sequence,
            acknowledgment,
            window,
            urgent,
            flags,
            options: options.repeat(4),
            payload,
            ..Spec::default()
        },
    )
}

fn kind(spec: &Spec) -> Gso {
    match (spec.udp, spec.v6) {
        (true, _) => Gso::Udp,
        (false, false) => Gso::Tcp4,
        (false, true) => Gso::Tcp6,
    }
}

/// What the TUN device would hand over.
fn super_packet(spec: &Spec, size: u16) -> Vec<u8> {
    let header = VnetHeader {
        needs_csum: true,
        gso: Some(kind(spec)),
        ecn: false,
        // Only a hint, and wrong for forwarded packets: must not be used.
        hdr_len: 3,
        gso_size: size,
        csum_start: spec.transport_offset() as u16,
        csum_offset: if spec.udp { 6 } else { 16 },
    };
    let mut read = header.to_bytes().to_vec();
    read.extend(spec.build_partial());
    read
}

fn segments(read: &mut [u8]) -> Result<Vec<Vec<u8>>, DropReason> {
    let mut segmenter = Segmenter::new(read)?;
    let mut all = Vec::new();
    let mut out = vec![0xaa; 70_000];
    let expected = segmenter.remaining();
    while let Some(len) = segmenter.next_len() {
        assert_eq!(segmenter.remaining(), expected - all.len());
        assert_eq!(segmenter.write_next(&mut out[..len]), Some(len));
        all.push(out[..len].to_vec());
    }
    assert_eq!(segmenter.write_next(&mut out), None);
    assert_eq!(all.len(), expected);
    Ok(all)
}

/// The packets that the sender would have sent by itself.
fn expected(spec: &Spec, size: u16) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = spec.payload.chunks(size.into()).collect();
    let mut offset = 0;
    let mut packets = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut flags = spec.flags;
        if i + 1 < chunks.len() {
            flags &= !0x09; // FIN, PSH
        }
        if i > 0 {
            flags &= !0x80; // CWR
        }
        let packet = Spec {
            id: spec.id.wrapping_add(i as u16),
            sequence: spec.sequence.wrapping_add(offset),
            flags,
            payload: chunk.to_vec(),
            ..spec.clone()
        };
        offset += chunk.len() as u32;
        packets.push(packet.build());
    }
    packets
}

proptest! {
    #[test]
    fn a_super_packet_becomes_what_its_sender_would_have_sent(
        spec in spec(),
        size in 1u16..3000,
    ) {
        let all = segments(&mut super_packet(&spec, size)).expect("well-formed");
        for packet in &all {
            prop_assert!(is_intact(packet));
        }
        prop_assert_eq!(all, expected(&spec, size));
    }

    #[test]
    fn a_partial_checksum_of_a_single_packet_is_completed(spec in spec()) {
        let header = VnetHeader {
            needs_csum: true,
            csum_start: spec.transport_offset() as u16,
            csum_offset: if spec.udp { 6 } else { 16 },
            ..VnetHeader::default()
        };
        let mut read = header.to_bytes().to_vec();
        read.extend(spec.build_partial());
        let segmenter = Segmenter::new(&mut read).expect("well-formed");
        prop_assert!(segmenter.is_single());
        prop_assert!(is_intact(segmenter.packet()));
    }

    #[test]
    fn a_plain_packet_is_left_as_it_is(spec in spec()) {
        let packet = spec.build();
        let mut read = vec![0; VNET_LEN];
        read.extend(&packet);
        prop_assert_eq!(segments(&mut read).expect("well-formed"), vec![packet]);
    }

    #[test]
    fn nothing_makes_it_panic(
        spec in spec(),
        header: [u8; VNET_LEN],
        size in 1u16..3000,
        damage in proptest::collection::vec((0usize..120, any::<u8>()), 0..6),
        cut in proptest::option::of(0usize..200),
        keep_header: bool,
    ) {
        let mut read = super_packet(&spec, size);
        if !keep_header {
            read[..VNET_LEN].copy_from_slice(&header);
            // Half of the time a kind that is understood.
            read[1] %= 8;
        }
        for (at, value) in damage {
            if let Some(byte) = read.get_mut(at) {
                *byte = value;
            }
        }
        read.truncate(cut.unwrap_or(read.len()));
        let len = read.len();
        if let Ok(all) = segments(&mut read) {
            prop_assert!(!all.is_empty() && all.len() <= len);
        }
    }

    #[test]
    fn random_bytes_do_not_either(mut read in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = segments(&mut read);
    }
}

#[test]
fn a_vnet_header_that_contradicts_its_packet_is_refused() {
    let tcp = Spec {
        payload: vec![1; 5000],
        ..Spec::default()
    };
    let read = super_packet(&tcp, 1000);
    assert_eq!(segments(&mut read.clone()).expect("well-formed").len(), 5);
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut case = |name, at: usize, word: u16| {
        let mut read = read.clone();
        read[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        cases.push((name, read));
    };
    case("a segment size of zero", 4, 0);
    case("a checksum start before the transport header", 6, 0);
    case("a checksum start inside of it", 6, 24);
    case("a checksum start past the end", 6, 60_000);
    case("a checksum offset that is not TCP's", 8, 6);
    let mut byte = |name, at: usize, value: u8| {
        let mut read = read.clone();
        read[at] = value;
        cases.push((name, read));
    };
    byte("no partial checksum", 0, 0);
    byte("TCP over IPv6", 1, 4);
    byte("UDP", 1, 5);
    byte("UDP fragmentation", 1, 3);
    byte("an unknown kind", 1, 9);
    byte("IP version 5", VNET_LEN, 0x55);
    byte("an IPv4 header of 16 bytes", VNET_LEN, 0x44);
    byte("a fragment", VNET_LEN + 6, 0x20);
    byte("protocol UDP", VNET_LEN + 9, 17);
    byte("a TCP header of 16 bytes", VNET_LEN + 32, 0x40);
    for len in 0..VNET_LEN + 40 {
        cases.push(("cut short", read[..len].to_vec()));
    }
    cases.push(("headers only", read[..VNET_LEN + 40].to_vec()));
    for (name, mut read) in cases {
        let result = segments(&mut read);
        assert_eq!(result, Err(DropReason::OutboundMalformed), "{name}");
    }
}

#[test]
fn a_single_packet_shorter_than_it_says_is_refused() {
    for v6 in [false, true] {
        let spec = Spec {
            v6,
            payload: vec![1; 100],
            ..Spec::default()
        };
        let mut read = vec![0; VNET_LEN];
        read.extend(spec.build());
        for len in 0..read.len() {
            let result = segments(&mut read.clone()[..len]);
            assert_eq!(result, Err(DropReason::OutboundMalformed), "{len} bytes");
        }
        assert!(segments(&mut read).is_ok());
    }
}

#[test]
fn a_checksum_start_inside_the_ip_header_cannot_change_what_was_checked() {
    let packet = Spec {
        payload: vec![1; 100],
        ..Spec::default()
    }
    .build();
    for start in 0..20 {
        let header = VnetHeader {
            needs_csum: true,
            csum_start: start,
            csum_offset: 2,
            ..VnetHeader::default()
        };
        let mut read = header.to_bytes().to_vec();
        read.extend(&packet);
        assert_eq!(segments(&mut read), Err(DropReason::OutboundMalformed));
    }
}

#[test]
fn a_buffer_that_is_too_short_takes_nothing() {
    let spec = Spec {
        payload: vec![1; 3000],
        ..Spec::default()
    };
    let mut read = super_packet(&spec, 1000);
    let mut segmenter = Segmenter::new(&mut read).expect("well-formed");
    assert_eq!(segmenter.write_next(&mut [0; 1039]), None);
    assert_eq!(segmenter.remaining(), 3);
    assert_eq!(segmenter.write_next(&mut [0; 1040]), Some(1040));
    assert_eq!(segmenter.remaining(), 2);
}

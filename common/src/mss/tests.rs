use super::*;
use crate::fixtures::syn::{Checksum, Syn, gre, option, pseudo_header};
use crate::ip::TCP_ACK;
use crate::packet::MAX_EXTENSION_HEADERS;
use proptest::prelude::*;

const KIND_NOP: u8 = 1;
const LIMITS: Limits = Limits::of_mtu(1420);

fn limit(v6: bool) -> u16 {
    if v6 { 1360 } else { 1380 }
}

/// Whether the checksum of a segment right behind the fixed header is right.
fn is_intact(packet: &[u8], v6: bool) -> bool {
    let at = if v6 { IPV6_LEN } else { IPV4_LEN };
    (pseudo_header(packet, packet.len() - at) + Sum::of(&packet[at..])).is_valid()
}

/// Where the MSS options of a TCP header are, and what they say, as a receiver
/// reads them: the slow oracle.
fn mss_options(header: &[u8]) -> Vec<(usize, u16)> {
    let mut found = Vec::new();
    let mut at = TCP_LEN;
    while let [kind, rest @ ..] = &header[at..] {
        let len = match (*kind, rest.first()) {
            (0, _) => break,
            (KIND_NOP, _) => 1,
            (_, Some(len @ 2..)) if usize::from(*len) <= header.len() - at => usize::from(*len),
            _ => break,
        };
        if (*kind, len) == (2, 4) {
            found.push((at, u16::from_be_bytes([rest[1], rest[2]])));
        }
        at += len;
    }
    found
}

#[test]
fn the_limit_is_the_mtu_without_the_headers() {
    assert_eq!(Limits::of_mtu(1420), Limits { v4: 1380, v6: 1360 });
    assert_eq!(Limits::of_mtu(1280), Limits { v4: 1240, v6: 1220 });
    assert_eq!(Limits::of_mtu(0), Limits::fixed(MSS_MIN));
    assert_eq!(Limits::fixed(1), Limits::fixed(88));
    assert_eq!(Limits::of_mtu(70_000), Limits::fixed(u16::MAX));
}

#[test]
fn the_option_is_lowered_at_every_offset_that_can_hold_it() {
    for v6 in [false, true] {
        for offset in 0..=36 {
            for flags in [TCP_SYN, TCP_SYN | TCP_ACK] {
                let mut syn = Syn::with_mss_at(v6, offset, 1460);
                syn.flags = flags;
                let before = syn.packet();
                let mut packet = before.clone();
                let name = format!("offset {offset}, IPv6 {v6}");
                assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered, "{name}");
                assert!(is_intact(&packet, v6), "{name}");
                let at = syn.options_at() + offset;
                assert_eq!(packet[at..at + 4], option(limit(v6)), "{name}");
                // Nothing else changed but the checksum.
                let tcp = syn.options_at() - TCP_LEN;
                packet[at..at + 4].copy_from_slice(&option(1460));
                packet[tcp + 16..tcp + 18].copy_from_slice(&before[tcp + 16..tcp + 18]);
                assert_eq!(packet, before, "{name}");
            }
        }
        for offset in 37..40 {
            let syn = Syn::with_mss_at(v6, offset, 1460);
            left_alone(&syn.packet(), Outcome::Fits, "offset past 36");
        }
    }
}

#[track_caller]
fn left_alone(packet: &[u8], expected: Outcome, name: &str) {
    let mut after = packet.to_vec();
    assert_eq!(clamp(&mut after, &LIMITS), expected, "{name}");
    assert_eq!(after, packet, "{name}");
}

#[test]
fn what_fits_is_left_alone() {
    for v6 in [false, true] {
        let limit = limit(v6);
        for mss in [0, 1, 536, limit - 1, limit] {
            let packet = Syn::new(v6, &option(mss)).packet();
            left_alone(&packet, Outcome::Fits, &format!("MSS {mss}"));
        }
        let mut packet = Syn::new(v6, &option(limit + 1)).packet();
        assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
        left_alone(&packet, Outcome::Fits, "clamped before");
        left_alone(&Syn::new(v6, &[]).packet(), Outcome::Fits, "no options");
        let others = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 3, 3, 7, 1];
        left_alone(&Syn::new(v6, &others).packet(), Outcome::Fits, "no MSS");
    }
}

#[test]
fn options_that_cannot_be_are_left_alone() {
    let mss = option(1460);
    let cases: [(&str, Vec<u8>); 7] = [
        ("MSS of three bytes", vec![2, 3, 0x5, 1]),
        ("MSS of five bytes", vec![2, 5, 0x5, 0xb4, 0, 1, 1, 1]),
        ("MSS of no length", vec![2, 0, 0x5, 0xb4]),
        ("MSS past the header", vec![1, 2, 4, 0x5]),
        ("behind the end", [&[0, 0, 0, 0][..], &mss].concat()),
        ("behind a length of 1", [&[3, 1, 1, 1][..], &mss].concat()),
        (
            "behind a length of 255",
            [&[3, 255, 1, 1][..], &mss].concat(),
        ),
    ];
    for (name, options) in cases {
        for v6 in [false, true] {
            left_alone(&Syn::new(v6, &options).packet(), Outcome::Fits, name);
        }
    }
    let behind = [&[3, 3, 7, 1, 4, 2, 1, 1][..], &mss].concat();
    let mut packet = Syn::new(false, &behind).packet();
    assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
    let twice = [mss, mss].concat();
    let mut packet = Syn::new(true, &twice).packet();
    assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
    assert_eq!(packet[HEADERS_V6..], [option(1360), option(1360)].concat());
    assert!(is_intact(&packet, true));
}

#[test]
fn only_a_whole_syn_is_looked_at() {
    for v6 in [false, true] {
        let with_flags = |flags| {
            let mut syn = Syn::new(v6, &option(1460));
            syn.flags = flags;
            syn.packet()
        };
        left_alone(&with_flags(TCP_ACK), Outcome::NotSyn, "ACK");
        left_alone(&with_flags(0), Outcome::NotSyn, "no flags");
        let whole = with_flags(TCP_SYN);
        for len in 0..whole.len() {
            left_alone(&whole[..len], Outcome::NotSyn, &format!("cut to {len}"));
        }
        let mut long = whole.clone();
        let at = Syn::new(v6, &[]).options_at() - TCP_LEN;
        long[at + 12] = 0x70;
        left_alone(&long, Outcome::NotSyn, "data offset past the segment");
        long[at + 12] = 0x40;
        left_alone(&long, Outcome::NotSyn, "data offset of 16 bytes");
        let mut padded = whole.clone();
        padded.extend([0; 12]);
        assert_eq!(clamp(&mut padded, &LIMITS), Outcome::Lowered);
        assert!(is_intact(&padded[..whole.len()], v6));
    }
    let mut fragment = Syn::new(false, &option(1460)).packet();
    fragment[6] = 0x20;
    left_alone(&fragment, Outcome::NotSyn, "a first fragment");
    fragment[6..8].copy_from_slice(&[0, 1]);
    left_alone(&fragment, Outcome::NotSyn, "a later fragment");
    let mut datagram = Syn::new(false, &option(1460)).packet();
    datagram[9] = 17;
    left_alone(&datagram, Outcome::NotSyn, "UDP");
}

#[test]
fn ip_options_and_extension_headers_are_passed_over() {
    for (v6, between) in [
        (false, vec![1; 40]),
        (true, vec![0]),
        (true, vec![0, 60, 43, 60]),
        (true, vec![60; MAX_EXTENSION_HEADERS]),
    ] {
        let mut syn = Syn::new(v6, &option(1460));
        syn.between = between.clone();
        let mut packet = syn.packet();
        let len = packet.len();
        assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered, "{between:?}");
        assert_eq!(packet[len - 4..], option(limit(v6)));
        let tcp = len - TCP_LEN - 4;
        let sum = pseudo_header(&packet, len - tcp) + Sum::of(&packet[tcp..]);
        assert!(sum.is_valid());
    }
    let mut deep = Syn::new(true, &option(1460));
    deep.between = vec![60; MAX_EXTENSION_HEADERS + 1];
    left_alone(&deep.packet(), Outcome::NotSyn, "too deep");
}

#[test]
fn a_partial_checksum_stays_and_a_wrong_one_keeps_the_packet_as_it_is() {
    for v6 in [false, true] {
        let mut syn = Syn::new(v6, &option(1460));
        syn.payload = b"data in a SYN".to_vec();
        syn.checksum = Checksum::Partial;
        let mut packet = syn.packet();
        let (at, tcp) = (syn.options_at(), syn.options_at() - TCP_LEN);
        let partial = packet[tcp + 16..tcp + 18].to_vec();
        assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
        assert_eq!(packet[at..at + 4], option(limit(v6)));
        assert_eq!(packet[tcp + 16..tcp + 18], partial);

        syn.checksum = Checksum::Valid;
        for byte in [tcp + 4, tcp + 16, packet.len() - 1] {
            let mut wrong = syn.packet();
            wrong[byte] ^= 0x40;
            left_alone(&wrong, Outcome::BadChecksum, &format!("byte {byte}"));
        }
        // How much is summed up has a bound.
        for (len, expected) in [
            (PAYLOAD_MAX, Outcome::Lowered),
            (PAYLOAD_MAX - 1, Outcome::Lowered),
            (PAYLOAD_MAX + 1, Outcome::OutOfReach),
        ] {
            syn.payload = vec![0xa7; len];
            let before = syn.packet();
            let mut packet = before.clone();
            assert_eq!(clamp(&mut packet, &LIMITS), expected, "{len} bytes");
            assert!(is_intact(&packet, v6), "{len} bytes");
            assert_eq!(packet != before, expected == Outcome::Lowered);
        }
        // Whether the checksum is right is not asked if nothing is to be changed.
        let mut wrong = Syn::new(v6, &option(536)).packet();
        wrong[tcp + 16] ^= 1;
        left_alone(&wrong, Outcome::Fits, "low enough");
    }
}

#[test]
fn inside_gre_there_is_less_room() {
    for (v6_outside, outside) in [(false, 20), (true, 40)] {
        for v6 in [false, true] {
            let syn = Syn::new(v6, &option(1460));
            let inner = syn.packet();
            for (flags, header) in [(0, 4), (0x20, 8), (0x10, 8), (0x30, 12)] {
                let mut packet = gre(v6_outside, flags, 0, &inner);
                let before = packet.clone();
                assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
                let at = packet.len() - inner.len();
                assert_eq!(packet[..at], before[..at]);
                assert!(is_intact(&packet[at..], v6));
                let expected = limit(v6) - outside - header;
                assert_eq!(packet[packet.len() - 4..], option(expected));
            }
            for (flags, version, name) in [
                (0x80, 0, "a checksum over it all"),
                (0x40, 0, "routing"),
                (0x20, 1, "PPTP"),
            ] {
                let packet = gre(v6_outside, flags, version, &inner);
                left_alone(&packet, Outcome::NotSyn, name);
            }
            let whole = gre(v6_outside, 0x30, 0, &inner);
            for len in 0..whole.len() {
                left_alone(&whole[..len], Outcome::NotSyn, "cut short");
            }
        }
    }
    let nested = gre(false, 0, 0, &gre(false, 0, 0, &[0; 40]));
    left_alone(&nested, Outcome::NotSyn, "GRE in GRE");
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_keep_their_length(mut packet: Vec<u8>, version in 0u8..16) {
        if let Some(first) = packet.first_mut() {
            *first = *first & 0x0f | version << 4;
        }
        let len = packet.len();
        clamp(&mut packet, &LIMITS);
        prop_assert_eq!(packet.len(), len);
    }

    /// Whatever the options are: the checksum is right afterwards, no option that
    /// is read as MSS is above the limit, and nothing else was touched.
    #[test]
    fn any_options_are_read_as_a_receiver_reads_them(
        v6: bool,
        words in proptest::collection::vec(any::<[u8; 4]>(), 0..10),
        at in proptest::option::of(0usize..37),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        limit in 88u16..2000,
    ) {
        let mut syn = Syn::new(v6, &words.concat());
        if let Some(place) = at.and_then(|at| syn.options.get_mut(at..at + 4)) {
            place.copy_from_slice(&option(1460));
        }
        syn.payload = payload;
        let before = syn.packet();
        let mut packet = before.clone();
        clamp(&mut packet, &Limits::fixed(limit));
        prop_assert!(is_intact(&packet, v6));
        let header = syn.options_at() + syn.options.len();
        let tcp = syn.options_at() - TCP_LEN;
        let mut changed: Vec<usize> = (0..packet.len()).filter(|i| packet[*i] != before[*i]).collect();
        for (at, mss) in mss_options(&packet[tcp..header]) {
            prop_assert!(mss <= limit || mss == 0);
            changed.retain(|i| !(tcp + at + 2..tcp + at + 4).contains(i));
        }
        changed.retain(|i| !(tcp + 16..tcp + 18).contains(i));
        prop_assert!(changed.is_empty(), "{changed:?}");
    }
}

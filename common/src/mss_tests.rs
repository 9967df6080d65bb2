use super::*;
use crate::fixtures::frames;
use crate::ip::TCP_ACK;
use proptest::prelude::*;

const LIMITS: Limits = Limits::of_mtu(1420);

/// A TCP segment with a right checksum in an IP packet.
#[derive(Clone, Debug)]
struct Syn {
    v6: bool,
    flags: u8,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Syn {
    fn new(v6: bool, options: &[u8]) -> Self {
        Self {
            v6,
            flags: TCP_SYN,
            options: options.to_vec(),
            payload: Vec::new(),
        }
    }

    fn segment(&self) -> Vec<u8> {
        assert_eq!(self.options.len() % 4, 0);
        let mut segment = frames::tcp_between(40000, 443, &[]);
        segment[12] = ((TCP_LEN + self.options.len()) << 2) as u8;
        segment[13] = self.flags;
        segment.extend(&self.options);
        segment.extend(&self.payload);
        segment
    }

    /// The packet around a segment whose checksum is then made right.
    fn packet(&self) -> Vec<u8> {
        self.around(&self.segment(), &[])
    }

    fn around(&self, segment: &[u8], ip_options: &[u8]) -> Vec<u8> {
        let mut packet = if self.v6 {
            let extensions: Vec<_> = ip_options.iter().map(|kind| (*kind, 2)).collect();
            frames::behind(&extensions, TCP, segment)
        } else {
            frames::ipv4(ip_options, TCP, segment)
        };
        let at = packet.len() - segment.len();
        let sum = pseudo(&packet, self.v6, segment.len()) + Sum::of(segment);
        packet[at + 16..at + 18].copy_from_slice(&sum.finish());
        packet
    }

    /// Where the options begin in [`packet`](Self::packet).
    fn options_at(&self) -> usize {
        if self.v6 { HEADERS_V6 } else { HEADERS_V4 }
    }

    fn limit(&self) -> u16 {
        if self.v6 { 1360 } else { 1380 }
    }
}

fn pseudo(packet: &[u8], v6: bool, len: usize) -> Sum {
    let addresses = if v6 { &packet[8..40] } else { &packet[12..20] };
    Sum::pseudo_header(addresses, TCP, len as u32)
}

fn is_intact(packet: &[u8], v6: bool) -> bool {
    let at = if v6 { IPV6_LEN } else { IPV4_LEN };
    (pseudo(packet, v6, packet.len() - at) + Sum::of(&packet[at..])).is_valid()
}

const fn option(mss: u16) -> [u8; 4] {
    let [high, low] = mss.to_be_bytes();
    [2, 4, high, low]
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
                let mut syn = Syn::new(v6, &[KIND_NOP; 40]);
                syn.flags = flags;
                syn.options[offset..offset + 4].copy_from_slice(&option(1460));
                let before = syn.packet();
                let mut packet = before.clone();
                let name = format!("offset {offset}, IPv6 {v6}");
                assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered, "{name}");
                assert!(is_intact(&packet, v6), "{name}");
                let at = syn.options_at() + offset;
                assert_eq!(packet[at..at + 4], option(syn.limit()), "{name}");
                // Nothing else changed but the checksum.
                let tcp = syn.options_at() - TCP_LEN;
                packet[at..at + 4].copy_from_slice(&option(1460));
                packet[tcp + 16..tcp + 18].copy_from_slice(&before[tcp + 16..tcp + 18]);
                assert_eq!(packet, before, "{name}");
            }
        }
        for offset in 37..40 {
            let mut syn = Syn::new(v6, &[KIND_NOP; 40]);
            let cut = &option(1460)[..40 - offset];
            syn.options[offset..].copy_from_slice(cut);
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
        let limit = Syn::new(v6, &[]).limit();
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
        let syn = Syn::new(v6, &option(1460));
        let mut packet = syn.around(&syn.segment(), &between);
        let len = packet.len();
        assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered, "{between:?}");
        assert_eq!(packet[len - 4..], option(syn.limit()));
        let tcp = len - TCP_LEN - 4;
        let sum = pseudo(&packet, v6, len - tcp) + Sum::of(&packet[tcp..]);
        assert!(sum.is_valid());
    }
    let syn = Syn::new(true, &option(1460));
    let deep = syn.around(&syn.segment(), &[60; MAX_EXTENSION_HEADERS + 1]);
    left_alone(&deep, Outcome::NotSyn, "too deep");
}

#[test]
fn a_partial_checksum_stays_and_a_wrong_one_keeps_the_packet_as_it_is() {
    for v6 in [false, true] {
        let mut syn = Syn::new(v6, &option(1460));
        syn.payload = b"data in a SYN".to_vec();
        let mut packet = syn.packet();
        let tcp = syn.options_at() - TCP_LEN;
        let partial = pseudo(&packet, v6, packet.len() - tcp).partial();
        packet[tcp + 16..tcp + 18].copy_from_slice(&partial);
        assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
        let at = syn.options_at();
        assert_eq!(packet[at..at + 4], option(syn.limit()));
        assert_eq!(packet[tcp + 16..tcp + 18], partial);

        for byte in [tcp + 4, tcp + 16, packet.len() - 1] {
            let mut wrong = syn.packet();
            wrong[byte] ^= 0x40;
            left_alone(&wrong, Outcome::BadChecksum, &format!("byte {byte}"));
        }
        // Whether the checksum is right is not asked if nothing is to be changed.
        let mut wrong = Syn::new(v6, &option(536)).packet();
        wrong[tcp + 16] ^= 1;
        left_alone(&wrong, Outcome::Fits, "low enough");
    }
}

/// GRE with these flags around a packet.
fn gre(v6_outside: bool, flags: u8, version: u8, inner: &[u8], v6: bool) -> Vec<u8> {
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
    let mut bytes = vec![flags, version, kind[0], kind[1]];
    for flag in [0x80, 0x20, 0x10] {
        if flags & flag != 0 {
            bytes.extend([0, 0, 0, 9]);
        }
    }
    bytes.extend(inner);
    if v6_outside {
        frames::ipv6(GRE, &bytes)
    } else {
        frames::ipv4(&[], GRE, &bytes)
    }
}

#[test]
fn inside_gre_there_is_less_room() {
    for (v6_outside, outside) in [(false, 20), (true, 40)] {
        for v6 in [false, true] {
            let syn = Syn::new(v6, &option(1460));
            let inner = syn.packet();
            for (flags, header) in [(0, 4), (0x20, 8), (0x10, 8), (0x30, 12)] {
                let mut packet = gre(v6_outside, flags, 0, &inner, v6);
                let before = packet.clone();
                assert_eq!(clamp(&mut packet, &LIMITS), Outcome::Lowered);
                let at = packet.len() - inner.len();
                assert_eq!(packet[..at], before[..at]);
                assert!(is_intact(&packet[at..], v6));
                let expected = syn.limit() - outside - header;
                assert_eq!(packet[packet.len() - 4..], option(expected));
            }
            for (flags, version, name) in [
                (0x80, 0, "a checksum over it all"),
                (0x40, 0, "routing"),
                (0x20, 1, "PPTP"),
            ] {
                let packet = gre(v6_outside, flags, version, &inner, v6);
                left_alone(&packet, Outcome::NotSyn, name);
            }
            let whole = gre(v6_outside, 0x30, 0, &inner, v6);
            for len in 0..whole.len() {
                left_alone(&whole[..len], Outcome::NotSyn, "cut short");
            }
        }
    }
    let nested = gre(false, 0, 0, &gre(false, 0, 0, &[0; 40], false), false);
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
        let mut at = TCP_LEN;
        while let Some(found) = next_mss(&packet[tcp..header], at) {
            prop_assert!(found.mss <= limit || found.mss == 0);
            changed.retain(|i| !(tcp + found.at + 2..tcp + found.at + 4).contains(i));
            at = found.at + MSS_LEN;
        }
        changed.retain(|i| !(tcp + 16..tcp + 18).contains(i));
        prop_assert!(changed.is_empty(), "{changed:?}");
    }
}

//! The MSS clamp, which reads TCP options and writes into packets.

use crate::Seed;
use ringtun_common::fixtures::frames;
use ringtun_common::mss::{Limits, Outcome, clamp};

const MSS: u16 = 1380;

/// Only what was lowered is changed, in few bytes; what was lowered fits.
pub fn run(data: &[u8]) {
    let limits = Limits::fixed(MSS);
    let mut packet = data.to_vec();
    let outcome = clamp(&mut packet, &limits);
    assert_eq!(packet.len(), data.len());
    let changed = (0..data.len()).filter(|i| packet[*i] != data[*i]).count();
    if outcome != Outcome::Lowered {
        assert_eq!(changed, 0, "{outcome:?} and changed");
        return;
    }
    // Ten options at most, and the checksum.
    assert!(
        (1..=10 * 2 + 2).contains(&changed),
        "{changed} bytes changed"
    );
    assert_eq!(
        clamp(&mut packet, &limits),
        Outcome::Fits,
        "lowered for good"
    );
}

/// A SYN with these options, whose checksum is partial.
fn syn(v6: bool, options: &[u8]) -> Vec<u8> {
    let mut tcp = frames::tcp_between(40000, 443, &[]);
    tcp[12] = ((20 + options.len()) << 2) as u8;
    tcp[13] = 2;
    tcp.extend(options);
    let mut packet = if v6 {
        frames::ipv6(6, &tcp)
    } else {
        frames::ipv4(&[], 6, &tcp)
    };
    let addresses = if v6 { 8..40 } else { 12..20 };
    let at = packet.len() - tcp.len();
    let pseudo =
        ringtun_common::checksum::Sum::pseudo_header(&packet[addresses], 6, tcp.len() as u32);
    packet[at + 16..at + 18].copy_from_slice(&pseudo.partial());
    packet
}

/// SYNs with one option, with several, and in GRE.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mss = [2, 4, 0x05, 0xb4];
    let twice = [mss, [1, 1, 1, 1], mss].concat();
    let gre = [&[0x20, 0, 8, 0, 0, 0, 0, 9][..], &syn(false, &mss)].concat();
    vec![
        ("v4", syn(false, &mss)),
        ("v6", syn(true, &mss)),
        ("twice", syn(false, &twice)),
        ("gre", frames::ipv4(&[], 47, &gre)),
        ("gre-v6", frames::ipv6(47, &gre)),
    ]
}

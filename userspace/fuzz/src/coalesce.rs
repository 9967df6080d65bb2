//! Decrypted packets joined for the TUN device.

use crate::Seed;
use crate::packets::{self, Kind};
use ringtun::datapath::offload::{Coalescer, Segmenter, VNET_LEN};
use std::cell::RefCell;

/// Most packets of one input.
const PACKETS: usize = 96;

thread_local! {
    /// One for all inputs, as a worker has it: nothing may stay in it.
    static COALESCER: RefCell<[Coalescer; 2]> =
        RefCell::new([Coalescer::new(PACKETS, false), Coalescer::new(PACKETS, true)]);
}

/// A batch out of the fuzzer's bytes: each packet a byte of kind, then either a
/// segment that continues its flow, with edits, or bytes as they are.
fn batch(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut sequences = [0u32; 8];
    let mut all = Vec::new();
    while let Some((&kind, rest)) = data.split_first()
        && all.len() < PACKETS
    {
        data = rest;
        if kind & 0x80 != 0 {
            let len = usize::from(kind & 0x7f).min(data.len());
            let (packet, rest) = data.split_at(len);
            data = rest;
            if !packet.is_empty() {
                all.push(packet.to_vec());
            }
            continue;
        }
        let Some((&[size, edits], rest)) = data.split_first_chunk::<2>() else {
            break;
        };
        data = rest;
        let sequence = &mut sequences[usize::from(kind & 7)];
        let payload = usize::from(size);
        let mut packet = packets::whole(Kind::of(kind), *sequence, payload);
        *sequence = sequence.wrapping_add(payload as u32);
        // The second flow of each kind has another port.
        let port = if kind & 3 == 1 || kind & 3 == 3 {
            40
        } else {
            20
        };
        packet[port] = kind >> 2 & 1;
        packets::finish(&mut packet);
        for _ in 0..edits % 4 {
            let Some((&[at, flip], rest)) = data.split_first_chunk::<2>() else {
                break;
            };
            data = rest;
            let at = usize::from(at) % packet.len();
            packet[at] ^= flip;
        }
        if edits & 0x80 != 0 {
            refresh(&mut packet);
        }
        all.push(packet);
    }
    all
}

/// Makes checksums right again after edits, where the headers still allow it.
fn refresh(packet: &mut [u8]) {
    if packet[0] == 0x45 {
        packet[10..12].fill(0);
        let checksum = !packets::sum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let protocol = match packet[0] {
        0x45 => packet[9],
        0x60..=0x6f if packet.len() > 60 => packet[6],
        _ => return,
    };
    if matches!(protocol, 6 | 17) && packet.len() > 60 {
        packets::finish(packet);
    }
}

/// The identification of an IPv4 packet with DF means nothing (RFC 6864).
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut copy = packet.to_vec();
    if packet.len() >= 20 && packet[0] == 0x45 && packet[6] & 0x40 != 0 {
        copy[4..6].fill(0);
        copy[10..12].fill(0);
    }
    copy
}

/// Each packet is in exactly one write, and cutting the writes up again gives
/// the packets back, byte by byte.
pub fn run(data: &[u8]) {
    let Some((udp, rest)) = data.split_first() else {
        return;
    };
    let batch = batch(rest);
    let mut writes: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    COALESCER.with_borrow_mut(|pair| {
        pair[usize::from(udp & 1)].run(
            batch.len(),
            |i| &batch[i],
            |merged| {
                let bytes: Vec<u8> = merged.slices.iter().flat_map(|s| s.to_vec()).collect();
                writes.push((bytes, merged.packets, merged.bytes));
            },
        );
    });
    let mut expected: Vec<Vec<u8>> = batch.iter().map(|p| comparable(p)).collect();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (mut write, packets, bytes) in writes {
        assert!(write.len() <= VNET_LEN + 65_535);
        let pieces = if packets == 1 {
            assert_eq!(
                write[..VNET_LEN],
                [0; VNET_LEN],
                "a lone packet has no offload"
            );
            vec![write[VNET_LEN..].to_vec()]
        } else {
            cut(&mut write)
        };
        assert_eq!(pieces.len(), packets);
        assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), bytes);
        seen.extend(pieces.iter().map(|p| comparable(p)));
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "packets lost, invented or changed");
}

fn cut(write: &mut [u8]) -> Vec<Vec<u8>> {
    let mut segments = Segmenter::new(write).expect("a write of ours has sound headers");
    let mut out = vec![0; 70_000];
    let mut all = Vec::new();
    while let Some(len) = segments.write_next(&mut out) {
        all.push(out[..len].to_vec());
    }
    all
}

/// Flows that merge, flows that interleave, and packets that end them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let bulk = |kind: u8, n: usize| [kind, 100, 0].repeat(n);
    let with = |udp: u8, parts: &[Vec<u8>]| [vec![udp], parts.concat()].concat();
    vec![
        ("tcp4-bulk", with(0, &[bulk(0, 40)])),
        ("tcp6-bulk", with(1, &[bulk(1, 40)])),
        ("udp-bulk", with(1, &[bulk(2, 20), bulk(3, 20)])),
        (
            "interleaved",
            with(1, &[[0, 90, 0, 4, 90, 0, 1, 90, 0].repeat(10)]),
        ),
        (
            "shorter-last",
            with(1, &[bulk(0, 3), vec![0, 50, 0], bulk(0, 3)]),
        ),
        (
            "psh",
            with(1, &[bulk(0, 3), vec![0, 100, 0x81, 33, 8], bulk(0, 3)]),
        ),
        (
            "bad-checksum",
            with(1, &[bulk(0, 3), vec![0, 100, 1, 36, 8], bulk(0, 3)]),
        ),
        (
            "fragment",
            with(1, &[bulk(0, 3), vec![0, 100, 0x81, 6, 0x20], bulk(0, 3)]),
        ),
        (
            "garbage",
            with(1, &[bulk(0, 2), vec![0x84, 1, 2, 3, 4], bulk(0, 2)]),
        ),
    ]
}

//! What the TUN device hands over, cut into packets of one MTU.

use crate::Seed;
use crate::packets::{self, Kind};
use ringtun::datapath::offload::{Gso, Segmenter, VNET_LEN, VnetHeader};

/// Whatever the kernel claims, there is no panic, each segment is as long as
/// announced, and payloads join to what came in. Where the checksum was partial
/// and the headers are plain, every segment's checksums are right.
pub fn run(data: &[u8]) {
    let mut read = data.to_vec();
    let Ok(mut segments) = Segmenter::new(&mut read) else {
        return;
    };
    let packet = segments.packet().to_vec();
    let whole = segments.is_single();
    let expected = segments.remaining();
    let mut out = vec![0xee; packet.len() + 64];
    let mut all = Vec::new();
    while let Some(len) = segments.next_len() {
        assert!(len <= packet.len(), "a segment is no longer than the whole");
        assert_eq!(segments.write_next(&mut out[..len]), Some(len));
        assert!(out[len..].iter().all(|byte| *byte == 0xee));
        all.push(out[..len].to_vec());
        out.fill(0xee);
    }
    assert_eq!(all.len(), expected);
    if whole {
        assert_eq!(all, [packet]);
        return;
    }
    let header = VnetHeader::parse(data.first_chunk().expect("it was parsed")).expect("as before");
    let headers = headers_len(&packet, &header);
    let payload: Vec<u8> = all.iter().flat_map(|s| s[headers..].to_vec()).collect();
    assert_eq!(payload, packet[headers..], "payload lost or invented");
    if packets::partial_is_right(&packet, &header) {
        for segment in &all {
            packets::assert_intact(segment);
        }
    }
}

fn headers_len(packet: &[u8], header: &VnetHeader) -> usize {
    let transport = usize::from(header.csum_start);
    match header.gso {
        Some(Gso::Udp) => transport + 8,
        _ => transport + usize::from(packet[transport + 12] >> 4) * 4,
    }
}

/// Super-packets of each kind, a partial checksum, and plain packets.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let super_packet = |kind: Kind, payload: usize, size: u16| {
        let packet = packets::partial(kind, payload);
        let transport: u16 = if kind.is_v6() { 40 } else { 20 };
        let header = VnetHeader {
            needs_csum: true,
            gso: (size > 0).then_some(kind.gso()),
            ecn: false,
            hdr_len: transport + if kind.is_udp() { 8 } else { 20 },
            gso_size: size,
            csum_start: transport,
            csum_offset: if kind.is_udp() { 6 } else { 16 },
        };
        [&header.to_bytes()[..], &packet].concat()
    };
    let plain = [&[0; VNET_LEN][..], &packets::whole(Kind::Tcp4, 0, 100)].concat();
    vec![
        ("tcp4", super_packet(Kind::Tcp4, 500, 100)),
        ("tcp6-odd-last", super_packet(Kind::Tcp6, 333, 100)),
        ("udp4", super_packet(Kind::Udp4, 500, 250)),
        ("udp6", super_packet(Kind::Udp6, 501, 250)),
        ("partial-checksum", super_packet(Kind::Udp4, 60, 0)),
        ("plain", plain),
        ("size-zero", super_packet(Kind::Tcp4, 0, 100)),
    ]
}

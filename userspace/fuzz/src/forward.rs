//! Packets on their way past the kernel's stack, from a client's frame to what is
//! sealed, and from what was opened to a client.

use crate::Seed;
use ringtun::datapath::forward::packet;
use ringtun::datapath::offload::Segmenter;
use ringtun_common::checksum::Sum;
use ringtun_common::fixtures::forward;
use std::net::IpAddr;

/// What is found lies in the frame and is plain; one hop less leaves the header
/// right; what is completed is as long as before.
pub fn run(data: &[u8]) {
    if data.len() >= 14
        && let Some(range) = packet::find(data)
    {
        let mut packet = data[range].to_vec();
        through(&mut packet);
    }
    if let Some(destination) = packet::destination(data) {
        let mut packet = data.to_vec();
        let v4 = matches!(destination, IpAddr::V4(_));
        assert_eq!(v4, packet[0] == 0x45);
        let valid = !v4 || Sum::of(&packet[..20]).is_valid();
        packet::lower_hop_limit(&mut packet);
        let still = !v4 || Sum::of(&packet[..20]).is_valid();
        assert_eq!(
            valid, still,
            "what was right is right, what was wrong is wrong"
        );
        let changed = (0..data.len()).filter(|at| packet[*at] != data[*at]);
        assert!(changed.count() <= 3, "a hop, and its checksum");
    }
}

fn through(packet: &mut [u8]) {
    let v4 = packet[0] >> 4 == 4;
    let hops = if v4 { packet[8] } else { packet[7] };
    assert!(hops > 1, "the kernel answers for these");
    packet::lower_hop_limit(packet);
    if v4 {
        assert!(Sum::of(&packet[..20]).is_valid());
    }
    let len = packet.len();
    let header = packet::vnet_header(packet);
    let Ok(mut segments) = Segmenter::with_header(&header, packet) else {
        return;
    };
    let mut out = vec![0; len];
    assert_eq!(segments.write_next(&mut out), Some(len));
    assert_eq!(segments.next_len(), None, "one packet stays one");
    assert!(
        !packet::vnet_header(&out).needs_csum || header.needs_csum,
        "complete now"
    );
}

/// The fixtures of the LAN side.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let all = forward::all();
    let names = [
        "four", "six", "longest4", "longest6", "padded", "last4", "last6",
    ];
    names
        .into_iter()
        .zip(all.into_iter().map(|f| f.frame))
        .collect()
}

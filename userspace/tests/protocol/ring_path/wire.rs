//! What the kernel and the cable make of a frame, and what it must look like
//! there: read by the book, without the code that wrote it.

use ringtun::net::outer::Hop;
use ringtun::xsk::peer::Transmitted;
use std::net::IpAddr;

/// A frame as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    /// Where the IP header begins.
    pub ip_at: usize,
    /// Of IPv4; 0 over IPv6.
    pub id: u16,
    /// TOS or traffic class.
    pub class: u8,
}

/// One's complement sum of 16-bit words (RFC 1071), the last byte padded.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// Finishes the checksum that the metadata asks for, as the kernel does
/// (`skb_checksum_help`, `net/core/dev.c`).
pub fn finish(sent: &Transmitted<'_>) -> Vec<u8> {
    assert!(!sent.continued, "one frame is one packet");
    let mut bytes = sent.bytes.to_vec();
    if let Some(checksum) = sent.checksum {
        let value = match !sum(&[&bytes[checksum.start()..]]) {
            0 => 0xffff,
            value => value,
        };
        let at = checksum.field();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

impl Frame {
    /// Reads a frame of this hop, from and to these ports; every byte in front
    /// of the payload is looked at.
    pub fn check(bytes: Vec<u8>, hop: &Hop, ports: (u16, u16)) -> Self {
        assert_eq!(bytes[..6], hop.next_hop_mac.0, "to whom");
        assert_eq!(bytes[6..12], hop.source_mac.0, "from whom");
        let mut at = 12;
        for tag in hop.tags.as_slice() {
            assert_eq!(bytes[at..at + 4], tag.bytes(), "a tag");
            at += 4;
        }
        let ip_at = at + 2;
        let ip = &bytes[ip_at..];
        let (id, class, udp, pseudo) = match bytes[at..at + 2] {
            [0x08, 0x00] => check_v4(ip, hop),
            [0x86, 0xdd] => check_v6(ip, hop),
            ref other => panic!("EtherType {other:x?}"),
        };
        assert_eq!(udp[..2], ports.0.to_be_bytes(), "source port");
        assert_eq!(udp[2..4], ports.1.to_be_bytes(), "destination port");
        let len = u16::from_be_bytes([udp[4], udp[5]]);
        assert_eq!(usize::from(len), udp.len(), "UDP length");
        assert_ne!(udp[6..8], [0, 0], "there is a checksum");
        assert_eq!(sum(&[&pseudo, udp]), 0xffff, "UDP checksum");
        Self {
            ip_at,
            id,
            class,
            bytes,
        }
    }

    /// A router on the way is congested: it changes the mark of a packet that
    /// has one.
    pub fn mark_congested(&mut self) {
        let ip = &mut self.bytes[self.ip_at..];
        if ip[0] >> 4 == 4 {
            assert_ne!(ip[1] & 3, 0, "capable");
            ip[1] |= 3;
            ip[10..12].fill(0);
            let checksum = !sum(&[&ip[..20]]);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            assert_ne!(ip[1] & 0x30, 0, "capable");
            ip[1] |= 0x30;
        }
    }
}

/// Identification, TOS, the datagram and its pseudo header.
fn check_v4<'a>(ip: &'a [u8], hop: &Hop) -> (u16, u8, &'a [u8], Vec<u8>) {
    assert_eq!(ip[0], 0x45, "version and words");
    let total = u16::from_be_bytes([ip[2], ip[3]]);
    assert_eq!(usize::from(total), ip.len(), "total length");
    assert!(u32::from(total) <= hop.mtu, "{total} bytes");
    assert_eq!(ip[6..8], [0, 0], "neither DF nor a fragment");
    assert_eq!(ip[8..10], [hop.hop_limit, 17], "TTL and protocol");
    assert_eq!(sum(&[&ip[..20]]), 0xffff, "header checksum");
    let addresses = addresses(hop);
    assert_eq!(ip[12..20], addresses);
    let id = u16::from_be_bytes([ip[4], ip[5]]);
    let len = total - 20;
    let pseudo = [&addresses[..], &[0, 17], &len.to_be_bytes()].concat();
    (id, ip[1], &ip[20..], pseudo)
}

fn check_v6<'a>(ip: &'a [u8], hop: &Hop) -> (u16, u8, &'a [u8], Vec<u8>) {
    assert_eq!(ip[0] >> 4, 6, "version");
    let len = u16::from_be_bytes([ip[4], ip[5]]);
    assert_eq!(usize::from(len) + 40, ip.len(), "payload length");
    assert!(u32::from(len) + 40 <= hop.mtu, "{len} bytes");
    assert_eq!(ip[6..8], [17, hop.hop_limit], "next header and hop limit");
    let addresses = addresses(hop);
    assert_eq!(ip[8..40], addresses);
    let label = u32::from_be_bytes([0, ip[1] & 0x0f, ip[2], ip[3]]);
    assert_ne!(label, 0, "a flow label");
    let pseudo = [
        &addresses[..],
        &u32::from(len).to_be_bytes(),
        &[0, 0, 0, 17],
    ]
    .concat();
    let class = ip[0] << 4 | ip[1] >> 4;
    (0, class, &ip[40..], pseudo)
}

fn addresses(hop: &Hop) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    [
        octets(hop.addresses.source()),
        octets(hop.addresses.destination()),
    ]
    .concat()
}

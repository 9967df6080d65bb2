//! Inner packets, and a checksum that shares nothing with the one under test.

use ringtun::datapath::offload::{Gso, VnetHeader};

/// What kind of packet to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Kind {
    /// By number, any.
    #[must_use]
    pub const fn of(n: u8) -> Self {
        match n % 4 {
            0 => Self::Tcp4,
            1 => Self::Tcp6,
            2 => Self::Udp4,
            _ => Self::Udp6,
        }
    }

    /// Over IPv6.
    #[must_use]
    pub const fn is_v6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }

    /// UDP.
    #[must_use]
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp4 | Self::Udp6)
    }

    /// What its super-packets are.
    #[must_use]
    pub const fn gso(self) -> Gso {
        match self {
            Self::Tcp4 => Gso::Tcp4,
            Self::Tcp6 => Gso::Tcp6,
            Self::Udp4 | Self::Udp6 => Gso::Udp,
        }
    }
}

/// RFC 1071 by the book.
#[must_use]
pub fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn pseudo(packet: &[u8]) -> Vec<u8> {
    let (addresses, at, protocol) = if packet[0] >> 4 == 4 {
        (&packet[12..20], usize::from(packet[0] & 15) * 4, packet[9])
    } else {
        (&packet[8..40], 40, packet[6])
    };
    let len = (packet.len() - at) as u32;
    [addresses, &len.to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

fn transport(packet: &[u8]) -> usize {
    if packet[0] >> 4 == 4 { 20 } else { 40 }
}

fn protocol(packet: &[u8]) -> u8 {
    packet[if packet[0] >> 4 == 4 { 9 } else { 6 }]
}

fn field(packet: &[u8]) -> usize {
    transport(packet) + if protocol(packet) == 17 { 6 } else { 16 }
}

/// Everything but the transport checksum; `sequence` is TCP's, and counts the
/// IPv4 identification up.
fn unsummed(kind: Kind, sequence: u32, payload: usize) -> Vec<u8> {
    let mut body: Vec<u8> = [0x13, 0x88, 0x13, 0x89].to_vec();
    if kind.is_udp() {
        body.extend(((8 + payload) as u16).to_be_bytes());
        body.extend([0, 0]);
    } else {
        body.extend(sequence.to_be_bytes());
        body.extend([0, 0, 0, 9, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    }
    body.extend((0..payload).map(|i| i as u8));
    let protocol = if kind.is_udp() { 17 } else { 6 };
    let mut packet = Vec::new();
    if kind.is_v6() {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((body.len() as u16).to_be_bytes());
        packet.extend([protocol, 64]);
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    } else {
        let id = (sequence / payload.max(1) as u32) as u16;
        packet.extend([0x45, 0]);
        packet.extend(((20 + body.len()) as u16).to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend([0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let checksum = !sum(&[&packet]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet.extend(body);
    packet
}

/// A packet with every checksum right.
#[must_use]
pub fn whole(kind: Kind, sequence: u32, payload: usize) -> Vec<u8> {
    let mut packet = unsummed(kind, sequence, payload);
    finish(&mut packet);
    packet
}

/// Makes the transport checksum of a plain TCP or UDP packet right.
pub fn finish(packet: &mut [u8]) {
    let at = field(packet);
    packet[at..at + 2].fill(0);
    let checksum = match !sum(&[&pseudo(packet), &packet[transport(packet)..]]) {
        0 if protocol(packet) == 17 => 0xffff,
        checksum => checksum,
    };
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// A packet whose transport checksum is the pseudo header's sum.
#[must_use]
pub fn partial(kind: Kind, payload: usize) -> Vec<u8> {
    let mut packet = unsummed(kind, 0, payload);
    let at = field(&packet);
    let partial = sum(&[&pseudo(&packet)]);
    packet[at..at + 2].copy_from_slice(&partial.to_be_bytes());
    packet
}

/// Whether this is a plain packet as the kernel makes it: lengths right, and a
/// checksum that is the pseudo header's sum.
#[must_use]
pub fn partial_is_right(packet: &[u8], header: &VnetHeader) -> bool {
    let plain = match packet[0] >> 4 {
        4 => {
            packet[0] == 0x45
                && usize::from(u16::from_be_bytes([packet[2], packet[3]])) == packet.len()
        }
        _ => usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40 == packet.len(),
    };
    if !plain || usize::from(header.csum_start) != transport(packet) {
        return false;
    }
    let at = field(packet);
    packet[at..at + 2] == sum(&[&pseudo(packet)]).to_be_bytes()
}

/// Lengths and every checksum are right.
pub fn assert_intact(packet: &[u8]) {
    if packet[0] >> 4 == 4 {
        assert_eq!(sum(&[&packet[..20]]), 0xffff, "IPv4 header checksum");
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        assert_eq!(total, packet.len(), "IPv4 total length");
    } else {
        let payload = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        assert_eq!(payload + 40, packet.len(), "IPv6 payload length");
    }
    let at = transport(packet);
    if protocol(packet) == 17 {
        let len = usize::from(u16::from_be_bytes([packet[at + 4], packet[at + 5]]));
        assert_eq!(len, packet.len() - at, "UDP length");
    }
    let checksum = sum(&[&pseudo(packet), &packet[at..]]);
    assert_eq!(checksum, 0xffff, "transport checksum");
}

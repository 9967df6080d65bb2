//! Inner packets.

use std::net::IpAddr;

/// An IP packet without options and with a payload of the test's own.
pub fn ip(from: IpAddr, to: IpAddr, tos: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let len = (20 + payload.len()) as u16;
            let mut p = vec![0x45, tos, 0, 0, 0, 0, 0, 0, 64, 253, 0, 0];
            p[2..4].copy_from_slice(&len.to_be_bytes());
            p.extend(from.octets());
            p.extend(to.octets());
            let sum = ipv4_checksum(&p);
            p[10..12].copy_from_slice(&sum);
            p.extend(payload);
            p
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut p = vec![0x60 | tos >> 4, tos << 4, 0, 0];
            p.extend((payload.len() as u16).to_be_bytes());
            p.extend([253, 64]);
            p.extend(from.octets());
            p.extend(to.octets());
            p.extend(payload);
            p
        }
        _ => panic!("two families in one packet"),
    }
}

/// The header checksum as it should be, whatever the field holds (RFC 791).
pub fn ipv4_checksum(header: &[u8]) -> [u8; 2] {
    let words = header[..20].chunks(2).enumerate().filter(|(i, _)| *i != 5);
    let mut sum: u32 = words
        .map(|(_, w)| u32::from(w[0]) << 8 | u32::from(w[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// The payload of a packet made by [`ip`].
pub fn payload(packet: &[u8]) -> &[u8] {
    if packet[0] >> 4 == 4 {
        &packet[20..]
    } else {
        &packet[40..]
    }
}

//! UDP datagrams in Ethernet frames.

use ringtun_common::checksum::Sum;
use ringtun_common::fixtures;
use ringtun_common::ip::UDP;
use std::net::IpAddr;

/// What the checksum field of a UDP datagram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum.
    Full,
    /// The sum of the pseudo header, for somebody to finish.
    Partial,
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub macs: [[u8; 6]; 2],
    pub addresses: [IpAddr; 2],
    pub port: u16,
}

impl Flow {
    /// First byte of the UDP header in a frame of this flow.
    pub fn udp_at(&self) -> u16 {
        if self.addresses[0].is_ipv4() { 34 } else { 54 }
    }

    /// A frame from the first to the second end, to and from the same port.
    pub fn frame(&self, payload: &[u8], checksum: Checksum) -> Vec<u8> {
        let mut udp = [self.port.to_be_bytes(), self.port.to_be_bytes()].concat();
        let len = 8 + payload.len() as u16;
        udp.extend(len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let octets: Vec<u8> = self
            .addresses
            .iter()
            .flat_map(|address| match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            })
            .collect();
        let pseudo = Sum::pseudo_header(&octets, UDP, len.into());
        let field = match checksum {
            Checksum::Full => (pseudo + Sum::of(&udp)).finish_nonzero(),
            Checksum::Partial => pseudo.partial(),
        };
        udp[6..8].copy_from_slice(&field);
        let (ethertype, mut packet) = match self.addresses[0] {
            IpAddr::V4(_) => (0x0800, fixtures::ipv4(&[], UDP, &udp)),
            IpAddr::V6(_) => (0x86dd, fixtures::ipv6(UDP, &udp)),
        };
        if ethertype == 0x0800 {
            packet[10..20].fill(0);
            packet[12..20].copy_from_slice(&octets);
            let sum = Sum::of(&packet[..20]).finish();
            packet[10..12].copy_from_slice(&sum);
        } else {
            packet[8..40].copy_from_slice(&octets);
        }
        let mut frame = fixtures::ethernet(&[], ethertype, &packet);
        frame[..6].copy_from_slice(&self.macs[1]);
        frame[6..12].copy_from_slice(&self.macs[0]);
        frame
    }
}

/// The UDP payload of a frame without options and extension headers.
pub fn payload(frame: &[u8]) -> Option<&[u8]> {
    let (header, protocol) = match frame.get(12..14)? {
        [0x08, 0x00] => (14 + 20, frame.get(23)?),
        [0x86, 0xdd] => (14 + 40, frame.get(20)?),
        _ => return None,
    };
    (*protocol == UDP).then(|| &frame[header + 8..])
}

/// A payload of `len` bytes that starts with its number.
pub fn numbered(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; len];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

//! Captured frames: reading them, counting WireGuard's messages, looking for bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The frames of a capture, in order.
#[derive(Clone, Debug, Default)]
pub struct Packets(pub(super) Vec<Vec<u8>>);

/// WireGuard messages seen in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Handshake initiations (148 bytes).
    pub initiations: u64,
    /// Handshake responses (92 bytes).
    pub responses: u64,
    /// Cookie replies (64 bytes).
    pub cookies: u64,
    /// Data packets that carry something.
    pub data: u64,
    /// Data packets that carry nothing (32 bytes).
    pub keepalives: u64,
    /// Data packets and keepalives by receiver index.
    pub by_receiver: BTreeMap<u32, u64>,
    /// TOS bytes or traffic classes (DSCP and ECN) of handshake messages.
    pub handshake_classes: BTreeSet<u8>,
}

impl Packets {
    /// Reads a classic pcap file of Ethernet frames.
    ///
    /// # Errors
    /// The file is missing, truncated or of another kind.
    pub fn read(file: &Path) -> Result<Packets> {
        let bytes = fs::read(file).with_context(|| format!("{}", file.display()))?;
        Packets::parse(&bytes).with_context(|| format!("{}", file.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Packets> {
        /// `pcap-savefile(5)`: little-endian magic with microseconds.
        const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
        const LINKTYPE_ETHERNET: u32 = 1;
        ensure!(bytes.starts_with(&MAGIC), "not a pcap file of this machine");
        ensure!(
            word(bytes, 20) == Some(LINKTYPE_ETHERNET),
            "not a capture of Ethernet frames"
        );
        let mut frames = Vec::new();
        let mut at = 24;
        while at < bytes.len() {
            let length = word(bytes, at + 8).context("truncated")? as usize;
            let frame = bytes.get(at + 16..at + 16 + length).context("truncated")?;
            frames.push(frame.to_vec());
            at += 16 + length;
        }
        Ok(Packets(frames))
    }

    /// How many frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frames that hold `marker`.
    #[must_use]
    pub fn holding(&self, marker: &[u8]) -> usize {
        assert!(!marker.is_empty(), "an empty marker is found everywhere");
        self.0
            .iter()
            .filter(|frame| frame.windows(marker.len()).any(|window| window == marker))
            .count()
    }

    /// WireGuard messages between any address and UDP port `port` (either side).
    #[must_use]
    pub fn wireguard(&self, port: u16) -> Messages {
        let mut messages = Messages::default();
        for frame in &self.0 {
            if let Some(udp) = udp_payload(frame, |a, b| a == port || b == port) {
                messages.add(udp);
                if matches!(udp.first(), Some(1..=3)) {
                    messages.handshake_classes.extend(traffic_class(frame));
                }
            }
        }
        messages
    }

    /// The UDP payloads from or to `port`, in order.
    pub fn udp(&self, port: u16) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter_map(move |frame| udp_payload(frame, |a, b| a == port || b == port))
    }
}

impl Messages {
    /// Counts one UDP payload, which may be several datagrams that the kernel kept together.
    ///
    /// A veth carries what UDP segmentation offload would split later, so one frame can hold up
    /// to 64 data packets. They follow one another with the same receiver index and rising
    /// counters, and all but the last have the same length.
    fn add(&mut self, payload: &[u8]) {
        match (payload.first(), payload.len()) {
            (Some(1), 148) => self.initiations += 1,
            (Some(2), 92) => self.responses += 1,
            (Some(3), 64) => self.cookies += 1,
            (Some(4), 32..) => {
                for packet in payload.chunks(segment_length(payload)) {
                    let Some(receiver) = word(packet, 4) else {
                        continue;
                    };
                    *self.by_receiver.entry(receiver).or_default() += 1;
                    if packet.len() == 32 {
                        self.keepalives += 1;
                    } else {
                        self.data += 1;
                    }
                }
            }
            _ => {}
        }
    }
}

/// The length of the first data packet in `payload`: up to where the next header follows.
fn segment_length(payload: &[u8]) -> usize {
    let Some(counter) = payload
        .get(8..16)
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .map(u64::from_le_bytes)
    else {
        return payload.len();
    };
    let mut next = [0; 16];
    next[..8].copy_from_slice(&payload[..8]);
    next[8..].copy_from_slice(&counter.wrapping_add(1).to_le_bytes());
    // A data packet is at least 32 bytes long.
    payload
        .get(32..)
        .and_then(|rest| rest.windows(16).position(|window| window == next))
        .map_or(payload.len(), |at| at + 32)
}

/// The TOS byte or traffic class of an Ethernet frame of IP.
fn traffic_class(frame: &[u8]) -> Option<u8> {
    let [first, second] = *frame.get(14..)?.first_chunk()?;
    match first >> 4 {
        4 => Some(second),
        6 => Some(first << 4 | second >> 4),
        _ => None,
    }
}

/// The UDP payload of an Ethernet frame whose ports satisfy `wanted`.
fn udp_payload(frame: &[u8], wanted: impl Fn(u16, u16) -> bool) -> Option<&[u8]> {
    let ip = match frame.get(12..14)? {
        [0x08, 0x00] | [0x86, 0xdd] => frame.get(14..)?,
        _ => return None,
    };
    let udp = match ip.first()? >> 4 {
        4 => {
            let header = usize::from(ip[0] & 15) * 4;
            // Not UDP, or not the first fragment.
            if *ip.get(9)? != 17 || ip.get(6)? & 0x1f != 0 || *ip.get(7)? != 0 {
                return None;
            }
            ip.get(header..)?
        }
        6 if *ip.get(6)? == 17 => ip.get(40..)?,
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    wanted(port(0)?, port(2)?).then(|| udp.get(8..))?
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(receiver: u32, counter: u64, length: usize) -> Vec<u8> {
        let mut packet = vec![4, 0, 0, 0];
        packet.extend(receiver.to_le_bytes());
        packet.extend(counter.to_le_bytes());
        packet.resize(length, 0xaa);
        packet
    }

    fn frame(v6: bool, port: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, 64]);
            frame.extend([0; 32]);
        } else {
            frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17]);
            frame.extend([0; 10]);
        }
        frame.extend(1234_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_super_packet_counts_as_the_packets_it_holds() {
        let mut payload = Vec::new();
        for counter in 7..10 {
            payload.extend(data(5, counter, 1452));
        }
        payload.extend(data(5, 10, 96));
        let packets = Packets(vec![
            frame(false, 51820, &payload),
            frame(true, 51820, &data(6, 0, 32)),
            frame(false, 51820, &[1; 148]),
            frame(false, 99, &data(6, 0, 64)),
        ]);
        let messages = packets.wireguard(51820);
        assert_eq!(messages.data, 4);
        assert_eq!(messages.keepalives, 1);
        assert_eq!(messages.initiations, 1);
        assert_eq!(messages.by_receiver, BTreeMap::from([(5, 4), (6, 1)]));
    }

    #[test]
    fn pcap_is_read_and_a_cut_one_refused() {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
        file.extend([0; 8]);
        file.extend(6_u32.to_le_bytes());
        file.extend(6_u32.to_le_bytes());
        file.extend(b"marker");
        let packets = Packets::parse(&file).unwrap();
        assert_eq!((packets.len(), packets.holding(b"arke")), (1, 1));
        assert_eq!(packets.holding(b"absent"), 0);
        file.pop();
        assert!(Packets::parse(&file).is_err());
    }

    #[test]
    fn too_few_or_none_prove_nothing() {
        use super::super::expect_complete;
        assert!(expect_complete(99, 100).is_ok());
        assert!(expect_complete(98, 100).is_err());
        assert!(expect_complete(0, 0).is_err());
    }
}

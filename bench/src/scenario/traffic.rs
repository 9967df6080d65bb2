//! Packets of many tunnels, numbered in each, and who receives them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringtun_common::checksum::Sum;
use ringtun_common::fixtures::{self, frames};
use ringtun_common::ip::{ESP, GRE, IPV4_LEN, UDP};
use ringtun_common::steer::Group;
use ringtun_lab::PacketSocket;

/// Tunnels between the two hosts.
pub const KEYS: u32 = 1024;
/// Packets of each.
pub const PACKETS: u32 = 60;

const ETHERNET_LEN: usize = 14;
/// Bytes of what a tunnel carries; the last eight are the tunnel and the packet's number in it.
const CARRIED: usize = 64;
/// Packets that are sent at once: less than a queue of a veth holds.
const BATCH: usize = 32;

/// What kind of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Esp,
    Gre,
    WireGuard,
}

impl Kind {
    /// How they are steered.
    pub const fn group(self) -> Group {
        match self {
            Self::Esp => Group::Esp,
            Self::Gre => Group::Gre,
            Self::WireGuard => Group::WireGuard,
        }
    }

    /// What tells them apart.
    pub const fn keys(self) -> &'static str {
        match self {
            Self::Esp => "SPIs",
            Self::Gre => "GRE keys, Call IDs and flows in GRE",
            Self::WireGuard => "receiver indices",
        }
    }

    /// IP protocol and payload of packet `number` of a tunnel.
    fn payload(self, tunnel: u32, number: u32) -> (u8, Vec<u8>) {
        let mut carried = vec![0xa5; CARRIED];
        carried[CARRIED - 8..CARRIED - 4].copy_from_slice(&tunnel.to_be_bytes());
        carried[CARRIED - 4..].copy_from_slice(&number.to_be_bytes());
        // SPIs and indices are chosen at random; keys and Call IDs are counted.
        let random = (tunnel + 0x100).wrapping_mul(0x9e37_79b1);
        match self {
            Self::Esp => {
                let header = [random.to_be_bytes(), number.to_be_bytes()].concat();
                (ESP, [header, carried].concat())
            }
            Self::Gre if tunnel.is_multiple_of(3) => {
                // No key: a flow of UDP over IPv4 is inside.
                let [_, _, high, low] = tunnel.to_be_bytes();
                let datagram = frames::udp_between(high.into(), low.into(), &carried);
                let flow = frames::ipv4(&[], UDP, &datagram);
                (GRE, [vec![0, 0, 8, 0], flow].concat())
            }
            Self::Gre if tunnel % 3 == 1 => {
                // Key and sequence number, around IPv4.
                let header = [[0x30, 0, 8, 0], tunnel.to_be_bytes(), number.to_be_bytes()];
                (GRE, [header.concat(), carried].concat())
            }
            Self::Gre => {
                // That of PPTP: length of the payload, Call ID, sequence number.
                let [_, _, high, low] = tunnel.to_be_bytes();
                let length_and_id = [0, CARRIED as u8, high, low];
                let header = [
                    [0x30, 0x01, 0x88, 0x0b],
                    length_and_id,
                    number.to_be_bytes(),
                ];
                (GRE, [header.concat(), carried].concat())
            }
            Self::WireGuard => {
                let mut message = fixtures::message(4, 16);
                message[4..8].copy_from_slice(&random.to_le_bytes());
                message[8..].copy_from_slice(&u64::from(number).to_le_bytes());
                (UDP, frames::udp(&[message, carried].concat()))
            }
        }
    }

    /// Packet `number` of a tunnel, in a frame to `mac`.
    fn frame(self, mac: [u8; 6], tunnel: u32, number: u32) -> Vec<u8> {
        let (protocol, payload) = self.payload(tunnel, number);
        let mut frame = frames::over4(protocol, &payload);
        frame[..6].copy_from_slice(&mac);
        let header = &mut frame[ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN];
        let checksum = Sum::of(header).finish();
        header[10..12].copy_from_slice(&checksum);
        frame
    }
}

/// Sends all packets: one of each tunnel, then the next of each. No more than `rate` a second
/// at any time: what was missed is not made up for.
pub fn send(socket: &PacketSocket, kind: Kind, mac: [u8; 6], rate: u32) -> Result<u64> {
    let pause = Duration::from_secs(1) * BATCH as u32 / rate;
    let mut sent = 0;
    let mut due = Instant::now();
    for number in 0..PACKETS {
        let all: Vec<_> = (0..KEYS)
            .map(|tunnel| kind.frame(mac, tunnel, number))
            .collect();
        for batch in all.chunks(BATCH) {
            let mut rest = batch;
            while !rest.is_empty() {
                let taken = socket.send(rest).context("cannot send")?;
                ensure!(taken > 0, "the device takes no packet");
                rest = &rest[taken..];
                sent += taken as u64;
            }
            due = due.max(Instant::now()) + pause;
            // The pace is what is asked for here, not an event.
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(sent)
}

/// What one socket received.
#[derive(Debug, Default)]
pub struct Received {
    /// Packets.
    pub packets: u64,
    /// Packets that are not the one behind the last of their tunnel.
    pub disordered: u64,
    /// Of each tunnel that was seen, the number of the next packet.
    pub tunnels: HashMap<u32, u32>,
}

impl Received {
    fn note(&mut self, tunnel: u32, number: u32) {
        self.packets += 1;
        let next = self.tunnels.entry(tunnel).or_default();
        // One that is missing is lost, and counted there.
        if number < *next {
            self.disordered += 1;
        }
        *next = number + 1;
    }
}

/// Receives until all receivers together have `expected`, or until sending has `ended` and nothing
/// comes any more.
pub fn receive(
    socket: &PacketSocket,
    ended: &AtomicBool,
    total: &AtomicU64,
    expected: u64,
) -> Result<Received> {
    /// What is late after all was sent.
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut received = Received::default();
    let mut buffer = [0; 512];
    let mut last = Instant::now();
    socket.set_timeout(Duration::from_millis(50))?;
    loop {
        if let Some(len) = socket.receive(&mut buffer)? {
            let tail = buffer.get(..len).and_then(|frame| frame.last_chunk::<8>());
            let [a, b, c, d, number @ ..] = *tail.context("a frame of another length")?;
            let tunnel = u32::from_be_bytes([a, b, c, d]);
            ensure!(tunnel < KEYS, "a packet that was not sent");
            received.note(tunnel, u32::from_be_bytes(number));
            total.fetch_add(1, Ordering::Relaxed);
            last = Instant::now();
        } else if total.load(Ordering::Relaxed) >= expected
            || (ended.load(Ordering::Relaxed) && last.elapsed() > PATIENCE)
        {
            return Ok(received);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtun_common::cursor::SliceCursor;
    use ringtun_common::packet::parse;
    use std::collections::HashSet;

    #[test]
    fn every_tunnel_of_every_kind_has_a_key_of_its_own_and_its_number_at_the_end() {
        for kind in [Kind::Esp, Kind::Gre, Kind::WireGuard] {
            let mut keys = HashSet::new();
            for tunnel in 0..KEYS {
                let frame = kind.frame([2; 6], tunnel, 7);
                let packet = parse(&mut SliceCursor::new(&frame)).unwrap();
                assert_eq!(Group::of(packet.class), Some(kind.group()));
                keys.insert((packet.class, packet.key));
                let tail = [tunnel.to_be_bytes(), 7u32.to_be_bytes()].concat();
                assert!(frame.ends_with(&tail), "{kind:?}");
            }
            assert_eq!(keys.len(), KEYS as usize, "{kind:?}");
        }
    }

    #[test]
    fn what_is_missing_is_not_out_of_order_and_what_comes_later_or_twice_is() {
        for (numbers, disordered) in [
            (&[0, 1, 2, 3][..], 0),
            (&[0, 2, 3], 0),
            (&[0, 2, 1, 3], 1),
            (&[0, 1, 1], 1),
        ] {
            let mut received = Received::default();
            for number in numbers {
                received.note(5, *number);
                received.note(6, 0);
            }
            let others = numbers.len() as u64 - 1;
            assert_eq!(received.disordered, disordered + others, "{numbers:?}");
        }
    }
}

//! Many datagrams per second from addresses that are not ours, on a link that is.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::NetNs;
use crate::sys::PacketSocket;

const BATCH: usize = 64;
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Where a flood goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Hardware address of the device that receives it.
    pub hardware: [u8; 6],
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// The UDP port.
    pub port: u16,
}

/// The hardware address of a device in `ns`.
///
/// # Errors
/// There is no such device.
pub fn hardware_address(ns: &NetNs, device: &str) -> Result<[u8; 6]> {
    let json = ns.run("ip", ["-j", "link", "show", "dev", device])?;
    let links: serde_json::Value = serde_json::from_str(&json)?;
    let text = links[0]["address"].as_str().context("no link address")?;
    let bytes = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<Vec<u8>, _>>()?;
    <[u8; 6]>::try_from(bytes).map_err(|_| anyhow!("{text} is not an Ethernet address"))
}

/// An Ethernet frame with one UDP datagram over IPv4, its UDP checksum left out (0, as IPv4 allows).
#[must_use]
pub fn frame(target: &Target, source: Ipv4Addr, source_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = target.hardware.to_vec();
    frame.extend([2, 0, 0, 0, 0, 2]);
    frame.extend([0x08, 0x00]);
    let length = IPV4_HEADER + UDP_HEADER + payload.len();
    let mut ip = vec![0x45, 0];
    ip.extend((length as u16).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(source.octets());
    ip.extend(target.address.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend(source_port.to_be_bytes());
    frame.extend(target.port.to_be_bytes());
    frame.extend(((UDP_HEADER + payload.len()) as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A running flood; it ends when dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    started: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends `frames` in turn, again and again, `rate` per second, out of `device` in `ns`.
    ///
    /// # Errors
    /// The device cannot be opened.
    pub fn start(ns: &NetNs, device: &str, frames: Vec<Vec<u8>>, rate: u64) -> Result<Flood> {
        let socket = ns.within(|| {
            PacketSocket::open(device).with_context(|| format!("packet socket on {device}"))
        })?;
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (its_stop, its_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let started = Instant::now();
        let thread = thread::spawn(move || {
            let batches: Vec<&[Vec<u8>]> = frames.chunks(BATCH).collect();
            let mut turn = batches.iter().cycle();
            while !its_stop.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
                let done = its_sent.load(Ordering::Relaxed);
                if done >= due {
                    // The pace is what is asked for here, not an event.
                    thread::sleep(Duration::from_micros(500));
                    continue;
                }
                let Some(batch) = turn.next() else { break };
                if let Ok(count) = socket.send(batch) {
                    its_sent.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        });
        Ok(Flood {
            stop,
            sent,
            started,
            thread: Some(thread),
        })
    }

    /// Frames sent so far, and the time since the beginning.
    #[must_use]
    pub fn progress(&self) -> (u64, Duration) {
        (self.sent.load(Ordering::Relaxed), self.started.elapsed())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_of_a_header_that_holds_it_is_zero() {
        // RFC 1071 section 3 example, then its complement appended.
        let mut bytes = vec![0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
        let sum = checksum(&bytes);
        bytes.extend(sum.to_be_bytes());
        assert_eq!(checksum(&bytes), 0);
    }
}

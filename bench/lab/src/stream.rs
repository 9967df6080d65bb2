//! TCP transfers whose every byte is checked.
//!
//! The sender writes a pseudo-random stream that is a function of a seed and the position; the
//! receiver computes the same stream and compares. A lost, doubled, swapped or changed byte is
//! found with its position.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::NetNs;

const CHUNK: usize = 64 * 1024;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes per second, or as fast as it goes.
    pub rate: Option<u64>,
    /// Chooses the stream.
    pub seed: u64,
    /// Nothing moves for this long: the transfer has failed.
    pub stall: Duration,
}

impl Plan {
    /// `bytes` as fast as they go; a pause of 30 s is a failure.
    #[must_use]
    pub fn bulk(bytes: u64) -> Plan {
        Plan {
            bytes,
            rate: None,
            seed: 0x5eed ^ bytes,
            stall: Duration::from_secs(30),
        }
    }

    /// `rate` bytes per second for `time`.
    #[must_use]
    pub fn paced(rate: u64, time: Duration) -> Plan {
        Plan {
            rate: Some(rate),
            ..Plan::bulk((rate as f64 * time.as_secs_f64()) as u64)
        }
    }
}

/// What arrived, all of it as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Bytes received and found right.
    pub bytes: u64,
    /// From the first byte to the last.
    pub time: Duration,
    /// The longest pause between two reads.
    pub longest_pause: Duration,
    /// CRC-32 over all bytes received.
    pub checksum: u32,
}

impl Report {
    /// Mean rate, bits per second.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.time.as_secs_f64().max(1e-9)
    }
}

/// The stream: 8 bytes per step of SplitMix64, in order.
#[derive(Clone, Debug)]
pub struct Pattern {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Pattern {
    /// From the beginning.
    #[must_use]
    pub fn new(seed: u64) -> Pattern {
        Pattern {
            state: seed,
            word: [0; 8],
            used: 8,
        }
    }

    fn next_word(&mut self) -> [u8; 8] {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }

    /// Fills `out` with the next bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        let left = out.len().min(self.word.len() - self.used);
        let (begun, rest) = out.split_at_mut(left);
        begun.copy_from_slice(&self.word[self.used..self.used + left]);
        self.used += left;
        let (words, end) = rest.as_chunks_mut();
        for word in words {
            *word = self.next_word();
        }
        if !end.is_empty() {
            self.word = self.next_word();
            self.used = end.len();
            end.copy_from_slice(&self.word[..self.used]);
        }
    }
}

/// Sends the stream, then ends it.
///
/// # Errors
/// The connection fails or stalls.
pub fn send(mut stream: &TcpStream, plan: &Plan) -> Result<()> {
    stream.set_write_timeout(Some(plan.stall))?;
    let mut pattern = Pattern::new(plan.seed);
    let mut chunk = vec![0; CHUNK];
    let start = Instant::now();
    let mut sent = 0;
    while sent < plan.bytes {
        let mut length = CHUNK.min(usize::try_from(plan.bytes - sent).unwrap_or(CHUNK));
        if let Some(rate) = plan.rate {
            // A twentieth of a second at a time: the pace of the stream is what is asked for here.
            length = length.min(usize::try_from(rate / 20).unwrap_or(CHUNK).max(1));
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        pattern.fill(&mut chunk[..length]);
        stream
            .write_all(&chunk[..length])
            .with_context(|| format!("after {sent} bytes"))?;
        sent += length as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

/// Receives the stream and compares each byte.
///
/// # Errors
/// A byte differs, the stream is too short or too long, or it stalls.
pub fn receive(mut stream: &TcpStream, plan: &Plan) -> Result<Report> {
    stream.set_read_timeout(Some(plan.stall))?;
    let mut pattern = Pattern::new(plan.seed);
    let (mut chunk, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut received = 0_u64;
    let mut checksum = crc32fast::Hasher::new();
    let mut first = None;
    let mut last = Instant::now();
    let mut longest_pause = Duration::ZERO;
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("after {received} bytes")),
        };
        let now = Instant::now();
        if length == 0 {
            break;
        }
        if first.is_some() {
            longest_pause = longest_pause.max(now - last);
        }
        first.get_or_insert(now);
        last = now;
        pattern.fill(&mut expected[..length]);
        if chunk[..length] != expected[..length] {
            let at = (0..length)
                .find(|at| chunk[*at] != expected[*at])
                .unwrap_or(0);
            bail!("byte {} differs from what was sent", received + at as u64);
        }
        checksum.update(&chunk[..length]);
        received += length as u64;
    }
    ensure!(
        received == plan.bytes,
        "{received} bytes arrived of {}",
        plan.bytes
    );
    Ok(Report {
        bytes: received,
        time: last - first.unwrap_or(last),
        longest_pause,
        checksum: checksum.finalize(),
    })
}

/// Sends `plan` from one namespace to `address` in another.
///
/// # Errors
/// See [`send`] and [`receive`].
pub fn transfer(from: &NetNs, to: &NetNs, address: SocketAddr, plan: &Plan) -> Result<Report> {
    let listener = to.listen(address)?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (stream, _) = accept(&listener, plan.stall)?;
            receive(&stream, plan)
        });
        let sent = from
            .connect(address, plan.stall)
            .and_then(|stream| send(&stream, plan));
        let received = match receiver.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // The receiver's finding is the more telling one.
        let report = received.with_context(|| format!("receiving at {address}"))?;
        sent.with_context(|| format!("sending to {address}"))?;
        Ok(report)
    })
}

/// Accepts one connection within `timeout`.
///
/// # Errors
/// Nobody connected.
pub fn accept(listener: &TcpListener, timeout: Duration) -> Result<(TcpStream, SocketAddr)> {
    use std::os::fd::AsRawFd;
    let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    ensure!(
        crate::sys::wait_readable(listener.as_raw_fd(), wait)?,
        "nobody connected within {timeout:?}"
    );
    Ok(listener.accept()?)
}

/// Sends `plan` to an echo service at `address` and compares what comes back: each byte has
/// crossed both ways.
///
/// # Errors
/// See [`send`] and [`receive`].
pub fn round_trip(from: &NetNs, address: SocketAddr, plan: &Plan) -> Result<Report> {
    let stream = from.connect(address, plan.stall)?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&stream, plan));
        let received = receive(&stream, plan);
        if received.is_err() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let sent = match sender.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let report = received.with_context(|| format!("echo of {address}"))?;
        sent.with_context(|| format!("sending to {address}"))?;
        Ok(report)
    })
}

/// Answers one connection with what it sends.
///
/// # Errors
/// The connection fails, or nothing moves for as long as `stall`.
pub fn echo(mut stream: &TcpStream, stall: Duration) -> Result<()> {
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        stream.write_all(&chunk[..length])?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_loopback(send_plan: Plan, receive_plan: Plan) -> Result<Report> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::scope(|scope| {
            scope.spawn(move || {
                let stream = TcpStream::connect(address)?;
                send(&stream, &send_plan)
            });
            let (stream, _) = accept(&listener, Duration::from_secs(60))?;
            receive(&stream, &receive_plan)
        })
    }

    #[test]
    fn a_stream_is_the_same_in_whatever_pieces() {
        let mut whole = [0; 100];
        Pattern::new(7).fill(&mut whole);
        // SplitMix64's first word for this seed.
        assert_eq!(whole[..8], 7_191_089_600_892_374_487_u64.to_le_bytes());
        for piece in 1..30 {
            let mut pattern = Pattern::new(7);
            let mut pieces = [0; 100];
            for part in pieces.chunks_mut(piece) {
                pattern.fill(part);
            }
            assert_eq!(pieces, whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_stream_arrives_whole() {
        let plan = Plan::bulk(300_001);
        let report = over_loopback(plan, plan).unwrap();
        assert_eq!(report.bytes, 300_001);
    }

    #[test]
    fn another_stream_is_told_apart_at_its_first_byte() {
        let other = Plan {
            seed: 1,
            ..Plan::bulk(1000)
        };
        let error = over_loopback(other, Plan::bulk(1000)).unwrap_err();
        assert!(error.to_string().contains("byte 0 differs"), "{error}");
    }

    #[test]
    fn a_short_stream_is_an_error() {
        let short = Plan {
            bytes: 999,
            ..Plan::bulk(1000)
        };
        let error = over_loopback(short, Plan::bulk(1000)).unwrap_err();
        assert!(
            error.to_string().contains("999 bytes arrived of 1000"),
            "{error}"
        );
    }

    #[test]
    fn a_pace_is_kept() {
        let plan = Plan::paced(200_000, Duration::from_millis(500));
        let begin = Instant::now();
        let report = over_loopback(plan, plan).unwrap();
        assert_eq!(report.bytes, 100_000);
        // The last piece is due then. When the first is read is not the sender's to say.
        assert!(begin.elapsed() >= Duration::from_millis(450));
    }
}

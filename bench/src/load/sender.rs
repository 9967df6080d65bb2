//! Sends trains of packets at a rate.
//!
//! ```text
//! probe u64 │ sequence u64 │ nanoseconds since the probe began u64 │ zeros      (little-endian)
//! ```
//!
//! A train is one call's worth of equal packets (`UDP_SEGMENT`), so that the generator is cheaper
//! than what it measures. The stack cuts it up where the device does not take it whole.

use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::mix::Mix;
use super::schedule::Schedule;

/// Bytes of the header.
pub const HEADER: usize = 24;
/// Trains of one call.
const BATCH: usize = 16;

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// How long it took.
    pub time: Duration,
}

/// Packets as they are sent.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Their sizes.
    pub mix: Mix,
    /// Packets of one train.
    pub train: u8,
    /// Packets per second.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
}

/// Sends at the rate for the time; the socket is connected.
///
/// # Errors
/// The kernel does not take a packet for another reason than that there are too many.
pub fn send(socket: &UdpSocket, traffic: Traffic, probe: u64) -> Result<Sent> {
    let train = usize::from(traffic.train);
    let mut schedule = Schedule::new(traffic.rate / train as f64);
    let mut buffers = vec![vec![0; traffic.mix.data_max() * train]; BATCH];
    let (mut trains, mut sequence) = (0, 0_u64);
    let began = Instant::now();
    loop {
        let now = began.elapsed();
        if now >= traffic.time {
            return Ok(Sent {
                packets: sequence,
                time: now,
            });
        }
        let mut due = schedule.take(now);
        if due == 0 {
            // The pace is what is asked for here, not an event.
            std::thread::sleep(schedule.pause());
        }
        while due > 0 {
            let count = due.min(BATCH);
            let mut sizes = [0; BATCH];
            for (at, buffer) in buffers[..count].iter_mut().enumerate() {
                let size = traffic.mix.data(trains + at);
                sizes[at] = size;
                for packet in buffer.chunks_exact_mut(size).take(train) {
                    packet[..8].copy_from_slice(&probe.to_le_bytes());
                    packet[8..16].copy_from_slice(&sequence.to_le_bytes());
                    packet[16..HEADER].copy_from_slice(&(now.as_nanos() as u64).to_le_bytes());
                    sequence += 1;
                }
            }
            call(socket, &buffers[..count], &sizes, train)?;
            trains += count;
            due -= count;
        }
    }
}

/// Sends each buffer's first `train` packets of its size.
fn call(
    socket: &UdpSocket,
    buffers: &[Vec<u8>],
    sizes: &[usize; BATCH],
    train: usize,
) -> Result<()> {
    // SAFETY: all of them are plain data, for which zeros are a value.
    let (mut iovecs, mut messages, mut controls): (
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
        [[u64; 3]; BATCH],
    ) = unsafe { mem::zeroed() };
    for (at, buffer) in buffers.iter().enumerate() {
        iovecs[at] = libc::iovec {
            iov_base: buffer.as_ptr().cast_mut().cast(),
            iov_len: sizes[at] * train,
        };
        let header = &mut messages[at].msg_hdr;
        header.msg_iov = &raw mut iovecs[at];
        header.msg_iovlen = 1;
        if train > 1 {
            header.msg_control = controls[at].as_mut_ptr().cast();
            // SAFETY: `controls` has room for one message with two bytes, aligned, as CMSG_SPACE
            // says; the header points at it.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(2) as usize;
                let message = libc::CMSG_FIRSTHDR(header);
                (*message).cmsg_level = libc::SOL_UDP;
                (*message).cmsg_type = libc::UDP_SEGMENT;
                (*message).cmsg_len = libc::CMSG_LEN(2) as usize;
                libc::CMSG_DATA(message)
                    .cast::<u16>()
                    .write_unaligned(sizes[at] as u16);
            }
        }
    }
    let mut rest = &mut messages[..buffers.len()];
    while !rest.is_empty() {
        // SAFETY: the headers, and what they point at, live as long as the call.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
        let taken = if sent < 0 {
            let error = std::io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => 0,
                // A full queue: those are lost, as they would be behind it.
                Some(libc::ENOBUFS | libc::EAGAIN) => 1,
                _ => bail!("cannot send: {error}"),
            }
        } else {
            sent as usize
        };
        rest = &mut rest[taken..];
    }
    Ok(())
}

//! Counts what arrives, by sequence.

use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::sender::HEADER;

/// Datagrams of one call, each with room for what GRO puts together.
const BATCH: usize = 16;
const DATAGRAM_MAX: usize = 65_536;
/// What has not come for this long after all was sent is lost.
const QUIET: Duration = Duration::from_millis(200);
/// The last that is waited for at all.
const LATE_MAX: Duration = Duration::from_secs(3);
/// Total of a sender that still sends.
pub const SENDING: u64 = u64::MAX;

/// What arrived.
#[derive(Debug, Default)]
pub struct Received {
    /// Packets, each once.
    pub packets: u64,
    /// Bytes that they carry.
    pub bytes: u64,
    seen: Vec<u64>,
}

impl Received {
    /// Takes note of one packet of the probe; others are from an earlier one.
    fn note(&mut self, packet: &[u8], probe: u64) {
        let Some((header, _)) = packet.split_first_chunk::<HEADER>() else {
            return;
        };
        let [of, sequence, _] = [0, 8, 16].map(|at| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        });
        if of != probe {
            return;
        }
        let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.packets += 1;
            self.bytes += packet.len() as u64;
        }
    }
}

/// Receives until all of `total` have come, or until nothing comes any more after `total` is known.
///
/// # Errors
/// The socket fails.
pub fn receive(socket: &UdpSocket, probe: u64, total: &AtomicU64) -> Result<Received> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut buffers = vec![vec![0; DATAGRAM_MAX]; BATCH];
    let mut received = Received::default();
    let (mut last, mut ended) = (Instant::now(), None);
    loop {
        let before = received.packets;
        call(socket, &mut buffers, |packet| received.note(packet, probe))?;
        if received.packets > before {
            last = Instant::now();
        }
        let total = total.load(Ordering::Acquire);
        if total != SENDING {
            let ended = ended.get_or_insert_with(Instant::now);
            let quiet = last.max(*ended).elapsed() >= QUIET;
            if received.packets >= total || quiet || ended.elapsed() >= LATE_MAX {
                return Ok(received);
            }
        }
    }
}

/// One call; `each` gets each packet.
fn call(socket: &UdpSocket, buffers: &mut [Vec<u8>], mut each: impl FnMut(&[u8])) -> Result<()> {
    // SAFETY: all of them are plain data, for which zeros are a value.
    let (mut iovecs, mut messages, mut controls): (
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
        [[u64; 8]; BATCH],
    ) = unsafe { mem::zeroed() };
    for (at, buffer) in buffers.iter_mut().enumerate() {
        iovecs[at] = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let header = &mut messages[at].msg_hdr;
        header.msg_iov = &raw mut iovecs[at];
        header.msg_iovlen = 1;
        header.msg_control = controls[at].as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&controls[at]);
    }
    // SAFETY: the headers, and what they point at, live as long as the call.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            buffers.len() as u32,
            libc::MSG_WAITFORONE,
            std::ptr::null_mut(),
        )
    };
    if count < 0 {
        let error = std::io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(()),
            _ => bail!("cannot receive: {error}"),
        };
    }
    for (message, buffer) in messages[..count as usize].iter().zip(buffers) {
        let whole = &buffer[..(message.msg_len as usize).min(DATAGRAM_MAX)];
        let size = segment(&message.msg_hdr).unwrap_or(whole.len());
        whole.chunks(size.max(1)).for_each(&mut each);
    }
    Ok(())
}

/// The size of each packet that GRO put together.
fn segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has filled the control buffer that the header points at, and said how far.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        if message.is_null()
            || (*message).cmsg_level != libc::SOL_UDP
            || (*message).cmsg_type != libc::UDP_GRO
        {
            return None;
        }
        let size = libc::CMSG_DATA(message)
            .cast::<libc::c_int>()
            .read_unaligned();
        usize::try_from(size).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(probe: u64, sequence: u64) -> Vec<u8> {
        [probe, sequence, 0]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect()
    }

    #[test]
    fn each_sequence_counts_once_and_only_of_this_probe() {
        let mut received = Received::default();
        for (probe, sequence) in [(7, 0), (7, 64), (7, 0), (6, 1), (7, 3)] {
            received.note(&packet(probe, sequence), 7);
        }
        received.note(&[7; 5], 7);
        assert_eq!((received.packets, received.bytes), (3, 72));
    }
}

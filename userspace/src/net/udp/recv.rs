//! Receiving batches.

use super::{Source, wire};
use crate::net::sys::Messages;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// How often in one call to take an error that an ICMP message left behind and
/// ask again; each is told once.
const STALE_ERRORS_MAX: usize = 16;

/// What is known of one received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes in its buffer.
    pub len: usize,
    /// Bytes per packet: the buffer holds packets of this length, the last
    /// perhaps shorter. Never zero; equal to `len` (or 1 if that is 0) for a single packet.
    pub segment: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it came to; `None` only if the kernel did not tell.
    pub local: Option<Source>,
    /// The TOS byte or traffic class: its lower two bits are ECN.
    pub tos: u8,
    /// The datagram was longer than its buffer.
    pub truncated: bool,
}

impl Received {
    /// The packets in `buffer`, the one that was received into.
    pub fn packets<'b>(&self, buffer: &'b mut [u8]) -> impl Iterator<Item = &'b mut [u8]> {
        let len = self.len.min(buffer.len());
        buffer[..len].chunks_mut(self.segment)
    }
}

/// The state of receiving, made once per worker.
#[derive(Debug)]
pub struct RecvBatch {
    messages: Messages,
    received: usize,
}

impl RecvBatch {
    /// For at most `capacity` datagrams a call.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            messages: Messages::new(capacity),
            received: 0,
        }
    }

    /// The most datagrams that one call receives.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.messages.capacity()
    }

    pub(super) fn receive<B: AsMut<[u8]>>(
        &mut self,
        fd: BorrowedFd<'_>,
        buffers: &mut [B],
    ) -> io::Result<usize> {
        self.received = 0;
        if buffers.is_empty() {
            return Ok(0);
        }
        for _ in 0..STALE_ERRORS_MAX {
            match self.messages.receive(fd, buffers) {
                Ok(count) => {
                    self.received = count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if is_about_another_packet(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// What the latest call received into buffer `i`; `None` past the count
    /// that it gave, or if the kernel did not tell the sender.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<Received> {
        if i >= self.received {
            return None;
        }
        let from = wire::decode_name(self.messages.name(i))?;
        let ancillary = wire::decode_control(self.messages.control(i));
        let len = self.messages.len(i);
        let segment = match ancillary.segment {
            0 => len.max(1),
            size => size.min(len.max(1)),
        };
        Some(Received {
            len,
            segment,
            from,
            local: ancillary.local,
            tos: ancillary.tos,
            truncated: self.messages.flags(i) & libc::MSG_TRUNC != 0,
        })
    }
}

/// Errors that the kernel tells with a receive although they are about a
/// packet sent earlier, a signal, or a checksum: nothing is wrong with the socket.
fn is_about_another_packet(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENONET
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EMSGSIZE
                | libc::EACCES
                | libc::EPERM
        )
    )
}

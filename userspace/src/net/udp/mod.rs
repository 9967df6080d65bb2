//! The outer sockets.
//!
//! * [`UdpSockets`]: one per address family on one port, one pair per worker.
//! * [`RecvBatch`]: many datagrams a call, each perhaps many packets (GRO).
//! * [`UdpSocket::send`], [`UdpSocket::send_batch`]: bursts of equal packets
//!   as one datagram with a segment size (GSO), from the address that the peer
//!   spoke to, with the caller's TOS.
//!
//! Control messages and addresses are encoded here by hand, byte by byte
//! ([`wire`]), so that the `unsafe` is the system call alone.

mod bind;
mod recv;
mod send;
mod wire;

pub use bind::{BindError, UdpSockets};
pub use recv::{Received, RecvBatch};
pub use send::{GSO_BYTES_MAX, GSO_SEGMENTS_MAX, Outgoing, SendBatch, Sent, Stop};

use super::sys;
use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The local address and interface that a datagram came to, and from which the
/// answer is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// A local address.
    pub addr: IpAddr,
    /// Index of the interface; 0 leaves it to the routing table.
    pub ifindex: u32,
}

/// One outer socket of one address family.
///
/// Not shared between threads: what it learned about the path belongs to the
/// worker that sends by it.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    v6: bool,
    gso: RefCell<send::GsoState>,
}

impl UdpSocket {
    /// Whether this is the IPv6 socket.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.v6
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            v6: self.v6,
            gso: RefCell::default(),
        })
    }

    /// Sets the mark of packets sent from now on, for policy routing and
    /// firewalls; 0 for none.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN`.
    pub fn set_fwmark(&self, mark: u32) -> io::Result<()> {
        // The option is an unsigned number in an int's place.
        let mark = libc::c_int::from_ne_bytes(mark.to_ne_bytes());
        sys::set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)
    }

    /// Receives as many datagrams as wait, at most one into each of `buffers`
    /// (64 KiB each) and at most the batch's capacity; 0 if there are none.
    /// [`RecvBatch::get`] tells about each.
    ///
    /// What ICMP told about packets sent earlier is not an error of receiving.
    ///
    /// # Errors
    /// Out of memory, or a socket that is broken for good.
    pub fn recv_batch<B: AsMut<[u8]>>(
        &self,
        batch: &mut RecvBatch,
        buffers: &mut [B],
    ) -> io::Result<usize> {
        batch.receive(self.fd.as_fd(), buffers)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;

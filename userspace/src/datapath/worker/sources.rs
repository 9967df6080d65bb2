//! What a worker waits for, and how epoll names it.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::datapath::rings::Ring;
use crate::net::udp::{UdpSocket, UdpSockets};

pub(super) const WAKE: Token = Token(usize::MAX);
/// Tokens of rings begin here: interface index and queue below.
pub(super) const RING: usize = 1 << 62;
pub(super) const RING_QUEUE_BITS: u32 = 16;
pub(super) const SOURCES: usize = 4;
pub(super) const TUN: usize = 0;
pub(super) const V4: usize = 1;
pub(super) const V6: usize = 2;

pub(super) fn ring_token(ifindex: u32, queue: u32) -> Token {
    let queue = queue as usize & ((1 << RING_QUEUE_BITS) - 1);
    Token(RING | (ifindex as usize) << RING_QUEUE_BITS | queue)
}

pub(super) fn ring_of(token: usize) -> (u32, u32) {
    let ifindex = (token & !RING) >> RING_QUEUE_BITS;
    let queue = token & ((1 << RING_QUEUE_BITS) - 1);
    (ifindex as u32, queue as u32)
}

/// How a socket of the port at `at` is watched.
pub(super) fn registration(at: usize, socket: &UdpSocket, room: bool) -> (Token, Interest) {
    let kind = if socket.is_ipv6() { V6 } else { V4 };
    let interest = if room {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    };
    (Token(at * SOURCES + kind), interest)
}

pub(super) fn raw(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

pub(super) fn unwatch_ring(registry: &Registry, ring: &Ring) {
    if let Some(fd) = ring.raw_fd()
        && let Err(error) = registry.deregister(&mut SourceFd(&fd))
    {
        tracing::debug!(event = "xsk_unwatch_failed", %error, "an AF_XDP socket was not watched");
    }
}

pub(super) fn unwatch(registry: &Registry, sockets: &UdpSockets) {
    for socket in sockets.iter() {
        if let Err(error) = registry.deregister(&mut SourceFd(&raw(socket))) {
            tracing::debug!(event = "socket_unwatch_failed", %error, "a socket was not watched");
        }
    }
}

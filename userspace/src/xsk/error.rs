//! What can go wrong with AF_XDP, and what to do about it.

use super::Transfer;
use super::ring::Corrupt;
use std::io;

/// An AF_XDP socket or UMEM cannot be made, or stopped working.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    /// A size in the configuration is impossible.
    #[error("AF_XDP: {what} cannot be {value}; {remedy}")]
    Config {
        /// Which value.
        what: &'static str,
        /// What it was.
        value: u64,
        /// What it may be.
        remedy: &'static str,
    },
    /// The kernel was built without AF_XDP.
    #[error(
        "this kernel has no AF_XDP sockets; use one with CONFIG_XDP_SOCKETS (Linux 5.9 or later), or `--io udp`"
    )]
    NoKernelSupport,
    /// The process may not open AF_XDP sockets.
    #[error("AF_XDP needs the capability CAP_NET_RAW; run as root, or use `--io udp`")]
    NotPermitted,
    /// The UMEM is larger than the memory that the process may lock.
    #[error(
        "the kernel does not let this process lock {bytes} bytes for AF_XDP; raise `ulimit -l` (LimitMEMLOCK= in a systemd unit), or give it CAP_IPC_LOCK"
    )]
    MemoryLock {
        /// Size of the UMEM.
        bytes: u64,
    },
    /// Another AF_XDP socket has this queue.
    #[error(
        "queue {queue} of interface {ifindex} has another AF_XDP socket; stop the process that holds it (`ss --xdp` shows it), or use `--io udp`. A socket that was just closed holds its queue for a moment"
    )]
    Busy {
        /// Index of the interface.
        ifindex: u32,
        /// Its queue.
        queue: u32,
    },
    /// There is no such interface in this network namespace.
    #[error("there is no interface with index {ifindex} in this network namespace")]
    NoDevice {
        /// Index of the interface.
        ifindex: u32,
    },
    /// The driver has no zero-copy, or not for this MTU or multi-buffer.
    #[error(
        "queue {queue} of interface {ifindex} cannot do zero-copy AF_XDP: {source}; use copy mode, or give this interface a UMEM of its own"
    )]
    NoZeroCopy {
        /// Index of the interface.
        ifindex: u32,
        /// Its queue.
        queue: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The sockets of one UMEM have one transfer.
    #[error(
        "interface {ifindex} shares the UMEM of a socket in {transfer} mode, and has that mode; ask for no other, or give it a UMEM of its own"
    )]
    OtherTransfer {
        /// Index of the interface.
        ifindex: u32,
        /// That of the first socket.
        transfer: Transfer,
    },
    /// The kernel does not bind the socket to this queue.
    #[error(
        "the kernel does not bind an AF_XDP socket to queue {queue} of interface {ifindex}: {source}; `ethtool -l` shows how many queues it has{}", if *.multi_buffer { " (and multi-buffer needs Linux 6.6 or later)" } else { "" }
    )]
    Refused {
        /// Index of the interface.
        ifindex: u32,
        /// Its queue.
        queue: u32,
        /// Multi-buffer was asked for.
        multi_buffer: bool,
        /// The kernel's answer.
        source: io::Error,
    },
    /// One UMEM has as many sockets as it can.
    #[error(
        "a UMEM has at most 63 sockets, counting closed ones whose frames the kernel kept; make a new one"
    )]
    TooManySockets,
    /// The interface is down.
    #[error("the interface of an AF_XDP socket is down; set it up")]
    Down,
    /// The interface is gone, or moved to another network namespace.
    #[error("the interface of an AF_XDP socket is gone; open a new socket")]
    Gone,
    /// The kernel's end of a ring cannot be true.
    #[error("{0}; open a new socket")]
    Corrupt(#[from] Corrupt),
    /// Another system call failed.
    #[error("AF_XDP: {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl XskError {
    /// Makes an error of a failed system call.
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

//! A socket as its UMEM sees it.

use super::states::PortId;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Which socket of which UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortKey {
    pub(super) umem: u64,
    pub(super) id: PortId,
}

/// What a socket and its UMEM share: closed when the socket is dropped.
#[derive(Debug)]
pub(super) struct Port {
    key: PortKey,
    fd: Option<OwnedFd>,
    queue: (u32, u32),
}

impl Port {
    /// A socket bound to `queue` (interface index and queue).
    pub(super) const fn bound(key: PortKey, fd: OwnedFd, queue: (u32, u32)) -> Self {
        Self {
            key,
            fd: Some(fd),
            queue,
        }
    }

    /// Rings in memory.
    pub(super) const fn in_memory(key: PortKey) -> Self {
        Self {
            key,
            fd: None,
            queue: (0, 0),
        }
    }

    pub(super) const fn key(&self) -> PortKey {
        self.key
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(|fd| fd.as_fd())
    }

    pub(super) const fn queue(&self) -> (u32, u32) {
        self.queue
    }
}

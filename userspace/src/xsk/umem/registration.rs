//! The sockets of a UMEM, and how the kernel gets to know its memory.

use super::Umem;
use crate::xsk::port::{Port, PortKey};
use crate::xsk::states::{PORTS_MAX, PortId, State};
use crate::xsk::{XskError, sys};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};

impl Umem {
    /// A socket that is open, to share the UMEM with.
    pub(in crate::xsk) fn a_kernel_port(&self) -> Option<Arc<Port>> {
        let mut open = self.ports.iter().filter_map(Weak::upgrade);
        open.find(|port| port.fd().is_some())
    }

    /// Whether a socket of this UMEM has a queue.
    pub(in crate::xsk) fn has_queue(&self, ifindex: u32, queue: u32) -> bool {
        let mut open = self.ports.iter().filter_map(Weak::upgrade);
        open.any(|port| port.fd().is_some() && port.queue() == (ifindex, queue))
    }

    /// A name for a new socket: one that no socket has and that no frame remembers.
    pub(in crate::xsk) fn new_key(&self) -> Result<PortKey, XskError> {
        let mut used = self.ports.each_ref().map(|port| port.strong_count() > 0);
        for state in self.states.iter() {
            if let State::Filled(port) | State::Sent(port) = state {
                used[usize::from(port.0)] = true;
            }
        }
        let unused = (0..PORTS_MAX).find(|id| !used[usize::from(*id)]);
        Ok(PortKey {
            umem: self.id,
            id: PortId(unused.ok_or(XskError::TooManySockets)?),
        })
    }

    pub(in crate::xsk) fn add_port(&mut self, port: &Arc<Port>) {
        self.ports[usize::from(port.key().id.0)] = Arc::downgrade(port);
    }

    /// Takes back the frames of a socket that was never bound: the kernel never
    /// looked at its rings.
    pub(in crate::xsk) fn take_back_unbound(&mut self, port: PortId) {
        for index in 0..self.frames() {
            if self.states.change(index, State::Filled(port), State::Free) {
                self.free.push(index);
            }
        }
    }

    /// Registers the memory with the kernel, on the first socket that uses it.
    pub(in crate::xsk) fn register(&mut self, fd: BorrowedFd<'_>) -> Result<(), XskError> {
        self.plain = !self.config.tx_metadata;
        match self.try_register(fd) {
            // Kernels before 6.11 do not know the flag for metadata.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !self.plain => {
                self.plain = true;
                self.try_register(fd)
            }
            result => result,
        }
        .map_err(|source| match source.raw_os_error() {
            Some(libc::ENOBUFS) => XskError::MemoryLock {
                bytes: self.region.bytes(),
            },
            _ => XskError::Io {
                what: "register the UMEM",
                source,
            },
        })
    }

    fn try_register(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // 32 bytes for every kernel: those of 5.4 to 6.7 have padding where
        // `tx_metadata_len` is (zero here when not meant), older ones read the
        // first 24 bytes of what is longer.
        let registration = libc::xdp_umem_reg {
            addr: self.region.address(),
            len: self.region.bytes(),
            chunk_size: self.config.frame_size,
            headroom: self.config.headroom,
            flags: if self.plain {
                0
            } else {
                libc::XDP_UMEM_TX_METADATA_LEN
            },
            tx_metadata_len: self.tx_metadata_len() as u32,
        };
        sys::set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)
    }
}

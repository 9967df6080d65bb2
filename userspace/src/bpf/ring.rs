//! The XDP program that takes every frame of a queue into its AF_XDP socket.

use super::{BpfError, Link, Mode, embedded};
use aya::Ebpf;
use aya::maps::XskMap;
use aya::programs::Xdp;
use ringtun_common::ring::{RING_PROGRAM, RING_SOCKETS_MAP};
use std::os::fd::{AsFd as _, BorrowedFd};

/// The loaded program and its sockets, for measuring and testing rings alone.
#[derive(Debug)]
pub struct RingProgram {
    ebpf: Ebpf,
}

impl RingProgram {
    /// Loads the embedded object into the kernel.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        let object = embedded().ok_or(BpfError::NotEmbedded)?;
        let mut this = Self {
            ebpf: Ebpf::load(object)?,
        };
        let program: &mut Xdp = this
            .ebpf
            .program_mut(RING_PROGRAM)
            .ok_or(BpfError::Missing(RING_PROGRAM))?
            .try_into()?;
        program.load()?;
        Ok(this)
    }

    /// Puts the program on an interface of this thread's network namespace.
    ///
    /// # Errors
    /// See [`BpfError::Busy`] and [`BpfError::Attach`].
    pub fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        let program: &Xdp = self
            .ebpf
            .program(RING_PROGRAM)
            .ok_or(BpfError::Missing(RING_PROGRAM))?
            .try_into()?;
        Link::create(program.fd()?.as_fd(), ifindex, mode)
    }

    /// Gives the frames of receive queue `queue` to the AF_XDP socket `socket`,
    /// which is bound to that queue. Closing the socket takes it out.
    ///
    /// # Errors
    /// The queue is beyond the map, or the kernel refuses the socket.
    pub fn insert(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        Ok(self.sockets()?.set(queue, socket, 0)?)
    }

    /// Passes the frames of receive queue `queue` from now on.
    ///
    /// # Errors
    /// There is no socket.
    pub fn remove(&mut self, queue: u32) -> Result<(), BpfError> {
        Ok(self.sockets()?.unset(queue)?)
    }

    fn sockets(&mut self) -> Result<XskMap<&mut aya::maps::MapData>, BpfError> {
        let map = self
            .ebpf
            .map_mut(RING_SOCKETS_MAP)
            .ok_or(BpfError::Missing(RING_SOCKETS_MAP))?;
        Ok(XskMap::try_from(map)?)
    }
}

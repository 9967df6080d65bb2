//! The XDP program that takes every frame of a queue into its AF_XDP socket.

use super::object::{Object, absent_is_fine};
use super::{BpfError, Link, Mode};
use aya::maps::{MapData, XskMap};
use ringtun_common::ring::{RING_PROGRAM, RING_SOCKETS_MAP};
use std::fmt;
use std::os::fd::BorrowedFd;

/// The loaded program and its sockets, for measuring and testing rings alone.
pub struct RingProgram {
    object: Object,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for RingProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingProgram").finish_non_exhaustive()
    }
}

impl RingProgram {
    /// Loads the embedded object into the kernel.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        let mut object = Object::load(RING_PROGRAM)?;
        Ok(Self {
            sockets: object.take(RING_SOCKETS_MAP)?,
            object,
        })
    }

    /// Puts the program on an interface of this thread's network namespace.
    ///
    /// # Errors
    /// See [`BpfError::Busy`] and [`BpfError::Attach`].
    pub fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        self.object.attach(ifindex, mode)
    }

    /// Gives the frames of receive queue `queue` to the AF_XDP socket `socket`,
    /// which is bound to that queue. Closing the socket takes it out.
    ///
    /// # Errors
    /// The queue is beyond the map, or the kernel refuses the socket.
    pub fn insert(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        Ok(self.sockets.set(queue, socket, 0)?)
    }

    /// Passes the frames of receive queue `queue` from now on.
    ///
    /// # Errors
    /// The queue is beyond the map.
    pub fn remove(&mut self, queue: u32) -> Result<(), BpfError> {
        absent_is_fine(self.sockets.unset(queue))
    }
}

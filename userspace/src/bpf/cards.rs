//! What a program knows of the network cards that carry it.

use super::object::{Object, absent_is_fine};
use super::seats::Seats;
use super::{BpfError, Link, Mode};
use aya::maps::{MapData, XskMap};
use ringtun_common::tables::{INTERFACE_SEATS_MAP, INTERFACES_MAP, Interface, SOCKETS_MAP};
use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// A program that hands frames to AF_XDP sockets.
pub trait CardProgram {
    /// Puts the program on an interface of this thread's network namespace.
    ///
    /// # Errors
    /// See [`BpfError::Busy`] and [`BpfError::Attach`].
    fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError>;

    /// What it knows of the cards.
    fn cards(&mut self) -> &mut Cards;
}

/// Interfaces and sockets of one program.
pub struct Cards {
    interfaces: Seats<u32, Interface>,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for Cards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cards").finish_non_exhaustive()
    }
}

impl Cards {
    pub(super) fn new(object: &mut Object) -> Result<Self, BpfError> {
        Ok(Self {
            interfaces: Seats::new(object, INTERFACES_MAP, INTERFACE_SEATS_MAP)?,
            sockets: object.take(SOCKETS_MAP)?,
        })
    }

    /// Tells the program what it needs to know of an interface that carries it.
    ///
    /// # Errors
    /// There are [`INTERFACES_MAX`](ringtun_common::tables::INTERFACES_MAX) others.
    pub fn set_interface(&mut self, ifindex: u32, interface: Interface) -> Result<(), BpfError> {
        self.interfaces.insert(ifindex, interface)
    }

    /// Forgets an interface: nothing that comes in by it goes to a socket any more.
    ///
    /// # Errors
    /// The kernel's; it is none if the interface was not known.
    pub fn remove_interface(&mut self, ifindex: u32) -> Result<(), BpfError> {
        self.interfaces.remove(ifindex)
    }

    /// Frames for place `index` go to this AF_XDP socket, until it is closed.
    ///
    /// # Errors
    /// The socket has no receive ring, or `index` is past the end of the map.
    pub fn set_socket(&mut self, index: u32, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        Ok(self.sockets.set(index, socket.as_raw_fd(), 0)?)
    }

    /// Frames for place `index` pass to the kernel.
    ///
    /// # Errors
    /// The kernel's; it is none if the place was empty.
    pub fn remove_socket(&mut self, index: u32) -> Result<(), BpfError> {
        absent_is_fine(self.sockets.unset(index))
    }
}

//! A netlink socket for one question at a time.

use super::wire::{self, Attribute, malformed};
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;

/// Bytes of the longest answer that is read; longer than any message about one
/// device without its counters and virtual functions.
const ANSWER_MAX: usize = 32 * 1024;
/// The kernel's port number.
const KERNEL: u32 = 0;

/// A socket of the calling thread's namespace.
pub(super) struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Asker {
    /// Opens a socket of a netlink protocol (`NETLINK_ROUTE`, `NETLINK_GENERIC`).
    pub fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        // The kernel answers before `send` returns: there is nothing to wait for.
        socket.set_non_blocking(true)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; ANSWER_MAX],
        })
    }

    /// Asks, and gives what follows the netlink header of the answer.
    ///
    /// Errors with a number are the kernel's answers.
    pub fn ask(
        &mut self,
        kind: u16,
        answer_kind: u16,
        fixed: &[u8],
        attributes: &[Attribute<'_>],
    ) -> io::Result<&[u8]> {
        self.sequence += 1;
        let question = wire::question(kind, self.sequence, fixed, attributes);
        let kernel = SocketAddr::new(KERNEL, 0);
        self.socket.send_to(&question, &kernel, 0)?;
        let (len, from) = self
            .socket
            .recv_from(&mut &mut self.buffer[..], 0)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => malformed("there is none"),
                _ => error,
            })?;
        if from.port_number() != KERNEL {
            return Err(malformed("it came from another process"));
        }
        wire::answer(&self.buffer[..len], answer_kind, self.sequence)
    }
}

//! The receive ring: packets that the XDP program redirected here.

use super::frame::Frame;
use super::port::PortKey;
use super::ring::{Consumer, Corrupt};
use super::umem::Umem;

/// The program's end of the receive ring.
#[derive(Debug)]
pub struct Rx {
    ring: Consumer<super::ring::Desc>,
    key: PortKey,
    rejected: u64,
}

impl Rx {
    pub(super) const fn new(ring: Consumer<super::ring::Desc>, key: PortKey) -> Self {
        Self {
            ring,
            key,
            rejected: 0,
        }
    }

    /// Appends received frames to `frames`, as many as fit into what it has
    /// allocated; returns how many. A packet of several frames may be cut by the
    /// end of the batch ([`Frame::is_continued`]).
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    ///
    /// # Panics
    /// `umem` is not that of the socket.
    pub fn receive(&mut self, umem: &mut Umem, frames: &mut Vec<Frame>) -> Result<usize, Corrupt> {
        umem.check(self.key);
        let (before, room) = (frames.len(), frames.capacity() - frames.len());
        let mut entries = self.ring.peek(room.try_into().unwrap_or(u32::MAX))?;
        while let Some(desc) = entries.read() {
            match umem.received(self.key.id, &desc) {
                Some(frame) => frames.push(frame),
                None => self.rejected += 1,
            }
        }
        entries.release();
        Ok(frames.len() - before)
    }

    /// Descriptors that were no packet in a frame given to the kernel to
    /// receive into. Always zero, unless the kernel or somebody with its memory
    /// is broken.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

//! The fill ring: frames for the kernel to receive into.

use super::port::PortKey;
use super::ring::{Corrupt, Producer};
use super::umem::Umem;

/// The program's end of the fill ring.
#[derive(Debug)]
pub struct Fill {
    ring: Producer<u64>,
    key: PortKey,
}

impl Fill {
    pub(super) const fn new(ring: Producer<u64>, key: PortKey) -> Self {
        Self { ring, key }
    }

    /// Gives the kernel up to `n` free frames, as many as there are and fit;
    /// returns how many. A ring that runs empty drops packets.
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    ///
    /// # Panics
    /// `umem` is not that of the socket.
    pub fn refill(&mut self, umem: &mut Umem, n: u32) -> Result<u32, Corrupt> {
        umem.check(self.key);
        let mut slots = self.ring.reserve(n)?;
        while slots.room() > 0
            && let Some(address) = umem.fill(self.key.id)
        {
            let written = slots.write(address);
            debug_assert!(written.is_ok(), "there was room");
        }
        Ok(slots.submit())
    }

    /// Frames in the ring that the kernel has not taken yet.
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    pub fn pending(&mut self) -> Result<u32, Corrupt> {
        self.ring.pending()
    }

    /// Slots of the ring.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.ring.size()
    }

    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

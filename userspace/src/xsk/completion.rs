//! The completion ring: frames that the kernel has transmitted.

use super::port::PortKey;
use super::ring::{Consumer, Corrupt};
use super::umem::Umem;

/// The program's end of the completion ring.
#[derive(Debug)]
pub struct Completion {
    ring: Consumer<u64>,
    key: PortKey,
    rejected: u64,
}

impl Completion {
    pub(super) const fn new(ring: Consumer<u64>, key: PortKey) -> Self {
        Self {
            ring,
            key,
            rejected: 0,
        }
    }

    /// Frees up to `n` transmitted frames; returns how many.
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    ///
    /// # Panics
    /// `umem` is not that of the socket.
    pub fn complete(&mut self, umem: &mut Umem, n: u32) -> Result<u32, Corrupt> {
        umem.check(self.key);
        let mut entries = self.ring.peek(n)?;
        let mut freed = 0;
        while let Some(address) = entries.read() {
            if umem.completed(self.key.id, address) {
                freed += 1;
            } else {
                self.rejected += 1;
            }
        }
        entries.release();
        Ok(freed)
    }

    /// Addresses that were no frame given to the kernel to transmit. Always
    /// zero, unless the kernel or somebody with its memory is broken.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

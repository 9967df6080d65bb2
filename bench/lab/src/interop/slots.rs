//! At most so many at a time.

use std::sync::{Condvar, Mutex, PoisonError};

/// A number of slots.
pub(super) struct Slots {
    free: Mutex<usize>,
    changed: Condvar,
}

/// One of them, free again when dropped.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(super) fn new(free: usize) -> Slots {
        Slots {
            free: Mutex::new(free),
            changed: Condvar::new(),
        }
    }

    /// Waits for a free slot.
    pub(super) fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .changed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

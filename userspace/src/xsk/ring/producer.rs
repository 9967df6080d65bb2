//! The end of a ring that writes.

use super::memory::Words;
use super::{Corrupt, Descriptor};
use std::sync::atomic::{Ordering, fence};

/// The producing end: the program's of the fill and transmit rings.
#[derive(Debug)]
pub struct Producer<T: Descriptor> {
    words: Words<T>,
    /// The index that is published.
    next: u32,
    /// The consumer's index when last looked at: it can only have grown since.
    consumer: u32,
}

impl<T: Descriptor> Producer<T> {
    pub(super) fn new(words: Words<T>) -> Self {
        let next = words.producer(Ordering::Relaxed);
        Self {
            next,
            // As if the ring were full: the first reservation looks.
            consumer: next.wrapping_sub(words.size()),
            words,
        }
    }

    /// Slots of the ring.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.words.size()
    }

    /// Room for up to `n` entries, perhaps none. Nothing is visible to the
    /// consumer until [`Reservation::submit`].
    ///
    /// # Errors
    /// The consumer's index is ahead of the producer's.
    pub fn reserve(&mut self, n: u32) -> Result<Reservation<'_, T>, Corrupt> {
        let mut room = self.size() - self.next.wrapping_sub(self.consumer);
        if room < n {
            self.look()?;
            room = self.size() - self.next.wrapping_sub(self.consumer);
        }
        Ok(Reservation {
            room: room.min(n),
            written: 0,
            producer: self,
        })
    }

    /// Submitted entries that the consumer has not taken yet.
    ///
    /// # Errors
    /// The consumer's index is ahead of the producer's.
    pub fn pending(&mut self) -> Result<u32, Corrupt> {
        self.look()?;
        Ok(self.next.wrapping_sub(self.consumer))
    }

    /// The consumer asks for a call when there is something for it.
    ///
    /// Look after submitting. The kernel sets the flag without looking at the
    /// ring once more, so look again (or poll) before going to sleep.
    #[must_use]
    pub fn needs_wakeup(&self) -> bool {
        // Submitting is a store and this a load of another word: without a
        // fence the load could come first and miss a consumer that goes to sleep.
        fence(Ordering::SeqCst);
        self.words.needs_wakeup()
    }

    fn look(&mut self) -> Result<(), Corrupt> {
        let consumer = self.words.consumer(Ordering::Acquire);
        let claimed = self.next.wrapping_sub(consumer);
        if claimed > self.size() {
            return Err(Corrupt {
                claimed,
                size: self.size(),
            });
        }
        self.consumer = consumer;
        Ok(())
    }

    /// What only a broken other end would do.
    #[cfg(test)]
    pub(in crate::xsk) fn forge_consumer(&self, index: u32) {
        self.words.set_consumer(index, Ordering::Release);
    }

    /// Publishes an index that cannot be.
    pub(in crate::xsk) fn corrupt(&self) {
        let far = self.next.wrapping_add(1 << 31);
        self.words.set_producer(far, Ordering::Release);
    }

    /// Moves the published index without writing anything.
    #[cfg(test)]
    pub(in crate::xsk) fn forge_producer(&self, index: u32) {
        self.words.set_producer(index, Ordering::Release);
    }
}

/// Slots to write. What is not submitted never happened.
#[must_use = "dropping a reservation takes back what was written into it"]
#[derive(Debug)]
pub struct Reservation<'a, T: Descriptor> {
    producer: &'a mut Producer<T>,
    room: u32,
    written: u32,
}

impl<T: Descriptor> Reservation<'_, T> {
    /// Entries that can still be written.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.room - self.written
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// The entry, when all reserved slots are written.
    pub fn write(&mut self, entry: T) -> Result<(), T> {
        if self.written == self.room {
            return Err(entry);
        }
        let index = self.producer.next.wrapping_add(self.written);
        // SAFETY: `room` slots from `next` on are free by a consumer index that
        // was loaded with acquire, and only this end writes.
        unsafe { self.producer.words.write(index, entry) };
        self.written += 1;
        Ok(())
    }

    /// Lets the consumer have what was written; returns how many entries.
    pub fn submit(mut self) -> u32 {
        self.commit()
    }

    /// As [`Reservation::submit`]; the rest of the room stays reserved.
    pub(in crate::xsk) fn commit(&mut self) -> u32 {
        let written = std::mem::take(&mut self.written);
        self.room -= written;
        self.producer.next = self.producer.next.wrapping_add(written);
        self.producer
            .words
            .set_producer(self.producer.next, Ordering::Release);
        written
    }
}

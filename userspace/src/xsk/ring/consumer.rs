//! The end of a ring that reads.

use super::memory::Words;
use super::{Corrupt, Descriptor};
use std::sync::atomic::Ordering;

/// The consuming end: the program's of the receive and completion rings.
#[derive(Debug)]
pub struct Consumer<T: Descriptor> {
    words: Words<T>,
    /// The index that is published.
    next: u32,
    /// The producer's index when last looked at: it can only have grown since.
    producer: u32,
}

impl<T: Descriptor> Consumer<T> {
    pub(super) fn new(words: Words<T>) -> Self {
        let next = words.consumer(Ordering::Relaxed);
        Self {
            words,
            next,
            producer: next,
        }
    }

    /// Slots of the ring.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.words.size()
    }

    /// Up to `n` entries, perhaps none. They stay in the ring until
    /// [`Peeked::release`].
    ///
    /// # Errors
    /// The producer's index claims more entries than there are slots.
    pub fn peek(&mut self, n: u32) -> Result<Peeked<'_, T>, Corrupt> {
        let mut available = self.producer.wrapping_sub(self.next);
        if available < n {
            let producer = self.words.producer(Ordering::Acquire);
            available = producer.wrapping_sub(self.next);
            if available > self.size() {
                return Err(Corrupt {
                    claimed: available,
                    size: self.size(),
                });
            }
            self.producer = producer;
        }
        Ok(Peeked {
            available: available.min(n),
            read: 0,
            consumer: self,
        })
    }

    /// Publishes an index that cannot be.
    pub(in crate::xsk) fn corrupt(&self) {
        let far = self.next.wrapping_add(1 << 31);
        self.words.set_consumer(far, Ordering::Release);
    }

    /// Tells the producer whether it has to call after submitting.
    pub fn set_needs_wakeup(&mut self, needed: bool) {
        self.words.set_needs_wakeup(needed);
    }
}

/// Entries to read. What is not released will be there again.
#[must_use = "entries stay in the ring until they are released"]
#[derive(Debug)]
pub struct Peeked<'a, T: Descriptor> {
    consumer: &'a mut Consumer<T>,
    available: u32,
    read: u32,
}

impl<T: Descriptor> Peeked<'_, T> {
    /// Entries that can still be read.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.available - self.read
    }

    /// Reads the next entry.
    pub fn read(&mut self) -> Option<T> {
        if self.read == self.available {
            return None;
        }
        let index = self.consumer.next.wrapping_add(self.read);
        // SAFETY: `available` slots from `next` on are filled by a producer
        // index that was loaded with acquire, and this end alone gives them back.
        let entry = unsafe { self.consumer.words.read(index) };
        self.read += 1;
        Some(entry)
    }

    /// Gives the slots that were read back to the producer; returns how many.
    pub fn release(self) -> u32 {
        self.consumer.next = self.consumer.next.wrapping_add(self.read);
        self.consumer
            .words
            .set_consumer(self.consumer.next, Ordering::Release);
        self.read
    }
}

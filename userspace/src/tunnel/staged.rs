//! Packets that wait for a peer's handshake.

use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Packets that wait for one peer at most.
pub const MAX_STAGED: usize = 128;

/// Inner packets for a peer without a usable key, oldest first.
#[derive(Debug, Default)]
pub struct StagedQueue {
    packets: Mutex<VecDeque<Box<[u8]>>>,
    /// How many there are, for workers that ask with every super-packet and
    /// are not to take a lock for the answer "none".
    count: AtomicUsize,
}

impl StagedQueue {
    /// Adds a packet; the oldest is returned if there were 128 already.
    #[must_use = "the packet returned is dropped and counted"]
    pub fn push(&self, packet: Box<[u8]>) -> Option<Box<[u8]>> {
        let mut queue = self.lock();
        let oldest = if queue.len() >= MAX_STAGED {
            queue.pop_front()
        } else {
            None
        };
        queue.push_back(packet);
        self.count.store(queue.len(), Release);
        oldest
    }

    /// Takes the oldest.
    #[must_use]
    pub fn pop(&self) -> Option<Box<[u8]>> {
        let mut queue = self.lock();
        let oldest = queue.pop_front();
        self.count.store(queue.len(), Release);
        oldest
    }

    /// Takes all.
    #[must_use]
    pub fn take(&self) -> VecDeque<Box<[u8]>> {
        let mut queue = self.lock();
        self.count.store(0, Release);
        std::mem::take(&mut *queue)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Acquire)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<[u8]>>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_129_packets_is_given_back() {
        let queue = StagedQueue::default();
        for n in 0..MAX_STAGED {
            assert_eq!(queue.push(Box::new([n as u8])), None);
        }
        assert_eq!(queue.push(Box::new([128])).as_deref(), Some(&[0][..]));
        assert_eq!(queue.len(), 128);
        assert_eq!(queue.pop().as_deref(), Some(&[1][..]));
        assert_eq!(queue.len(), 127);
        let all = queue.take();
        assert!(all.iter().map(|p| p[0]).eq(2..=128));
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty());
    }
}

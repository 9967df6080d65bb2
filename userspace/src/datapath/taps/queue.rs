//! One capture: what it wants, and what waits for it.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::{Batch, Side, Taps, Wants};

/// Bytes that may wait for one capture, and a batch of each worker more: some
/// milliseconds of 10 Gbit/s.
pub(super) const QUEUE_BYTES: usize = 16 << 20;
/// Batches that may wait, however short they are.
pub(super) const QUEUE_BATCHES: usize = 8192;

/// Packets of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Copied for the capture.
    pub kept: u64,
    /// Not copied: there was no room.
    pub missed: u64,
}

#[derive(Debug)]
pub(super) struct Tap {
    pub(super) wants: Wants,
    queue: ArrayQueue<Batch>,
    bytes: AtomicUsize,
    kept: [AtomicU64; 2],
    missed: [AtomicU64; 2],
    /// Whoever takes the batches waits for the bell.
    asleep: AtomicBool,
    bell: Notify,
}

impl Tap {
    pub(super) fn new(wants: Wants) -> Self {
        Self {
            wants,
            queue: ArrayQueue::new(QUEUE_BATCHES),
            bytes: AtomicUsize::new(0),
            kept: Default::default(),
            missed: Default::default(),
            asleep: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(super) fn miss(&self, side: Side, packets: usize) {
        self.missed[side as usize].fetch_add(packets as u64, Relaxed);
    }

    /// Leaves a batch, or counts it as missed.
    pub(super) fn offer(&self, batch: Batch) {
        let (side, packets, memory) = (batch.side, batch.len(), batch.memory());
        // Before it can be taken, or the sum would fall below zero.
        self.bytes.fetch_add(memory, Relaxed);
        if self.queue.push(batch).is_err() {
            self.bytes.fetch_sub(memory, Relaxed);
            return self.miss(side, packets);
        }
        self.kept[side as usize].fetch_add(packets as u64, Relaxed);
        if self.asleep.swap(false, SeqCst) {
            self.bell.notify_one();
        }
    }
}

/// A capture under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Attached {
    taps: Arc<Taps>,
    tap: Arc<Tap>,
}

impl Attached {
    pub(super) const fn new(taps: Arc<Taps>, tap: Arc<Tap>) -> Self {
        Self { taps, tap }
    }

    /// The oldest batch.
    #[must_use]
    pub fn pop(&self) -> Option<Batch> {
        let batch = self.tap.queue.pop()?;
        self.tap.bytes.fetch_sub(batch.memory(), Relaxed);
        Some(batch)
    }

    /// Returns when there may be a batch.
    pub async fn wait(&self) {
        self.tap.asleep.store(true, SeqCst);
        // Whoever left a batch before that did not ring.
        if self.tap.queue.is_empty() {
            self.tap.bell.notified().await;
        }
        self.tap.asleep.store(false, Relaxed);
    }

    /// What was copied of a side so far, and what was not.
    #[must_use]
    pub fn counts(&self, side: Side) -> Counts {
        Counts {
            kept: self.tap.kept[side as usize].load(Relaxed),
            missed: self.tap.missed[side as usize].load(Relaxed),
        }
    }

    /// What was wanted.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.tap.wants
    }

    /// Lets no more packets in. Those that wait stay.
    pub fn close(&self) {
        self.taps.detach(&self.tap);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.close();
    }
}

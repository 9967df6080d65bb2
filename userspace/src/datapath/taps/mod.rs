//! Taps: copies of passing packets, for `ringtun capture`.
//!
//! ```text
//! worker ─ open ─ push, packet by packet ─▶ batch ─▶ bounded queue of each capture ─▶ control
//! ```
//!
//! While nobody captures, a tap costs one relaxed load per batch of packets. While
//! somebody does, a batch is one allocation and one place in a lock-free queue,
//! and at most one wake-up. What finds no room is counted and forgotten: nobody
//! waits for a reader.

mod batch;
mod queue;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};

pub use batch::{Batch, Kept, Link};
pub use queue::{Attached, Counts};
use queue::{QUEUE_BYTES, Tap};

use crate::crypto::PublicKey;
use crate::net::clock;
use crate::tunnel::cell::PeerCell;

/// Captures of one device at once.
pub const CAPTURES_MAX: usize = 4;

/// On which side a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Encrypted.
    Outer,
    /// Plaintext.
    Inner,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Outer, Self::Inner];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which way a packet goes, seen from its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Transmitted.
    Out,
}

/// Whose packets these are.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// This peer's.
    Peer(&'a PeerCell),
    /// Those of the peer that is at this address.
    At(SocketAddr),
    /// No peer's.
    Nobody,
}

/// What a capture is to hold.
#[derive(Clone, Debug)]
pub struct Wants {
    /// The encrypted side.
    pub outer: bool,
    /// The plaintext side.
    pub inner: bool,
    /// Bytes of a packet that are kept.
    pub snap: usize,
    /// One peer's packets only. Outside, what comes in is told by its address.
    /// A capture does not keep the keys of a peer that was removed.
    pub peer: Option<(PublicKey, Weak<PeerCell>)>,
}

impl Wants {
    const fn bits(&self) -> u8 {
        let outer = if self.outer { Side::Outer.bit() } else { 0 };
        let inner = if self.inner { Side::Inner.bit() } else { 0 };
        outer | inner
    }

    fn takes(&self, side: Side, who: Who<'_>) -> bool {
        if self.bits() & side.bit() == 0 {
            return false;
        }
        let Some((key, cell)) = &self.peer else {
            return true;
        };
        match who {
            Who::Peer(cell) => cell.public() == key,
            Who::At(addr) => {
                let endpoint = cell.upgrade().and_then(|cell| cell.endpoint.get());
                endpoint.is_some_and(|endpoint| endpoint.addr == addr)
            }
            Who::Nobody => false,
        }
    }
}

/// How much a batch will hold, so that its memory is got at once. A hint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Packets.
    pub packets: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// The captures of one device.
#[derive(Debug, Default)]
pub struct Taps {
    /// The sides that anybody captures.
    wanted: AtomicU8,
    list: ArcSwap<Vec<Arc<Tap>>>,
    changing: Mutex<()>,
}

impl Taps {
    /// Begins a capture. None if there are [`CAPTURES_MAX`] already.
    #[must_use]
    pub fn attach(self: &Arc<Self>, wants: Wants) -> Option<Attached> {
        let tap = Arc::new(Tap::new(wants));
        self.change(|list| {
            let room = list.len() < CAPTURES_MAX;
            if room {
                list.push(Arc::clone(&tap));
            }
            room
        })
        .then(|| Attached::new(Arc::clone(self), tap))
    }

    fn detach(&self, tap: &Arc<Tap>) {
        self.change(|list| list.retain(|t| !Arc::ptr_eq(t, tap)));
    }

    fn change<R>(&self, how: impl FnOnce(&mut Vec<Arc<Tap>>) -> R) -> R {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::clone(&self.list.load());
        let result = how(&mut list);
        let wanted = list.iter().fold(0, |bits, tap| bits | tap.wants.bits());
        self.list.store(Arc::new(list));
        self.wanted.store(wanted, Relaxed);
        result
    }

    /// Opens a batch of packets that pass now; `about` tells what they begin with
    /// and how many to expect. None if nobody wants them, which is one load.
    #[inline]
    #[must_use]
    pub fn open(
        &self,
        side: Side,
        direction: Direction,
        who: Who<'_>,
        about: impl FnOnce() -> (Link, Size),
    ) -> Option<Open> {
        if self.wanted.load(Relaxed) & side.bit() == 0 {
            return None;
        }
        self.open_wanted(side, direction, who, about())
    }

    #[cold]
    fn open_wanted(
        &self,
        side: Side,
        direction: Direction,
        who: Who<'_>,
        (link, size): (Link, Size),
    ) -> Option<Open> {
        let list = self.list.load();
        let time = clock::wall();
        let mut batches = [const { None }; CAPTURES_MAX];
        let mut any = false;
        for (slot, tap) in batches.iter_mut().zip(list.iter()) {
            if tap.wants.takes(side, who) {
                any = true;
                *slot = Some(Batch::new(side, direction, link, time));
            }
        }
        any.then_some(Open {
            list,
            batches,
            size,
        })
    }
}

/// Packets that are being copied, for every capture that wants them. They go to
/// the captures when this is dropped.
#[derive(Debug)]
#[must_use = "packets are to be pushed"]
pub struct Open {
    list: Guard<Arc<Vec<Arc<Tap>>>>,
    batches: [Option<Batch>; CAPTURES_MAX],
    size: Size,
}

impl Open {
    /// Copies a packet.
    pub fn push(&mut self, packet: &[u8]) {
        for (batch, tap) in self.batches.iter_mut().zip(self.list.iter()) {
            let Some(batch) = batch else { continue };
            if batch.is_empty() && tap.bytes() >= QUEUE_BYTES {
                tap.miss(batch.side, 1);
            } else {
                batch.push(packet, tap.wants.snap, self.size);
            }
        }
    }

    /// Copies packets of `segment` bytes, the last perhaps shorter.
    pub fn push_all(&mut self, packets: &[u8], segment: usize) {
        for packet in packets.chunks(segment.max(1)) {
            self.push(packet);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for (batch, tap) in self.batches.iter_mut().zip(self.list.iter()) {
            if let Some(batch) = batch.take().filter(|batch| !batch.is_empty()) {
                tap.offer(batch);
            }
        }
    }
}

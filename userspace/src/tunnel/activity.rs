//! When a peer was last heard and spoken to: what workers stamp and timers read.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use super::time::BootTime;

/// Stamps of authenticated traffic with one peer, handshakes included. Workers
/// write them once per batch; the control thread's timers look at them when
/// they expire, so that no timer is touched per packet.
#[derive(Debug, Default)]
pub struct Activity {
    sent: AtomicU64,
    received: AtomicU64,
    unanswered: AtomicU64,
    unacknowledged: AtomicU64,
    wanted: AtomicU64,
}

/// A stamp is a time plus one, so that zero means never.
fn stamp(now: BootTime) -> u64 {
    now.as_nanos().saturating_add(1)
}

fn read(cell: &AtomicU64) -> Option<BootTime> {
    cell.load(SeqCst).checked_sub(1).map(BootTime::from_nanos)
}

/// Sets a stamp that is not set; true if it was not.
fn begin(cell: &AtomicU64, now: BootTime) -> bool {
    cell.load(Relaxed) == 0
        && cell
            .compare_exchange(0, stamp(now), SeqCst, Relaxed)
            .is_ok()
}

/// Clears a stamp, writing only if it is set.
fn end(cell: &AtomicU64) {
    if cell.load(Relaxed) != 0 {
        cell.store(0, SeqCst);
    }
}

impl Activity {
    /// Something authenticated was sent. `data`: a packet, not a keepalive or
    /// handshake. True: an answer is awaited from now on, and was not before.
    pub(super) fn sent(&self, now: BootTime, data: bool) -> bool {
        self.sent.fetch_max(stamp(now), Relaxed);
        end(&self.unacknowledged);
        data && begin(&self.unanswered, now)
    }

    /// Something authenticated was received. True: we owe an answer from now
    /// on, and did not before.
    pub(super) fn received(&self, now: BootTime, data: bool) -> bool {
        self.received.fetch_max(stamp(now), Relaxed);
        end(&self.unanswered);
        data && begin(&self.unacknowledged, now)
    }

    /// A packet wants to be sent and cannot without a handshake.
    pub(super) fn wanted(&self, now: BootTime) {
        self.wanted.fetch_max(stamp(now), SeqCst);
    }

    /// When something authenticated was last sent or received.
    #[must_use]
    pub fn last(&self) -> Option<BootTime> {
        read(&self.sent).max(read(&self.received))
    }

    /// When something authenticated was last received.
    #[must_use]
    pub fn last_received(&self) -> Option<BootTime> {
        read(&self.received)
    }

    /// When something authenticated was last sent.
    #[must_use]
    pub fn last_sent(&self) -> Option<BootTime> {
        read(&self.sent)
    }

    /// Since when data was sent and nothing came back.
    #[must_use]
    pub fn unanswered_since(&self) -> Option<BootTime> {
        read(&self.unanswered)
    }

    /// Since when data was received and nothing was sent back.
    #[must_use]
    pub fn unacknowledged_since(&self) -> Option<BootTime> {
        read(&self.unacknowledged)
    }

    /// When a packet last had to wait for a handshake.
    #[must_use]
    pub fn last_wanted(&self) -> Option<BootTime> {
        read(&self.wanted)
    }

    /// Nothing is awaited or owed any more: the keys are gone.
    pub(super) fn reset(&self) {
        end(&self.unanswered);
        end(&self.unacknowledged);
    }

    pub(super) fn stop_awaiting(&self) {
        end(&self.unanswered);
    }

    pub(super) fn stop_owing(&self) {
        end(&self.unacknowledged);
    }
}

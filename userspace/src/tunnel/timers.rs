//! The timers of all peers: when the control thread must look at whom, and why.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::cell::PeerId;
use super::time::BootTime;

/// An initiation is sent again after this, plus jitter (paper section 6.1).
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Jitter of that is below this, so that two sides do not stay in step.
pub const REKEY_TIMEOUT_JITTER: Duration = Duration::from_millis(334);
/// Retransmissions before giving up: 90 s worth of them, counted as Linux
/// does, which sends 20 initiations in all.
pub const MAX_HANDSHAKE_ATTEMPTS: u32 = 90 / REKEY_TIMEOUT.as_secs() as u32;
/// Whoever received data and sent nothing for this long sends a keepalive.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever sent data and heard nothing for this long, plus jitter, starts a
/// new handshake.
pub const NEW_HANDSHAKE_TIMEOUT: Duration =
    Duration::from_secs(KEEPALIVE_TIMEOUT.as_secs() + REKEY_TIMEOUT.as_secs());
/// Keys are overwritten this long after the last session was made.
pub const ZERO_KEYS_AFTER: Duration = Duration::from_secs(3 * 180);

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerReason {
    /// No response to our initiation: send another, or give up.
    Retransmit,
    /// A handshake was wanted less than 5 s after the last message of one.
    Deferred,
    /// Data was sent and nothing came back.
    NewHandshake,
    /// Data was received and nothing was sent back.
    PassiveKeepalive,
    /// The configured keepalive interval has passed in silence.
    PersistentKeepalive,
    /// No new session for 540 s: overwrite all keys.
    ZeroKeys,
}

impl TimerReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Retransmit,
        Self::Deferred,
        Self::NewHandshake,
        Self::PassiveKeepalive,
        Self::PersistentKeepalive,
        Self::ZeroKeys,
    ];
}

/// At most one deadline per peer and reason.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(BootTime, PeerId, TimerReason)>,
    deadlines: HashMap<(PeerId, TimerReason), BootTime>,
}

impl Timers {
    pub(super) fn set(&mut self, peer: PeerId, reason: TimerReason, at: BootTime) {
        if let Some(old) = self.deadlines.insert((peer, reason), at) {
            self.queue.remove(&(old, peer, reason));
        }
        self.queue.insert((at, peer, reason));
    }

    pub(super) fn cancel(&mut self, peer: PeerId, reason: TimerReason) {
        if let Some(at) = self.deadlines.remove(&(peer, reason)) {
            self.queue.remove(&(at, peer, reason));
        }
    }

    pub(super) fn cancel_all(&mut self, peer: PeerId) {
        for reason in TimerReason::ALL {
            self.cancel(peer, reason);
        }
    }

    pub(super) fn is_set(&self, peer: PeerId, reason: TimerReason) -> bool {
        self.deadlines.contains_key(&(peer, reason))
    }

    pub(super) fn next(&self) -> Option<(BootTime, TimerReason)> {
        self.queue.first().map(|&(at, _, reason)| (at, reason))
    }

    /// Takes one timer that has expired.
    pub(super) fn pop_due(&mut self, now: BootTime) -> Option<(PeerId, TimerReason)> {
        let &(at, peer, reason) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.cancel(peer, reason);
        Some((peer, reason))
    }
}

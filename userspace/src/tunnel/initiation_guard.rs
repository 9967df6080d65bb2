//! Which initiations of a peer are answered: no replay, no flood.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::tai64n::Tai64n;
use super::time::BootTime;
use crate::drops::DropReason;

/// A peer's initiations are answered at least this far apart: 50 a second.
pub const MIN_INITIATION_INTERVAL: Duration = Duration::from_millis(20);

/// Judges the authentic initiations of one peer. Shared by the handshake
/// threads: of two copies of an initiation, one is answered.
#[derive(Debug, Default)]
pub(super) struct InitiationGuard(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    timestamp: Tai64n,
    at: Option<BootTime>,
}

impl InitiationGuard {
    /// Whether an initiation with this timestamp is to be answered now.
    ///
    /// # Errors
    /// [`DropReason::TimestampReplay`] if the timestamp is not greater than
    /// that of the last one answered; [`DropReason::InitiationFlood`] if that
    /// was less than 20 ms ago.
    pub(super) fn admit(&self, now: BootTime, timestamp: Tai64n) -> Result<(), DropReason> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timestamp <= last.timestamp {
            return Err(DropReason::TimestampReplay);
        }
        if last
            .at
            .is_some_and(|at| now.since(at) < MIN_INITIATION_INTERVAL)
        {
            return Err(DropReason::InitiationFlood);
        }
        *last = Last {
            timestamp,
            at: Some(now),
        };
        Ok(())
    }
}

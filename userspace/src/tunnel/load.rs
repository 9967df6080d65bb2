//! Whether handshakes arrive faster than they are answered.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::time::BootTime;

/// How long one is under load after the queue was last that long.
pub const LOAD_STICKS: Duration = Duration::from_secs(1);
/// Under load from this part of the queue on: one eighth, as Linux has it.
pub const LOAD_SHARE: usize = 8;

/// Says whether a handshake message must prove its source address first.
#[derive(Debug, Default)]
pub struct LoadGauge {
    /// Nanoseconds since boot; 0: never.
    until: AtomicU64,
}

impl LoadGauge {
    /// Whether we are under load, `queued` messages waiting in a queue for
    /// `capacity`: at one eighth or more, and for a second after that.
    #[must_use]
    pub fn under_load(&self, now: BootTime, queued: usize, capacity: usize) -> bool {
        if queued.saturating_mul(LOAD_SHARE) >= capacity {
            let until = (now + LOAD_STICKS).as_nanos();
            self.until.fetch_max(until, Relaxed);
            return true;
        }
        self.is_loaded(now)
    }

    /// Whether the last message found us under load; changes nothing.
    #[must_use]
    pub fn is_loaded(&self, now: BootTime) -> bool {
        now.as_nanos() < self.until.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_load_from_one_eighth_on_and_for_a_second_after() {
        let gauge = LoadGauge::default();
        let at = |ms: u64| BootTime::from_nanos(1_000_000 * ms);
        assert!(!gauge.under_load(at(5), 0, 4096));
        assert!(!gauge.under_load(at(5), 511, 4096));
        assert!(gauge.under_load(at(10), 512, 4096));
        assert!(gauge.under_load(at(11), 0, 4096));
        assert!(gauge.under_load(at(1009), 0, 4096));
        assert!(!gauge.under_load(at(1010), 0, 4096));
        assert!(gauge.under_load(at(2000), 4096, 4096));
    }
}

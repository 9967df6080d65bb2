//! Time as the protocol core sees it: always an argument, never read here.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds of `CLOCK_BOOTTIME`.
///
/// `std::time::Instant` is `CLOCK_MONOTONIC` on Linux, which stands still in
/// suspend: a laptop that slept for an hour would go on trusting keys that
/// died 57 minutes ago. An own type keeps the two from being mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

impl BootTime {
    /// The moment of boot; also "never" in the cells that workers stamp.
    pub const ZERO: Self = Self(0);
    /// The end of time.
    pub const MAX: Self = Self(u64::MAX);

    /// From nanoseconds since boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self + d`, stopping at the end of time.
    #[must_use]
    pub fn saturating_add(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        self.saturating_add(d)
    }
}

impl Sub for BootTime {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Wall-clock time since the Unix epoch; only for the TAI64N timestamp of an
/// initiation and for `last_handshake_time`. Can jump; nothing is timed by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: u64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

/// Both clocks, read once per batch or event by whoever calls the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock that all protocol timers use.
    pub boot: BootTime,
    /// The clock that goes into initiations.
    pub wall: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_underflows_or_overflows() {
        let early = BootTime::from_nanos(5);
        let late = BootTime::from_nanos(9);
        assert_eq!(late - early, Duration::from_nanos(4));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(BootTime::MAX + Duration::from_secs(1), BootTime::MAX);
    }
}

//! TAI64N timestamps of initiations (paper section 5.1; cr.yp.to/libtai/tai64.html).

use crate::tunnel::time::WallTime;

/// Bytes of a timestamp.
pub const TAI64N_LEN: usize = 12;
/// The TAI64 label of 1970-01-01T00:00:10 TAI, from which WireGuard counts Unix
/// seconds (2^62 plus the ten leap seconds of 1972).
const EPOCH: u64 = (1 << 62) + 10;
/// The nanoseconds are rounded down to a multiple of 2^24 (16.8 ms, the power
/// of two below 1/50 s), so that the timestamp is no precise clock for whoever
/// decrypts it; a peer sends at most 50 initiations a second anyway.
const WHITENED: u32 = !((1 << 24) - 1);
/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// Seconds and nanoseconds in big endian: bytes order as times do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64n([u8; TAI64N_LEN]);

impl Tai64n {
    /// Older than every timestamp that is sent: nothing was received yet.
    pub const ZERO: Self = Self([0; TAI64N_LEN]);

    /// From its bytes, as received; any 12 bytes are taken and only compared.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; TAI64N_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes to send.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TAI64N_LEN] {
        &self.0
    }

    /// The whitened timestamp of a wall-clock time.
    #[must_use]
    pub fn of(wall: WallTime) -> Self {
        Self::join(EPOCH.saturating_add(wall.secs), wall.nanos & WHITENED)
    }

    /// What to send now, if `last` was sent before: the peer takes only greater
    /// ones, and the wall clock may have been set back or read twice.
    #[must_use]
    pub fn next(last: Self, wall: WallTime) -> Self {
        Self::of(wall).max(last.successor())
    }

    /// The next greater timestamp with valid nanoseconds.
    #[must_use]
    pub fn successor(self) -> Self {
        let (secs, nanos) = self.split();
        match nanos.checked_add(1) {
            Some(nanos) if nanos < SECOND => Self::join(secs, nanos),
            _ => Self::join(secs.saturating_add(1), 0),
        }
    }

    fn join(secs: u64, nanos: u32) -> Self {
        let mut bytes = [0; TAI64N_LEN];
        bytes[..8].copy_from_slice(&secs.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }

    fn split(self) -> (u64, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.0;
        (
            u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            u32::from_be_bytes([i, j, k, l]),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WALL: WallTime = WallTime {
        secs: 1_700_000_000,
        nanos: 123_456_789,
    };

    #[test]
    fn the_layout_is_the_kernels() {
        // 2^62 + 10 + 1,700,000,000 s; 123,456,789 ns are 7 whole 2^24 ns.
        assert_eq!(
            Tai64n::of(WALL).as_bytes(),
            &[0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a, 0x07, 0, 0, 0]
        );
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_still_gives_greater_ones() {
        let first = Tai64n::next(Tai64n::ZERO, WALL);
        assert_eq!(first, Tai64n::of(WALL));
        let second = Tai64n::next(first, WALL);
        assert!(second > first);
        let ten_years_back = WallTime {
            secs: WALL.secs - 315_360_000,
            nanos: 0,
        };
        let third = Tai64n::next(second, ten_years_back);
        assert!(third > second);
        let later = WallTime {
            secs: WALL.secs + 1,
            nanos: 0,
        };
        assert_eq!(Tai64n::next(third, later), Tai64n::of(later));
    }

    #[test]
    fn nanoseconds_carry_into_seconds() {
        let last = Tai64n::join(EPOCH, SECOND - 1);
        assert_eq!(last.successor(), Tai64n::join(EPOCH + 1, 0));
        // What a peer might have sent is never continued into nonsense.
        let odd = Tai64n::join(EPOCH, u32::MAX);
        assert_eq!(odd.successor(), Tai64n::join(EPOCH + 1, 0));
    }

    proptest! {
        #[test]
        fn bytes_order_as_times_do(a: (u32, u32), b: (u32, u32)) {
            let (a, b) = [a, b].map(|(secs, nanos)| (u64::from(secs), nanos % SECOND)).into();
            let of = |(secs, nanos)| Tai64n::of(WallTime { secs, nanos });
            if of(a) < of(b) {
                prop_assert!(a < b);
            }
            if a.0 < b.0 {
                prop_assert!(of(a) < of(b));
            }
        }

        #[test]
        fn the_next_is_greater_and_valid(secs: u32, nanos: u32, wall_secs: u32, wall_nanos in 0..SECOND) {
            let last = Tai64n::join(u64::from(secs), nanos);
            let wall = WallTime { secs: u64::from(wall_secs), nanos: wall_nanos };
            let next = Tai64n::next(last, wall);
            prop_assert!(next > last);
            prop_assert!(next.split().1 < SECOND);
        }
    }
}

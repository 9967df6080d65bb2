//! How many handshake messages a source may cause Diffie-Hellman for while we
//! are under load: 20 a second with bursts of 5 per IPv4 address or IPv6 /64
//! (WireGuard paper section 5.3; the numbers are the kernel's).
//!
//! It is asked after MAC2 was found valid, so a source owns its address. It may
//! own very many: whoever holds an IPv6 /32 has 2^32 /64s. Hence a table of
//! fixed size in which a new source always finds room. The table has
//! [`SETS`] sets of [`WAYS`] entries, and a keyed hash that nobody outside can
//! compute says which set a source is in. A new source takes the entry whose
//! bucket will be full soonest; mostly it is full already, and forgetting a full
//! bucket changes nothing. Otherwise that source is forgiven up to five
//! messages, which an attacker with so many sources has anyway, five for each.
//! Nobody is refused for want of room, and memory does not grow.

use super::time::BootTime;
use crate::crypto::Secret;
use crate::crypto::hash::{self, HASH_LEN};
use rand_core::CryptoRng;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// Handshake messages per second and source.
pub const PER_SECOND: u32 = 20;
/// Handshake messages that a source may send at once.
pub const BURST: u32 = 5;
/// Sets of the table.
pub const SETS: usize = 4096;
/// Entries of a set.
pub const WAYS: usize = 8;

/// The time in which one message is earned.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / PER_SECOND as u64);
/// How far ahead a bucket may be drawn: all of the burst but the message itself.
const TOLERANCE: Duration = Duration::from_nanos(INTERVAL.as_nanos() as u64 * (BURST as u64 - 1));

/// What shares a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nobody: an entry that was never used.
    None,
    V4([u8; 4]),
    /// The upper half of an IPv6 address.
    V6([u8; 8]),
}

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }
}

/// A token bucket as the time at which it will be full again (the "theoretical
/// arrival time" of GCRA, ITU-T I.371): one number, and no refilling.
#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Source,
    full_at: BootTime,
}

const UNUSED: Entry = Entry {
    source: Source::None,
    full_at: BootTime::ZERO,
};

/// Token buckets of all sources, in memory of fixed size.
pub struct RateLimiter {
    key: Secret<HASH_LEN>,
    sets: Box<[Mutex<[Entry; WAYS]>]>,
}

impl RateLimiter {
    /// A limiter that has seen nobody: 0.8 MiB, and never more.
    #[must_use]
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        let mut key = Secret::zeroed();
        rng.fill_bytes(key.expose_mut());
        Self {
            key,
            sets: (0..SETS).map(|_| Mutex::new([UNUSED; WAYS])).collect(),
        }
    }

    /// Takes a token of `ip`'s bucket; false if there is none.
    #[must_use]
    pub fn allow(&self, now: BootTime, ip: IpAddr) -> bool {
        let source = Source::of(ip);
        let mut set = self.sets[self.set_of(source)]
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let way = match set.iter().position(|entry| entry.source == source) {
            Some(known) => known,
            None => {
                let soonest = soonest_full(&set);
                set[soonest] = Entry {
                    source,
                    full_at: now,
                };
                soonest
            }
        };
        let entry = &mut set[way];
        let from = entry.full_at.max(now);
        let allowed = from - now <= TOLERANCE;
        if allowed {
            entry.full_at = from + INTERVAL;
        }
        allowed
    }

    fn set_of(&self, source: Source) -> usize {
        let [a, b, ..] = hash::mac(self.key.expose(), &[source.bytes()]);
        usize::from(u16::from_le_bytes([a, b])) % SETS
    }
}

fn soonest_full(set: &[Entry; WAYS]) -> usize {
    (1..WAYS).fold(0, |best, way| {
        if set[way].full_at < set[best].full_at {
            way
        } else {
            best
        }
    })
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimiter(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::os_rng;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const MILLI: u64 = 1_000_000;

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * MILLI)
    }

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    fn v6(prefix: u64, host: u64) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(prefix) << 64 | u128::from(host)).into()
    }

    fn allowed(limiter: &RateLimiter, now: BootTime, ip: IpAddr, tries: u32) -> u32 {
        (0..tries).filter(|_| limiter.allow(now, ip)).count() as u32
    }

    #[test]
    fn a_burst_of_five_then_twenty_a_second() {
        let limiter = RateLimiter::new(&mut os_rng());
        let ip = v4(0x0a00_0001);
        for start in [1_000, 10_000] {
            assert_eq!(allowed(&limiter, at(start), ip, 100), BURST);
            assert_eq!(allowed(&limiter, at(start + 49), ip, 100), 0);
            assert_eq!(allowed(&limiter, at(start + 50), ip, 100), 1);
            assert_eq!(allowed(&limiter, at(start + 99), ip, 100), 0);
            assert_eq!(allowed(&limiter, at(start + 250), ip, 100), 4);
        }
        // A bucket that rested holds no more than the burst.
        assert_eq!(allowed(&limiter, at(900_000), ip, 100), BURST);
    }

    #[test]
    fn over_a_minute_the_rate_holds_exactly() {
        let limiter = RateLimiter::new(&mut os_rng());
        let count: u32 = (0..60_000)
            .map(|ms| allowed(&limiter, at(1_000 + ms), v6(1, 1), 2))
            .sum();
        assert_eq!(count, BURST + 60 * PER_SECOND - 1);
    }

    #[test]
    fn an_ipv4_address_and_an_ipv6_64_share_a_bucket_and_nothing_more() {
        let limiter = RateLimiter::new(&mut os_rng());
        let now = at(5_000);
        assert_eq!(allowed(&limiter, now, v6(7, 1), 100), BURST);
        assert_eq!(allowed(&limiter, now, v6(7, u64::MAX), 100), 0);
        assert_eq!(allowed(&limiter, now, v6(8, 1), 100), BURST);
        assert_eq!(allowed(&limiter, now, v4(1), 100), BURST);
        assert_eq!(allowed(&limiter, now, v4(2), 100), BURST);
        let mapped = Ipv4Addr::from_bits(2).to_ipv6_mapped().into();
        assert_eq!(allowed(&limiter, now, mapped, 100), 0);
    }

    #[test]
    fn a_flood_of_sources_locks_nobody_out_and_takes_no_memory() {
        let limiter = RateLimiter::new(&mut os_rng());
        // Ten times as many sources as entries, all within 40 ms, so that no
        // bucket is full again; in between a legitimate source speaks.
        let legitimate = v4(0xc0a8_0001);
        let mut refused = 0;
        for i in 0..10 * (SETS * WAYS) as u64 {
            let now = BootTime::from_nanos(1_000 * MILLI + i * 100);
            assert!(limiter.allow(now, v6(1_000 + i, 0)), "source {i}");
            if i % 100_000 == 0 {
                refused += u32::from(!limiter.allow(now, legitimate));
            }
        }
        assert_eq!(refused, 0);
        assert_eq!(limiter.sets.len(), SETS);
    }

    #[test]
    fn who_is_over_the_limit_stays_so_while_others_rest() {
        let limiter = RateLimiter::new(&mut os_rng());
        let greedy = v4(0x0102_0304);
        let mut passed = 0;
        // 20,000 sources that spoke long ago are forgotten before it is.
        for i in 0..20_000 {
            assert!(limiter.allow(at(1_000), v4(0x5000_0000 + i)));
        }
        for ms in 0..1_000 {
            passed += allowed(&limiter, at(10_000 + ms), greedy, 3);
            assert!(limiter.allow(at(10_000 + ms), v6(ms, 0)));
        }
        assert_eq!(passed, BURST + PER_SECOND - 1);
    }
}

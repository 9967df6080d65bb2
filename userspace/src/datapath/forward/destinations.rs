//! Where packets out of a tunnel go, by their destination.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::hop::NextHop;
use crate::tunnel::time::BootTime;

/// Destinations of one device that are known at a time. Packets to others go by the
/// kernel.
pub const DESTINATIONS_MAX: usize = 4096;
/// A worker asks for the same destination at most this often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A worker asks for any destination at most this often.
const ASK_ANY_EVERY: Duration = Duration::from_millis(5);
/// Destinations that a worker remembers to have asked for.
const ASKED: usize = 64;

/// What is known, as workers see it: replaced as a whole. `None` for a destination
/// that is the kernel's.
pub type Destinations = HashMap<IpAddr, Option<Arc<NextHop>>>;

/// What one worker asked control for of late, so that a flood of packets to
/// strangers is no flood of questions.
#[derive(Debug)]
pub struct Asked {
    slots: [Option<(IpAddr, BootTime)>; ASKED],
    last: BootTime,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            slots: [None; ASKED],
            last: BootTime::ZERO,
        }
    }
}

impl Asked {
    /// Whether it is time to ask for this destination; the caller asks then.
    pub fn may_ask(&mut self, destination: IpAddr, now: BootTime) -> bool {
        if now.since(self.last) < ASK_ANY_EVERY {
            return false;
        }
        let low = match destination {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        let slot = &mut self.slots[usize::from(low) % ASKED];
        let recent = |(of, at): (IpAddr, BootTime)| of == destination && now.since(at) < ASK_EVERY;
        if slot.is_some_and(recent) {
            return false;
        }
        *slot = Some((destination, now));
        self.last = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_destination_is_asked_for_again_after_a_while_only() {
        let mut asked = Asked::default();
        let at = |ms: u64| BootTime::from_nanos(1_000_000_000 + ms * 1_000_000);
        let a = "192.0.2.1".parse().unwrap();
        let b = "192.0.2.2".parse().unwrap();
        assert!(asked.may_ask(a, at(0)));
        assert!(!asked.may_ask(b, at(4)), "another, at once");
        assert!(asked.may_ask(b, at(5)));
        assert!(!asked.may_ask(a, at(20)));
        assert!(!asked.may_ask(a, at(499)));
        assert!(asked.may_ask(a, at(500)));
    }

    #[test]
    fn a_flood_of_destinations_is_no_flood_of_questions() {
        let mut asked = Asked::default();
        let questions = (0..100_000u32)
            .filter(|n| {
                let to = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
                let now = BootTime::from_nanos(1_000_000_000 + u64::from(*n) * 1000);
                asked.may_ask(to, now)
            })
            .count();
        // 100 ms of it.
        assert!((19..=21).contains(&questions), "{questions}");
    }
}

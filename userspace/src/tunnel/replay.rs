//! The sliding window against replayed data packets, RFC 6479.

/// Messages that a key may carry: REJECT_AFTER_MESSAGES, 2^64 − 2^13 − 1
/// (WireGuard paper, section 6.1). Counters are below it.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// Bits of the window. The block that the newest counter is in may be only
/// begun, so 64 fewer are promised ([`WINDOW`]).
const BITS: u64 = 8192;
const BLOCKS: usize = (BITS / 64) as usize;

/// How far behind the newest counter a packet may be and still be accepted.
pub const WINDOW: u64 = BITS - 64;

/// Which counters of one receiving key were seen.
///
/// A ring of 64-bit blocks, so that moving forward clears whole blocks and
/// never shifts (RFC 6479, section 2).
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    blocks: [u64; BLOCKS],
    /// Newest counter accepted, plus one; 0 while none was.
    next: u64,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayWindow {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            blocks: [0; BLOCKS],
            next: 0,
        }
    }

    /// Whether `counter` is new; marks it as seen if it is. Only for packets
    /// that authenticated: anything else would let a forger move the window.
    ///
    /// False for a counter seen before, one more than [`WINDOW`] behind the
    /// newest, and one at or past [`REJECT_AFTER_MESSAGES`].
    #[must_use]
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        let block = counter / 64;
        if counter >= self.next {
            // The block of the newest counter so far stays; those after it, up
            // to the new one's, are to be used again.
            let first = self.next.div_ceil(64);
            if block >= first {
                let stale = (block - first + 1).min(BLOCKS as u64);
                for b in block + 1 - stale..=block {
                    self.blocks[ring(b)] = 0;
                }
            }
            self.next = counter + 1;
        } else if self.next - 1 - counter > WINDOW {
            return false;
        }
        let bit = 1 << (counter % 64);
        let seen = &mut self.blocks[ring(block)];
        let new = *seen & bit == 0;
        *seen |= bit;
        new
    }
}

const fn ring(block: u64) -> usize {
    (block % BLOCKS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn in_order_counters_are_accepted_once() {
        let mut w = ReplayWindow::new();
        for n in 0..3 * BITS {
            assert!(w.accept(n), "{n}");
            assert!(!w.accept(n), "{n} again");
        }
    }

    #[test]
    fn exactly_8128_behind_is_the_oldest_accepted() {
        for newest in [WINDOW + 1, 100_000, 100_063, 100_032, 8192, 8191] {
            let mut w = ReplayWindow::new();
            assert!(w.accept(newest));
            assert!(w.accept(newest - WINDOW), "{newest}");
            assert!(!w.accept(newest - WINDOW), "{newest}");
            if newest > WINDOW {
                assert!(!w.accept(newest - WINDOW - 1), "{newest}");
            }
        }
    }

    #[test]
    fn a_jump_of_any_size_forgets_what_is_left_behind() {
        for jump in [1, 63, 64, 65, 8127, 8128, 8191, 8192, 8193, 1 << 40] {
            let mut w = ReplayWindow::new();
            for n in 0..BITS {
                assert!(w.accept(n));
            }
            let top = BITS - 1 + jump;
            assert!(w.accept(top), "{jump}");
            for n in top.saturating_sub(WINDOW)..top {
                assert_eq!(w.accept(n), n >= BITS, "jump {jump}, counter {n}");
            }
        }
    }

    #[test]
    fn counters_stop_at_the_message_limit() {
        let mut w = ReplayWindow::new();
        assert!(!w.accept(u64::MAX));
        assert!(!w.accept(REJECT_AFTER_MESSAGES));
        assert!(w.accept(REJECT_AFTER_MESSAGES - 1));
        assert!(!w.accept(REJECT_AFTER_MESSAGES - 1));
        assert!(w.accept(REJECT_AFTER_MESSAGES - 1 - WINDOW));
    }

    #[test]
    fn counters_past_32_bits_are_not_those_below() {
        let mut w = ReplayWindow::new();
        let low = 5;
        assert!(w.accept(low));
        assert!(w.accept(low + (1 << 32)));
        assert!(!w.accept(low), "far behind now");
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn agrees_with_a_window_that_never_forgets(
            steps in prop::collection::vec((0u64..5, 0u64..9000), 1..400),
            start in prop_oneof![Just(0u64), Just(1u64 << 32), Just(REJECT_AFTER_MESSAGES - 20_000)],
        ) {
            let mut window = ReplayWindow::new();
            let mut seen = HashSet::new();
            let mut newest: Option<u64> = None;
            let mut at = start;
            for (kind, by) in steps {
                let counter = match kind {
                    0 => at.saturating_add(by),
                    1 => at.saturating_sub(by),
                    2 => at.saturating_add(1),
                    3 => at.saturating_add(by * 64),
                    _ => at.saturating_sub(by % 130),
                };
                let in_window = newest.is_none_or(|n| n.saturating_sub(counter) <= WINDOW);
                let expected =
                    counter < REJECT_AFTER_MESSAGES && in_window && !seen.contains(&counter);
                prop_assert_eq!(window.accept(counter), expected, "{}", counter);
                if expected {
                    seen.insert(counter);
                    newest = Some(newest.map_or(counter, |n| n.max(counter)));
                }
                if counter < REJECT_AFTER_MESSAGES {
                    at = at.max(counter);
                }
            }
        }
    }
}

//! The replay window against a model that remembers every counter.

use crate::Seed;
use ringtun::tunnel::replay::{REJECT_AFTER_MESSAGES, ReplayWindow, WINDOW};
use std::collections::HashSet;

/// Each counter is accepted at most once, never behind the window or past the
/// limit, and always if it is new and within the promised window.
pub fn run(data: &[u8]) {
    let mut window = ReplayWindow::new();
    let mut seen = HashSet::new();
    let mut newest: Option<u64> = None;
    let mut at = 0u64;
    for step in data.chunks_exact(3) {
        let n = u64::from(u16::from_le_bytes([step[1], step[2]]));
        at = match step[0] % 8 {
            0 => at.wrapping_add(1),
            1 => at.wrapping_add(n),
            2 => at.wrapping_sub(n),
            3 => at.wrapping_add(n << 10),
            4 => newest
                .unwrap_or(0)
                .saturating_sub(WINDOW)
                .wrapping_add(n % 130)
                .wrapping_sub(65),
            5 => REJECT_AFTER_MESSAGES.wrapping_sub(n % 130).wrapping_add(64),
            6 => n,
            _ => newest.unwrap_or(0).wrapping_add(64 * (n % 300)),
        };
        let accepted = window.accept(at);
        let behind = newest.is_some_and(|newest| newest.saturating_sub(at) > WINDOW);
        if accepted {
            assert!(at < REJECT_AFTER_MESSAGES, "{at} is past the limit");
            assert!(seen.insert(at), "{at} was accepted twice");
            newest = newest.max(Some(at));
        } else if at < REJECT_AFTER_MESSAGES && !behind {
            assert!(seen.contains(&at), "{at} is new and was refused");
        }
        // A little more than promised may be accepted, never a whole window.
        if accepted && behind {
            let newest = newest.unwrap_or(0);
            assert!(newest - at < WINDOW + 64, "{at} is far behind {newest}");
        }
    }
}

/// Walks through the window's edges.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    vec![
        ("in-order", [[0, 0, 0]; 200].concat()),
        ("twice", vec![6, 5, 0, 6, 5, 0]),
        (
            "edges",
            [[3, 9, 0], [4, 0, 0], [4, 64, 0], [4, 65, 0], [4, 66, 0]].concat(),
        ),
        (
            "limit",
            [[5, 0, 0], [5, 64, 0], [5, 65, 0], [5, 129, 0]].concat(),
        ),
        (
            "jumps",
            [[7, 1, 0], [2, 200, 0], [7, 128, 0], [2, 0, 32], [7, 43, 1]].concat(),
        ),
    ]
}

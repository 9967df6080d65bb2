//! `ringtun top` in a terminal: what is seen at 80 × 24 and 200 × 60 while traffic moves, what
//! keys do, and that the terminal is left as it was.

#[path = "../e2e/mod.rs"]
mod e2e;
#[path = "../e2e/many_peers.rs"]
mod many_peers;

mod ending;
mod many;
mod picture;
mod screen;
mod seen;

use std::time::Duration;

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);

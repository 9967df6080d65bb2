//! A line per step with the time since the start.

use anyhow::Result;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Time since the first step, to be read by people.
pub fn elapsed() -> String {
    seconds(start().elapsed())
}

/// A duration to be read by people.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02.0} s", duration.as_secs() / 60, seconds % 60.0)
    }
}

/// Says what happens now.
pub fn note(text: &str) {
    eprintln!("[{:>7.1} s] {text}", start().elapsed().as_secs_f64());
}

/// Says what is begun, does it, and says how long it took if that was long.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    note(&format!("{what} …"));
    let begin = Instant::now();
    let result = work();
    let took = begin.elapsed();
    match &result {
        Err(_) => note(&format!("{what}: failed after {}", seconds(took))),
        Ok(_) if took > Duration::from_secs(2) => {
            note(&format!("{what}: done in {}", seconds(took)));
        }
        Ok(_) => {}
    }
    result
}

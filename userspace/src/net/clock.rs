//! The two clocks of the agent. The protocol core never reads them itself.

use super::sys;
use crate::tunnel::time::{BootTime, Now, WallTime};

/// `CLOCK_BOOTTIME`: goes on while the machine sleeps.
#[must_use]
pub fn boot() -> BootTime {
    let (secs, nanos) = sys::clock(libc::CLOCK_BOOTTIME);
    BootTime::from_nanos(secs * 1_000_000_000 + u64::from(nanos))
}

/// `CLOCK_REALTIME`: for the TAI64N timestamp and for `last_handshake_time`.
#[must_use]
pub fn wall() -> WallTime {
    let (secs, nanos) = sys::clock(libc::CLOCK_REALTIME);
    WallTime { secs, nanos }
}

/// Both clocks.
#[must_use]
pub fn now() -> Now {
    Now {
        boot: boot(),
        wall: wall(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_goes_forward_and_wall_time_is_the_system_time() {
        let system = || {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("after 1970")
                .as_secs()
        };
        let before = boot();
        let (earlier, wall, later) = (system(), wall(), system());
        assert!(boot() > before);
        assert!((earlier..=later).contains(&wall.secs));
        assert!(wall.nanos < 1_000_000_000);
    }
}

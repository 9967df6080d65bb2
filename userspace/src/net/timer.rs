//! A timer on the boot-time clock for the control thread.
//!
//! tokio's own timers run on `CLOCK_MONOTONIC`, which stands still in suspend:
//! after an hour of sleep a key would be renewed an hour late.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

use super::sys;
use crate::tunnel::time::BootTime;

/// Fires once at the time it was set to.
#[derive(Debug)]
pub struct BootTimer {
    fd: AsyncFd<OwnedFd>,
}

impl BootTimer {
    /// A timer that is not set. Needs a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: sys::async_fd(sys::boot_timer()?)?,
        })
    }

    /// Sets it to fire at `at`, or never. A time in the past fires at once.
    ///
    /// # Errors
    /// What `timerfd_settime` answers; never in practice.
    pub fn set(&self, at: Option<BootTime>) -> io::Result<()> {
        let nanos = match at {
            // Zero would disarm it.
            Some(at) => at.as_nanos().max(1),
            None => 0,
        };
        sys::set_boot_timer(self.fd.get_ref(), nanos)
    }

    /// Waits until it fires; safe to drop while waiting.
    ///
    /// # Errors
    /// The descriptor broke.
    pub async fn fired(&self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| sys::read_counter(fd.get_ref())) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;
    use std::time::Duration;

    #[test]
    fn it_fires_at_its_time_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            let timer = BootTimer::new().expect("timer");
            let at = clock::boot() + Duration::from_millis(20);
            timer.set(Some(at)).expect("set");
            timer.fired().await.expect("fires");
            assert!(clock::boot() >= at);
            timer.set(Some(BootTime::ZERO)).expect("set");
            timer.fired().await.expect("a past time fires at once");
        });
    }
}

//! What a service manager is told (sd_notify(3)): that this process is ready, lives, ends.
//!
//! Without `$NOTIFY_SOCKET` nobody is told anything. A manager that cannot be told is
//! logged once, and nothing else: the tunnel is worth more than its report.

use std::cell::OnceCell;
use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::control::daemon::Devices;
use crate::metrics::MetricsSource as _;

/// Devices of this process, once they are made.
pub type Made = OnceCell<Devices>;

/// All is up.
pub fn ready() {
    tell("READY=1\nSTATUS=up\n");
}

/// The end has begun.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=going down\n");
}

fn tell(state: &str) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Err(error) = send(state)
        && !TOLD.swap(true, Relaxed)
    {
        tracing::warn!(event = "service_manager_untold", %error, "the service manager at $NOTIFY_SOCKET cannot be told");
    }
}

fn send(state: &str) -> io::Result<()> {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let own = UnixDatagram::unbound()?;
    // A manager that does not read must not stop the tunnel.
    own.set_nonblocking(true)?;
    own.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// How often the watchdog of this process wants to hear of it at least
/// (`sd_watchdog_enabled(3)`).
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    let period = number("WATCHDOG_USEC").filter(|period| *period > 1 && is_ours);
    period.map(Duration::from_micros)
}

/// Says twice per period of the watchdog that all threads run; never returns. Says
/// nothing while one does not, so that the manager starts the service anew.
pub async fn live(made: &Made) {
    let Some(period) = watchdog() else {
        return std::future::pending().await;
    };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let failures = made
            .get()
            .map(Rc::as_ref)
            .map_or_else(Vec::new, |d| d.failures());
        if failures.is_empty() {
            tell("WATCHDOG=1\n");
        } else {
            tracing::error!(
                event = "watchdog_untold",
                "the watchdog is not told: {}",
                failures.join(", ")
            );
        }
    }
}

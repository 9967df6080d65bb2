//! A tunnel taken down, from its journal alone.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::files::namespace;
use super::journal::{Journal, Place, Step};
use super::{hooks, save, undo, up};
use crate::control::names::InterfaceName;
use crate::control::uapi::client::Client;
use crate::control::uapi::socket;
use crate::net::unix;

/// How long a daemon may take to end after its device is gone.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// There is nothing to take down.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not up")]
pub struct NotUp(pub InterfaceName);

/// Takes down what the journal of `name` says, as `ringtun down`. Waits for the end of the
/// process that serves it, unless that has other devices, or is `asker`, who waits for us.
///
/// # Errors
/// [`NotUp`]; what could not be taken back, which stays in the journal.
pub fn take_down(place: &Place, name: &InterfaceName, uapi: &Path, asker: u32) -> Result<()> {
    let lock = place.lock()?;
    let Some(journal) = place.load()? else {
        if up::exists(name) {
            bail!(
                "`{name}` was not set up by `ringtun up`; take it down with what set it up (`wg-quick down {name}`, or `ip link delete {name}`)"
            );
        }
        bail!(NotUp(name.clone()));
    };
    let daemon = daemon(name, uapi).filter(|_| !journal.shared);
    let result = from_journal(place, journal, name, uapi);
    drop(lock);
    ended(name, uapi);
    if let Some(pid) = daemon.filter(|pid| *pid != asker) {
        gone(pid);
    }
    result
}

/// The process that serves the device.
fn daemon(name: &InterfaceName, uapi: &Path) -> Option<u32> {
    let stream = UnixStream::connect(socket::path(uapi, name)).ok()?;
    unix::process_of(&stream).ok()
}

/// Waits until a process has ended, and what it holds went with it: XDP programs
/// are on their cards as long as one of its threads is there.
fn gone(pid: u32) {
    let is_there = || {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            return false;
        };
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        // One that nobody has waited for yet holds nothing.
        !(stat.contains(") Z ") && threads <= 1)
    };
    let end = Instant::now() + PATIENCE;
    while is_there() && Instant::now() < end {
        thread::sleep(LOOK_EVERY);
    }
}

/// The same under a lock that is held: `PreDown`, `SaveConfig`, every step,
/// `PostDown`. An interrupted `up` runs the hooks whose counterparts had begun.
/// The rest is done in any case; a failing hook is told at the end.
///
/// # Errors
/// As [`take_down`].
pub fn from_journal(
    place: &Place,
    mut journal: Journal,
    name: &InterfaceName,
    uapi: &Path,
) -> Result<()> {
    if namespace()? != journal.namespace {
        bail!(
            "`{name}` was set up in another network namespace; run this there (`ip netns exec …`)"
        );
    }
    let has = |step: &Step| journal.steps.contains(step);
    let (pre_down, post_down) = (
        has(&Step::PostUp) || journal.complete,
        has(&Step::PreUp) || has(&Step::PostUp) || journal.complete,
    );
    let mut errors: Vec<anyhow::Error> = Vec::new();
    if pre_down {
        let failed = hooks::run_all(&journal.pre_down, name);
        errors.extend(failed.into_iter().map(|e| anyhow!(e).context("PreDown")));
    }
    if journal.save && journal.complete {
        match Client::connect(uapi, name).and_then(|mut c| c.state()) {
            Ok(state) => errors.extend(save::save(&journal.file, name, &state).err()),
            Err(_) => {
                tracing::warn!(event = "config_not_saved", device = %name, "SaveConfig: the daemon is gone, the file stays as it is")
            }
        }
    }
    let left = undo::all(place, &mut journal, name);
    if left.is_empty() {
        place.remove()?;
    } else {
        place.store(&journal)?;
        errors.extend(left);
    }
    if post_down {
        let failed = hooks::run_all(&journal.post_down, name);
        errors.extend(failed.into_iter().map(|e| anyhow!(e).context("PostDown")));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = errors.iter().map(|e| format!("{e:#}")).collect();
    bail!("{}", errors.join("; "))
}

/// Without hooks: somebody else removed the device, `wg-quick down` for example.
///
/// # Errors
/// As [`take_down`].
pub fn clean(place: &Place, name: &InterfaceName) -> Result<()> {
    let _lock = place.lock()?;
    let Some(mut journal) = place.load()? else {
        return Ok(());
    };
    let errors = undo::all(place, &mut journal, name);
    if errors.is_empty() {
        return Ok(place.remove()?);
    }
    place.store(&journal)?;
    let errors: Vec<_> = errors.iter().map(|e| format!("{e:#}")).collect();
    bail!("{}", errors.join("; "))
}

/// Waits until the name is free again; removes a socket that a killed daemon left.
fn ended(name: &InterfaceName, uapi: &Path) {
    let path = socket::path(uapi, name);
    let end = Instant::now() + PATIENCE;
    while path.exists() && Instant::now() < end {
        if socket::check_free(uapi, name).is_ok() {
            let _ = fs::remove_file(&path);
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

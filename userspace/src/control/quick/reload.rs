//! `ringtun reload`: the keys and peers of the file, as `wg syncconf`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::journal::{Lock, Place, Step};
use super::lines;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::Client;
use crate::control::wgquick::Config;

/// Changes what is different. Addresses, routes and hooks stay as they are.
/// Whether there was anything.
///
/// # Errors
/// Nobody answers, or the device refuses.
pub fn reload(place: &Place, name: &InterfaceName, uapi: &Path, config: &Config) -> Result<bool> {
    follow(&place.lock()?, place, name, uapi, config)
}

/// The same, for those who have the lock.
///
/// # Errors
/// As [`reload`].
pub fn follow(
    _lock: &Lock,
    place: &Place,
    name: &InterfaceName,
    uapi: &Path,
    config: &Config,
) -> Result<bool> {
    let Some(journal) = place.load()? else {
        bail!(super::down::NotUp(name.clone()));
    };
    // The mark of a default route is the file's to change only where it names one.
    let mark = journal.steps.iter().find_map(|step| match step {
        Step::MarkRule { table, .. } => Some(*table),
        _ => None,
    });
    let mut client = Client::connect(uapi, name).with_context(|| {
        format!("the daemon of `{name}` does not answer; `ringtun down {name}`")
    })?;
    let state = client.state()?;
    let lines = lines::difference(config, &state, mark);
    if lines.is_empty() {
        return Ok(false);
    }
    client.set(&lines).context("the device refuses the file")?;
    Ok(true)
}

//! A peer added or taken out: the file under the lock of `up` and `down`, then the
//! running device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use super::edit;
use crate::control::names::InterfaceName;
use crate::control::quick::files::replace;
use crate::control::quick::journal::{Lock, Place};
use crate::control::quick::program::{ip, ip_json};
use crate::control::quick::reload;
use crate::control::wgquick::{Config, Table, file, parse};
use crate::crypto::PublicKey;
use crate::metrics::names;
use crate::tunnel::allowed_ips::Prefix;

/// A file that nobody else changes meanwhile.
#[derive(Debug)]
pub struct Held {
    name: InterfaceName,
    place: Place,
    lock: Lock,
    path: PathBuf,
    text: Zeroizing<String>,
    config: Config,
}

impl Held {
    /// Takes the lock and reads the file.
    ///
    /// # Errors
    /// It cannot be read, or has a mistake.
    pub fn new(name: InterfaceName, path: &Path) -> Result<Self> {
        let place = Place::new(&name);
        let lock = place.lock()?;
        // A link stays one.
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot read {}", path.display()))?;
        let (config, report) =
            file::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(first) = report.sorted().first().filter(|_| report.errors() > 0) {
            bail!(
                "{}:{first}; nothing was changed (`ringtun check` has all mistakes)",
                path.display()
            );
        }
        let text = names::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            name,
            place,
            lock,
            path,
            text,
            config,
        })
    }

    /// What the file says.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The file itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file with a peer more, and tells the running device; whether there is
    /// one.
    ///
    /// # Errors
    /// The file cannot be written: nothing was changed. Or the device does not follow.
    pub fn add(&self, section: &edit::Section<'_>, sockets: &Path) -> Result<bool> {
        let text = edit::with(&self.text, section);
        let runs = self.write(&text, sockets)?;
        if runs && self.config.interface.table == Table::Auto {
            for network in section.allowed_ips {
                self.lead(*network)?;
            }
        }
        Ok(runs)
    }

    /// Writes the file without a peer, and tells the running device; whether there is
    /// one.
    ///
    /// # Errors
    /// As [`add`](Self::add); or the file does not have it.
    pub fn remove(&self, key: &PublicKey, sockets: &Path) -> Result<bool> {
        let Some(text) = edit::without(&self.text, key) else {
            bail!("{} has no such peer", self.path.display());
        };
        self.write(&text, sockets)
    }

    fn write(&self, text: &str, sockets: &Path) -> Result<bool> {
        let (config, report) = parse(text.as_bytes());
        // What was right and is wrong now would be our mistake.
        if let Some(first) = report.sorted().first().filter(|_| report.errors() > 0) {
            bail!("the file would have a mistake, nothing was changed: {first}");
        }
        replace(&self.path, text.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        // The device may have been brought up from another file.
        let from = self.place.load()?.map(|journal| journal.file);
        let is_its = |file: &PathBuf| file.canonicalize().is_ok_and(|file| file == self.path);
        if !from.as_ref().is_some_and(is_its) {
            return Ok(false);
        }
        match reload::follow(&self.lock, &self.place, &self.name, sockets, &config) {
            Ok(_) => Ok(true),
            Err(error) if error.is::<crate::control::quick::down::NotUp>() => Ok(false),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "{} is changed, and the running device is not",
                    self.path.display()
                )
            }),
        }
    }

    /// A route into the device, where none leads there yet.
    fn lead(&self, network: Prefix) -> Result<()> {
        let found = ip_json(&format!("route get {}", network.addr()));
        let there = found.first().and_then(|route| route["dev"].as_str());
        if there == Some(self.name.as_str()) {
            return Ok(());
        }
        ip(&format!("route add {network} dev {}", self.name))?;
        Ok(())
    }
}

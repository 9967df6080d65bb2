//! A device of this process brought up as its file says.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context, Result, anyhow, bail};

use super::files::namespace;
use super::journal::{Journal, Lock, Place, Step, VERSION};
use super::program::{ip, ip_json};
use super::{default_route, down, hooks, lines, mtu};
use crate::control::names::InterfaceName;
use crate::control::quick::dns::Resolver;
use crate::control::uapi::client::Client;
use crate::control::uapi::socket;
use crate::control::wgquick::{Config, Table};
use crate::tunnel::allowed_ips::Prefix;

/// A journal that grows with the changes.
pub struct Change<'a> {
    /// Where it is.
    pub place: &'a Place,
    journal: Journal,
    stop: &'a AtomicBool,
}

impl Change<'_> {
    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// It cannot be written, or the process is asked to end: then it must not be done.
    pub fn will(&mut self, step: Step) -> Result<()> {
        if self.stop.load(Relaxed) {
            bail!("asked to end before all was set up");
        }
        self.journal.steps.push(step);
        self.place.store(&self.journal)?;
        Ok(())
    }
}

/// A tunnel to bring up.
pub struct Plan {
    /// The device.
    pub name: InterfaceName,
    /// Its file.
    pub file: PathBuf,
    /// What that says.
    pub config: Config,
    /// Where its journal is.
    pub place: Place,
    /// Where its UAPI socket is.
    pub uapi_directory: PathBuf,
    /// Its process has other devices, and goes on without it.
    pub shared: bool,
}

/// Whether there is a device of that name in this namespace.
#[must_use]
pub fn exists(name: &InterfaceName) -> bool {
    nix::net::if_::if_nametoindex(name.as_str()).is_ok()
}

impl Plan {
    /// Before the device is made: takes back what a crash left, and runs `PreUp`.
    /// The lock is to be held until [`Plan::finish`] is done.
    ///
    /// # Errors
    /// The tunnel is up, or a `PreUp` fails: then nothing is left.
    pub fn begin<'a>(&self, stop: &'a AtomicBool) -> Result<(Lock, Journal)>
    where
        Self: 'a,
    {
        let lock = self.place.lock()?;
        if let Some(left) = self.place.load()? {
            if socket::check_free(&self.uapi_directory, &self.name).is_err() {
                bail!(AlreadyUp(self.name.clone()));
            }
            tracing::warn!(event = "taking_back", device = %self.name, "the last run ended without `down`: taking back what it left");
            let result = down::from_journal(&self.place, left, &self.name, &self.uapi_directory);
            if let Err(error) = result {
                // A hook that fails now may well have nothing to do.
                if self.place.load()?.is_some() {
                    return Err(error);
                }
                tracing::warn!(event = "taking_back_failed", device = %self.name, "{error:#}");
            }
        }
        if exists(&self.name) {
            bail!(
                "there is an interface `{0}` that ringtun did not set up; take it down first (`wg-quick down {0}` or `ip link delete {0}`)",
                self.name
            );
        }
        let i = &self.config.interface;
        let journal = Journal {
            version: VERSION,
            name: self.name.to_string(),
            file: self.file.clone(),
            namespace: namespace().context("/proc/thread-self/ns/net")?,
            complete: false,
            save: i.save_config,
            shared: self.shared,
            pre_down: i.pre_down.clone(),
            post_down: i.post_down.clone(),
            steps: Vec::new(),
        };
        let mut change = self.change(journal, stop);
        let result = if i.pre_up.is_empty() {
            Ok(())
        } else {
            change
                .will(Step::PreUp)
                .and_then(|()| hooks::run(&i.pre_up, &self.name).context("PreUp"))
        };
        let result = result.and_then(|()| change.will(Step::Device));
        match result {
            Ok(()) => Ok((lock, change.journal)),
            Err(error) => Err(self.undone(change.journal, error)),
        }
    }

    /// With the device there and its socket answering: everything else.
    ///
    /// # Errors
    /// Something is refused, or a hook fails: then nothing is left.
    pub fn finish(&self, journal: Journal, stop: &AtomicBool) -> Result<()> {
        let mut change = self.change(journal, stop);
        let result = self.set_up(&mut change).and_then(|()| {
            change.journal.complete = true;
            Ok(self.place.store(&change.journal)?)
        });
        result.map_err(|error| self.undone(change.journal, error))
    }

    fn change<'a>(&'a self, journal: Journal, stop: &'a AtomicBool) -> Change<'a> {
        Change {
            place: &self.place,
            journal,
            stop,
        }
    }

    /// Takes back what was done before the error.
    #[must_use]
    pub fn undone(&self, journal: Journal, error: anyhow::Error) -> anyhow::Error {
        match down::from_journal(&self.place, journal, &self.name, &self.uapi_directory) {
            Ok(()) => error,
            Err(more) => anyhow!("{error:#}; and it could not all be taken back: {more:#}"),
        }
    }

    fn set_up(&self, change: &mut Change<'_>) -> Result<()> {
        let (name, i) = (&self.name, &self.config.interface);
        let mut client = Client::connect(&self.uapi_directory, name)?;
        let state = client.state()?;
        let lines = lines::difference(&self.config, &state, None);
        client.set(&lines).context("the device refuses the file")?;
        for address in &i.addresses {
            let of = default_route::family(address.addr.is_ipv6());
            ip(&format!(
                "{of} address add {}/{} dev {name}",
                address.addr, address.len
            ))
            .context("Address")?;
        }
        let state = client.state()?;
        let endpoints: Vec<IpAddr> = state
            .peers
            .iter()
            .filter_map(|p| Some(p.endpoint?.ip()))
            .collect();
        let mtu = i.mtu.map_or_else(|| mtu::automatic(&endpoints), u64::from);
        ip(&format!("link set dev {name} mtu {mtu} up")).context("MTU")?;
        if !i.dns.is_empty() {
            let resolver = Resolver::find().context(
                "DNS: there is neither resolvconf nor resolvectl; install openresolv, or remove DNS from the file",
            )?;
            change.will(Step::Dns { resolver })?;
            resolver.set(name, &i.dns, &i.dns_search).context("DNS")?;
        }
        self.routes(change, &mut client)?;
        if !i.post_up.is_empty() {
            change.will(Step::PostUp)?;
            hooks::run(&i.post_up, name).context("PostUp")?;
        }
        Ok(())
    }

    /// Longest prefixes first, as wg-quick: a default route may come only when the
    /// rest is there.
    fn routes(&self, change: &mut Change<'_>, client: &mut Client) -> Result<()> {
        let state = client.state()?;
        let mut ranges: Vec<Prefix> = state
            .peers
            .iter()
            .flat_map(|p| p.allowed_ips.iter().copied())
            .collect();
        ranges.sort_by_key(|range| std::cmp::Reverse(range.len()));
        let table = match &self.config.interface.table {
            Table::Off => return Ok(()),
            Table::Auto => None,
            Table::Number(table) => Some(table.to_string()),
            Table::Named(table) => Some(table.clone()),
        };
        let mut mark = state.fwmark;
        for range in ranges {
            let v6 = range.addr().is_ipv6();
            let of = default_route::family(v6);
            let name = &self.name;
            if let Some(table) = &table {
                ip(&format!("{of} route add {range} dev {name} table {table}"))
                    .context("AllowedIPs")?;
            } else if range.len() == 0 {
                if mark == 0 {
                    mark = default_route::free_table()?;
                    client.set(&format!("fwmark={mark}\n"))?;
                }
                let addresses: Vec<_> = default_route::addresses(name)
                    .into_iter()
                    .map(|(address, _)| address)
                    .collect();
                default_route::add(change, name, v6, mark, &addresses).context("default route")?;
            } else if ip_json(&format!("{of} route show dev {name} match {range}")).is_empty() {
                ip(&format!("{of} route add {range} dev {name}")).context("AllowedIPs")?;
            }
        }
        Ok(())
    }
}

/// The tunnel is up: nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is already up")]
pub struct AlreadyUp(pub InterfaceName);

/// The device that a file is about: its name before `.conf`.
///
/// # Errors
/// It is no device name.
pub fn device_of(file: &Path) -> Result<InterfaceName> {
    let stem = file
        .file_name()
        .and_then(|n| n.to_str()?.strip_suffix(".conf"))
        .with_context(|| {
            format!(
                "{}: the file has to be called after the device, such as wg0.conf",
                file.display()
            )
        })?;
    stem.parse().with_context(|| file.display().to_string())
}

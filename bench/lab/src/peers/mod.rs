//! Real WireGuard implementations to talk to.
//!
//! * [`fetch`]: gets them, once, into a cache.
//! * [`local`]: one of them as a process in a namespace.
//! * [`guest`], [`initramfs`]: a distribution kernel in QEMU, with its own WireGuard.
//! * [`kernel`]: kernels of Debian's releases, for ringtun to run on.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub mod fetch;
pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod local;

/// A WireGuard implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// ringtun: the given binary.
    Ringtun(PathBuf),
    /// The newest wireguard-go that Debian has.
    WireguardGo,
    /// The newest boringtun-cli from crates.io.
    Boringtun,
    /// The distribution's kernel with its own module, in QEMU.
    Linux,
}

impl Implementation {
    /// The name used on command lines and in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Implementation::Ringtun(_) => "ringtun",
            Implementation::WireguardGo => "wireguard-go",
            Implementation::Boringtun => "boringtun",
            Implementation::Linux => "linux",
        }
    }

    /// Those that are not ringtun.
    #[must_use]
    pub fn others() -> [Implementation; 3] {
        [
            Implementation::WireguardGo,
            Implementation::Boringtun,
            Implementation::Linux,
        ]
    }

    /// The implementation of that name; `ringtun` is the binary at `ringtun`.
    ///
    /// # Errors
    /// No implementation has that name.
    pub fn parse(name: &str, ringtun: &Path) -> Result<Implementation> {
        Ok(match name {
            "ringtun" => Implementation::Ringtun(ringtun.to_owned()),
            "wireguard-go" => Implementation::WireguardGo,
            "boringtun" => Implementation::Boringtun,
            "linux" => Implementation::Linux,
            _ => bail!("no peer {name}: there are ringtun, wireguard-go, boringtun, linux"),
        })
    }

    /// Gets it ready: what is missing is fetched into `cache`.
    ///
    /// # Errors
    /// It cannot be fetched; the message says what was tried.
    pub fn prepare(&self, cache: &Path) -> Result<Prepared> {
        let prepared = match self {
            Implementation::Ringtun(binary) => fetch::ringtun(binary),
            Implementation::WireguardGo => fetch::wireguard_go(cache),
            Implementation::Boringtun => fetch::boringtun(cache),
            Implementation::Linux => initramfs::prepare(cache),
        };
        prepared.with_context(|| format!("peer {self}"))
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An implementation that is ready to be started.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Which one.
    pub implementation: Implementation,
    /// Its version, as it or its package says.
    pub version: String,
    /// What to run: the program, or the kernel image.
    pub program: PathBuf,
}

/// `target/peers` of this workspace.
#[must_use]
pub fn default_cache() -> PathBuf {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = lab.ancestors().nth(2).unwrap_or(lab);
    root.join("target/peers")
}

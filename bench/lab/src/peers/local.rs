//! One implementation as a process in a namespace.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Implementation, Prepared};
use crate::registry::FileGuard;
use crate::{NetNs, Process, registry, wait};

/// How long a device may take to appear.
const START: Duration = Duration::from_secs(60);

/// A WireGuard device of a program in user space.
#[derive(Debug)]
pub struct Device {
    /// Its name, unique on this machine.
    pub name: String,
    /// The program.
    pub process: Process,
    _socket: FileGuard,
}

impl Device {
    /// Starts `peer` in `ns`; its UAPI socket answers when this returns.
    ///
    /// # Errors
    /// It does not start; the message has what it wrote.
    pub fn start(peer: &Prepared, ns: &NetNs, name: &str) -> Result<Device> {
        Device::start_with(peer, ns, name, &[])
    }

    /// As [`Device::start`], with more arguments.
    ///
    /// # Errors
    /// As [`Device::start`].
    pub fn start_with(peer: &Prepared, ns: &NetNs, name: &str, more: &[&str]) -> Result<Device> {
        let mut command = foreground(peer, ns, name)?;
        command.args(more);
        // A killed program leaves its socket behind.
        let socket = registry::adopt_file(wait::uapi_path(name))?;
        let process = ns.spawn(command)?;
        if let Err(error) = wait::uapi(name, START) {
            return Err(error).with_context(|| {
                format!(
                    "{} {name} did not start:\n{}",
                    peer.program.display(),
                    process.output()
                )
            });
        }
        Ok(Device {
            name: name.to_owned(),
            process,
            _socket: socket,
        })
    }
}

/// The command that runs `peer` in the foreground with a device of that name.
fn foreground(peer: &Prepared, ns: &NetNs, name: &str) -> Result<Command> {
    let mut command = ns.command(&peer.program);
    match &peer.implementation {
        Implementation::Ringtun(_) => command.args(["run", "--foreground", name]),
        Implementation::WireguardGo => command.env("LOG_LEVEL", "error").args(["-f", name]),
        Implementation::Boringtun => command
            .env("WG_SUDO", "1")
            .env("WG_LOG_LEVEL", "error")
            .args(["--foreground", "--disable-drop-privileges", name]),
        Implementation::Linux => bail!("linux runs in a guest, not in a namespace"),
    };
    Ok(command)
}

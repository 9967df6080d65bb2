//! `ringtun show [NAME] [--json]`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::output::print;
use super::{show_json, show_text};
use crate::control::names::InterfaceName;
use crate::control::quick::Place;
use crate::control::uapi::client::{Client, ClientError};
use crate::control::uapi::socket::DIRECTORY;
use crate::control::uapi::{DeviceInfo, DeviceState};
use crate::control::wgquick::file;
use crate::crypto::PublicKey;
use crate::metrics::names;

#[derive(Args)]
#[command(after_help = "\
Keys that are secret are never shown; `wg show NAME private-key` shows them.

Examples:
  ringtun show
  ringtun show wg0
  ringtun show wg0 --json | jq '.drops | with_entries(select(.value > 0))'
  curl -s http://$(ringtun show wg0 --json | jq -r .metrics)/metrics")]
pub struct ShowArgs {
    /// The device; all of them without
    name: Option<InterfaceName>,

    /// Print JSON: one object for a named device, else an array
    #[arg(long)]
    json: bool,

    /// Where the sockets of devices are
    #[arg(long, hide = true, default_value = DIRECTORY)]
    uapi_directory: PathBuf,
}

/// A device as its daemon describes it.
pub struct Shown {
    pub name: InterfaceName,
    pub state: DeviceState,
    /// `None` where the daemon is no ringtun.
    pub info: Option<DeviceInfo>,
    /// What people call its peers, by the file it was brought up from or would be.
    pub names: HashMap<PublicKey, String>,
}

/// Asks the daemons and prints what they say.
pub fn run(args: &ShowArgs) -> Result<ExitCode> {
    let devices = match &args.name {
        Some(name) => vec![named(&args.uapi_directory, name)?],
        None => all(&args.uapi_directory)?,
    };
    if args.json {
        let single = args.name.is_some();
        print(&show_json::render(&devices, single)?)?;
    } else {
        let now = crate::net::clock::now().wall.secs;
        let texts: Vec<String> = devices.iter().map(|d| show_text::render(d, now)).collect();
        print(&texts.join("\n"))?;
        if devices.is_empty() {
            eprintln!(
                "ringtun: no device runs here (a device of the kernel is shown by `wg show`)"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(directory: &Path, name: &InterfaceName) -> Result<Shown> {
    ask(directory, name).or_else(|error| explain(name, error))
}

/// A connection to the daemon of a device.
///
/// # Errors
/// With the remedy.
pub fn connect(directory: &Path, name: &InterfaceName) -> Result<Client> {
    Client::connect(directory, name).or_else(|error| explain(name, error))
}

fn explain<T>(name: &InterfaceName, error: ClientError) -> Result<T> {
    if let ClientError::Io(io) = &error {
        match io.kind() {
            io::ErrorKind::NotFound => bail!(
                "no device `{name}` runs here; `ringtun run {name}` makes one, \
                 `ringtun show` lists those there are"
            ),
            io::ErrorKind::ConnectionRefused => bail!(
                "the daemon of `{name}` is gone and left its socket behind; `ringtun run {name}` replaces it"
            ),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                bail!("the daemon of `{name}` ended while it was asked")
            }
            io::ErrorKind::PermissionDenied => bail!(
                "this user may not ask the daemon of `{name}`; try `sudo ringtun show {name}`"
            ),
            _ => {}
        }
    }
    Err(error).with_context(|| format!("device `{name}`"))
}

/// The devices whose sockets are there, by name.
///
/// # Errors
/// The directory cannot be listed; that there is none is no error.
pub fn list(directory: &Path) -> Result<Vec<InterfaceName>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot list {} (try it as root)", directory.display()));
        }
    };
    let mut names: Vec<InterfaceName> = entries
        .filter_map(|entry| {
            let file = entry.ok()?.file_name();
            file.to_str()?.strip_suffix(".sock")?.parse().ok()
        })
        .collect();
    names.sort();
    Ok(names)
}

fn all(directory: &Path) -> Result<Vec<Shown>> {
    let mut devices = Vec::new();
    for name in list(directory)? {
        match ask(directory, &name) {
            Ok(shown) => devices.push(shown),
            // It ended between the listing and now, or before without cleaning up.
            Err(ClientError::Io(e))
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => eprintln!("ringtun: device `{name}`: {error}"),
        }
    }
    Ok(devices)
}

fn ask(directory: &Path, name: &InterfaceName) -> Result<Shown, ClientError> {
    let mut client = Client::connect(directory, name)?;
    let state = client.state()?;
    // Other implementations close the connection or refuse.
    let info = client.info().ok();
    Ok(Shown {
        name: name.clone(),
        state,
        info,
        names: names_of(name),
    })
}

/// The wg-quick file that a device was brought up from, or would be.
pub fn names_file(name: &InterfaceName) -> PathBuf {
    let journal = Place::new(name).load().ok().flatten();
    journal.map_or_else(|| file::locate(name.as_str()), |journal| journal.file)
}

/// None where the file cannot be read.
fn names_of(name: &InterfaceName) -> HashMap<PublicKey, String> {
    let text = names::read(&names_file(name));
    text.map(|text| names::parse(&text)).unwrap_or_default()
}

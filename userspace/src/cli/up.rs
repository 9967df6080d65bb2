//! `ringtun up`, `down` and `reload`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::run::{self, DaemonArgs};
use super::tunnels::{self, locate, read, unchanged};
use crate::control::quick::down::{self, NotUp};
use crate::control::quick::{Place, reload};
use crate::control::uapi::socket::DIRECTORY;

#[derive(Args)]
#[command(after_help = "\
Does what wg-quick does with the same file: device, addresses, MTU, DNS, routes, policy
routing and firewall rules for a default route, hooks. The program goes to the background
when all is done; if anything fails, all is taken back. `ringtun down`, `wg-quick down` or
SIGTERM end it.

With a default route nothing leaves in the clear even if the process is killed, until
`ringtun down` or the next `ringtun up`. An endpoint's name that is not known
within five seconds is looked up again and again later.

Exit status: 0 if it is up now, 3 if it was already, 1 if it could not be brought up.

Examples:
  ringtun up wg0                 the file /etc/wireguard/wg0.conf
  ringtun up ./office.conf       the device is called after the file: office
  ringtun up wg0 --foreground --log info
  ringtun check wg0 && ringtun up wg0")]
pub struct UpArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf
    #[arg(value_name = "NAME or FILE")]
    file: String,

    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Args)]
#[command(after_help = "\
Runs PreDown, saves the file if it says SaveConfig, takes back what `ringtun up` wrote
down in /run/ringtun/NAME.json, runs PostDown. Works as well when the process was killed,
and when the file has changed or is gone.

Exit status: 0 if it is down now, 3 if it was not up, 1 if something could not be taken
back (what, is printed, and kept for the next try) or a hook failed.

Examples:
  ringtun down wg0
  ringtun down ./office.conf")]
pub struct DownArgs {
    /// As for `ringtun up`
    #[arg(value_name = "NAME or FILE")]
    file: String,
}

#[derive(Args)]
#[command(after_help = "\
As `wg syncconf`: keys, port and peers become those of the file. Sessions of peers that
stay go on, and so do their counters. Addresses, routes, DNS and hooks are those of `up`
until the next one. A file with a mistake is refused as a whole.

Exit status: 0 if the tunnel is as the file says, 3 if it is not up, else 1.

Example:
  ringtun reload wg0")]
pub struct ReloadArgs {
    /// As for `ringtun up`
    #[arg(value_name = "NAME or FILE")]
    file: String,
}

/// Brings a tunnel up, and serves it.
pub fn up(args: &UpArgs) -> Result<ExitCode> {
    let plan = || {
        let (path, name) = locate(&args.file)?;
        tunnels::plan(path, name)
    };
    tunnels::start(
        &args.daemon.logs,
        args.daemon.foreground,
        || plan().map(drop),
        |ready| {
            let plan = plan()?;
            let options = run::options(vec![plan.name.clone()], &args.daemon)?;
            tunnels::serve(vec![plan], options, ready)
        },
    )
}

/// Takes a tunnel down.
pub fn down(args: &DownArgs) -> Result<ExitCode> {
    let (_, name) = locate(&args.file)?;
    let own = std::process::id();
    match down::take_down(&Place::new(&name), &name, Path::new(DIRECTORY), own) {
        Err(error) if error.is::<NotUp>() => unchanged(&error),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// Has a tunnel follow its file.
pub fn reload(args: &ReloadArgs) -> Result<ExitCode> {
    follow(&args.file)
}

/// The same for a file or name.
pub fn follow(file: &str) -> Result<ExitCode> {
    let (path, name) = locate(file)?;
    let config = read(&path)?;
    let place = Place::new(&name);
    match reload::reload(&place, &name, Path::new(DIRECTORY), &config) {
        Err(error) if error.is::<NotUp>() => unchanged(&error),
        other => other.map(|_| ExitCode::SUCCESS),
    }
}

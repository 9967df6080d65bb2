//! `ringtun log NAME LEVEL`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::show;
use crate::control::errno::Errno;
use crate::control::log::LogLevel;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::ClientError;
use crate::control::uapi::socket::DIRECTORY;

#[derive(Args)]
#[command(after_help = "\
It holds for all devices of the process, until it ends or the level is changed again.
Log lines go to its standard error. A daemon in the background has closed that unless
it was started with --log or LOG_LEVEL; start it so, or with --foreground.

Examples:
  ringtun log wg0 debug
  ringtun log wg0 info")]
pub struct LogArgs {
    /// A device of the process
    name: InterfaceName,

    /// off, error, warn, info, debug or trace
    #[arg(value_name = "LEVEL", value_parser = level)]
    level: LogLevel,

    /// Where the sockets of devices are
    #[arg(long, hide = true, default_value = DIRECTORY)]
    uapi_directory: PathBuf,
}

fn level(text: &str) -> Result<LogLevel, &'static str> {
    text.parse()
}

/// Changes the level.
pub fn run(args: &LogArgs) -> Result<ExitCode> {
    let mut client = show::connect(&args.uapi_directory, &args.name)?;
    match client.set_log(args.level) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ClientError::Refused(Errno::PROTOCOL) | ClientError::Io(_)) => bail!(
            "the daemon of `{}` is not ringtun, or an older one: it cannot change its log",
            args.name
        ),
        Err(error) => Err(error.into()),
    }
}

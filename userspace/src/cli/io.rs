//! `ringtun io NAME [MODE]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::output::print;
use super::show;
use crate::bpf::BpfError;
use crate::control::errno::Errno;
use crate::control::names::InterfaceName;
use crate::control::options::IoMode;
use crate::control::uapi::DeviceInfo;
use crate::control::uapi::client::{Client, ClientError};
use crate::control::uapi::socket::DIRECTORY;

/// Attaching a program and opening rings takes a fraction of a second, where a
/// card resets its link some seconds.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Args)]
#[command(after_help = "\
No session is lost: packets go by the sockets while the rings change.

Through AF_XDP, nftables, tc and tcpdump of this host do not see the encrypted packets
of the network card; `ringtun io NAME udp` brings them back into sight.

Exit status: 0 if it is as asked for, or will be once a packet shows which card leads to a
peer; 1 if xdp was asked for and cannot be had (the reason is printed, and the packets go by
the sockets).

Examples:
  ringtun io wg0            # what it is, and why
  ringtun io wg0 xdp
  ringtun io wg0 udp --json")]
pub struct IoArgs {
    /// The device
    name: InterfaceName,

    /// auto, xdp or udp; without, only shown
    #[arg(value_name = "MODE", value_parser = mode)]
    mode: Option<IoMode>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Where the sockets of devices are
    #[arg(long, hide = true, default_value = DIRECTORY)]
    uapi_directory: PathBuf,
}

fn mode(text: &str) -> Result<IoMode, &'static str> {
    text.parse()
}

/// Switches, and tells what came of it.
pub fn run(args: &IoArgs) -> Result<ExitCode> {
    let mut client = show::connect(&args.uapi_directory, &args.name)?;
    if let Some(mode) = args.mode {
        match client.set_io(mode) {
            Ok(()) => {}
            Err(ClientError::Refused(Errno::NOT_SUPPORTED)) => {
                return Err(BpfError::NotEmbedded.into());
            }
            Err(ClientError::Refused(Errno::PROTOCOL) | ClientError::Io(_)) => bail!(
                "the daemon of `{}` is not ringtun, or an older one: it cannot switch",
                args.name
            ),
            Err(error) => return Err(error.into()),
        }
    }
    let info = settled(&mut client, args)?;
    print(&render(args, &info)?)?;
    let missed = args.mode == Some(IoMode::Xdp) && info.io != "xdp" && !info.io_waits;
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What the daemon says once it has carried out what it was asked for.
fn settled(client: &mut Client, args: &IoArgs) -> Result<DeviceInfo, ClientError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let info = client.info()?;
        let done = args.mode.is_none() || !info.io_pending;
        if done || Instant::now() >= end {
            return Ok(info);
        }
        // The daemon tells nobody by itself; asking costs it next to nothing.
        thread::sleep(LOOK_EVERY);
    }
}

fn render(args: &IoArgs, info: &DeviceInfo) -> Result<String> {
    if args.json {
        let value = serde_json::json!({
            "device": args.name.as_str(),
            "asked": info.io_asked,
            "io": info.io,
            "reason": info.io_reason,
            "pending": info.io_pending,
            "waits": info.io_waits,
            "by_socket": info.by_socket,
            "cards": info.cards,
        });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    let mut text = format!("{}: {} ({})\n", args.name, info.io, info.io_reason);
    for why in &info.by_socket {
        text.push_str(&format!("  by socket: {why}\n"));
    }
    Ok(text)
}

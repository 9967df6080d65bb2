//! `ringtun capture NAME`: asks the daemon, and writes what it sends.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::capture_copy::{self, Copied, Limits};
use super::show;
use crate::control::capture::pcapng::SNAP_MAX;
use crate::control::capture::request::SNAP_MIN;
use crate::control::capture::{CaptureRequest, CaptureSides};
use crate::control::errno::Errno;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::ClientError;
use crate::control::uapi::socket::DIRECTORY;
use crate::crypto::PublicKey;

#[derive(Args)]
#[command(after_help = "\
Encrypted packets that travel through AF_XDP are hidden from tcpdump on their network
card; here they are, with what is inside them, in one pcapng stream of two interfaces:

  outer  encrypted, as they came and went: handshakes, keepalives, data. What went by a
         socket has made-up Ethernet addresses (zero), IPv4 identification and TTL.
  inner  PLAINTEXT, as the device gave and got it. Whoever has the file can read it: it
         is made with mode 0600; --side outer leaves this side out.

There are no keys in it. A reader that is too slow loses packets, which are counted; it
slows nobody. The capture ends with Ctrl-C, SIGTERM, a closed pipe, --count, --seconds or
the device, always after a whole packet. At most 4 captures of a device run at once.

Examples:
  ringtun capture wg0 | tcpdump -r - -n
  ringtun capture wg0 | wireshark -k -i -
  ringtun capture wg0 -w wg0.pcapng --seconds 10
  ringtun capture wg0 --side outer --snap 128 -w headers.pcapng
  ringtun capture wg0 --side inner --count 100 | tcpdump -r - -n 'tcp[tcpflags] & tcp-syn != 0'
  ssh gateway ringtun capture wg0 | wireshark -k -i -")]
pub struct CaptureArgs {
    /// The device
    name: InterfaceName,

    /// Write to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    write: PathBuf,

    /// outer (encrypted), inner (plaintext) or both
    #[arg(long, value_name = "SIDE", default_value = "both", value_parser = sides)]
    side: CaptureSides,

    /// Keep this many bytes of each frame, its Ethernet header included
    #[arg(long, value_name = "BYTES", default_value_t = SNAP_MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(i64::from(SNAP_MIN)..=i64::from(SNAP_MAX)))]
    snap: u32,

    /// End after this many packets, both sides together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: Option<u64>,

    /// Only packets of this peer; outside, those from and to its endpoint
    #[arg(long, value_name = "PUBLIC_KEY")]
    peer: Option<PublicKey>,

    /// Print the summary as JSON, on standard error
    #[arg(long)]
    json: bool,

    /// Where the sockets of devices are
    #[arg(long, hide = true, default_value = DIRECTORY)]
    uapi_directory: PathBuf,
}

/// Ten years.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

fn sides(text: &str) -> Result<CaptureSides, &'static str> {
    text.parse()
}

/// Captures until something ends it, and tells what came of it.
pub fn run(args: &CaptureArgs) -> Result<ExitCode> {
    let to_stdout = args.write == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        bail!(
            "standard output is a terminal, and a capture is no text; try \
             `ringtun capture {name} | tcpdump -r - -n`, or -w {name}.pcapng",
            name = args.name
        );
    }
    // Asked first: a device that is not there leaves no empty file behind.
    let client = show::connect(&args.uapi_directory, &args.name)?;
    let request = CaptureRequest {
        sides: args.side,
        snap: args.snap,
        peer: args.peer,
    };
    let (stream, begun) = client
        .capture(&request)
        .or_else(|error| explain(args, error))?;
    let out = if to_stdout {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        File::from(stdout.context("standard output")?)
    } else {
        create(&args.write)?
    };
    if !args.json {
        say(&format!("ringtun: capturing {}", describe(args)));
    }
    let limits = Limits {
        count: args.count,
        seconds: args.seconds,
    };
    let copied = capture_copy::copy(stream, &begun, out, limits)?;
    say(&summary(args, &copied)?);
    match copied.failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure).with_context(|| format!("writing {}", target(args))),
    }
}

fn explain<T>(args: &CaptureArgs, error: ClientError) -> Result<T> {
    let name = &args.name;
    match error {
        ClientError::Refused(Errno::BUSY) => {
            bail!("4 captures of `{name}` are under way, which is as many as there may be; end one")
        }
        ClientError::Refused(Errno::NOT_FOUND) => {
            bail!("`{name}` has no such peer; `ringtun show {name}` lists those it has")
        }
        ClientError::Refused(Errno::PROTOCOL | Errno::INVALID)
        | ClientError::Io(_)
        | ClientError::Garbled { .. } => bail!(
            "the daemon of `{name}` is not ringtun, or an older one: it cannot capture ({error})"
        ),
        ClientError::Refused(_) => Err(error).with_context(|| format!("device `{name}`")),
    }
}

/// A file that nobody else can read, or what is there and is no file.
fn create(path: &Path) -> Result<File> {
    let open = || -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // It may have been there before, readable for others.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    };
    open().with_context(|| format!("cannot write {}", path.display()))
}

fn target(args: &CaptureArgs) -> String {
    if args.write == Path::new("-") {
        "standard output".to_owned()
    } else {
        args.write.display().to_string()
    }
}

fn describe(args: &CaptureArgs) -> String {
    let what = match args.side {
        CaptureSides::Outer => "outer packets",
        CaptureSides::Inner => "inner packets, which are plaintext,",
        CaptureSides::Both => "outer packets, and inner ones, which are plaintext,",
    };
    let until = if args.count.is_some() || args.seconds.is_some() {
        ""
    } else {
        "; Ctrl-C ends it"
    };
    format!("{}: {what} to {}{until}", args.name, target(args))
}

fn summary(args: &CaptureArgs, copied: &Copied) -> Result<String> {
    let [outer, inner] = copied.packets;
    let missed: u64 = copied.missed.iter().sum();
    if args.json {
        let file = (args.write != Path::new("-")).then(|| target(args));
        let value = serde_json::json!({
            "device": args.name.as_str(),
            "file": file,
            "ended_by": copied.ended_by.label(),
            "packets": outer + inner,
            "outer": outer,
            "inner": inner,
            "missed": missed,
            "missed_outer": copied.missed[0],
            "missed_inner": copied.missed[1],
        });
        return Ok(serde_json::to_string(&value)?);
    }
    let slow = if missed > 0 {
        " (the reader was too slow; --snap or --side makes it less)"
    } else {
        ""
    };
    Ok(format!(
        "ringtun: {}: {} packets ({outer} outer, {inner} inner), {missed} missed{slow}; \
         ended by {}",
        args.name,
        outer + inner,
        copied.ended_by.text(),
    ))
}

/// Not `eprintln!`, which panics where standard error is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

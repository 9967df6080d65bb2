//! `cargo xtask bench`, `interop`, `scenario`, `dashboard` and `kernels`: the
//! crate `ringtun-bench`, with the release binary.

use super::build;
use super::test::IO_VARIABLE;
use crate::toolchain::packages::{self, Need};
use crate::{paths, process, progress};
use anyhow::{Result, ensure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a suite: tunnel, gateway, pipeline, ebpf, scale and ring, each shorter than alone; what
each is run with is printed. Every suite leaves its rows (JSON), pictures (SVG) and a report of all in
target/bench/report.md.

Options of `tunnel`, after its name (`tunnel --help` has more):
  --json FILE         write all rows to this file too
  --runs N            runs of each implementation and case; the median counts
  --seconds N         seconds of one run, and of the confirmation of a loss-free rate
  --probe-seconds N   seconds of each probe of the search for that rate
  --case LIST         tcp1, tcp4, udp64, udp512, udp1400, imix, rtt-idle, rtt-load
  --impl LIST         ringtun-udp, ringtun-xdp, wireguard-go, boringtun, none
  --congestion NAME   TCP's congestion control, the same for all
  --train N           packets that the generator gives to the kernel at once

Options of `readme`, after its name:
  --json FILE      the rows of a run of `tunnel`
  --readme FILE    where its table goes, between two marks

Options of `gateway`, after its name:
  --json FILE      write all rows to this file
  --runs N         runs of each implementation and case; the median counts
  --seconds N      seconds of one run
  --rate N         packets per second that arrive; without, as many as can be sent
  --case LIST      encrypt, decrypt; with -64, -512 or -1400, one size only
  --impl LIST      ringtun-xdp, ringtun-udp, wireguard-go, boringtun, none

Options of `ebpf`, after its name:
  --json FILE      write all rows to this file
  --runs N         runs of each program and class; the median counts
  --packets N      packets of one run

Options of `ring`, after its name:
  --json FILE      write all rows to this file
  --runs N         runs of each case; the median counts
  --seconds N      seconds of one run
  --case LIST      transmit, receive, forward; with -64 or -1420, one size only

Options of `pipeline`, after its name:
  --json FILE      write all rows to this file
  --runs N         runs of each case; the median counts
  --passes N       passes of one run, each a fraction of a millisecond; the median counts
  --case LIST      seal, open; with -64, -512, -1420 or -8900 behind it, one size only;
                   with -1t, -2t, -2t-1peer or -2t-2peer behind that, one or two threads

Options of `scale`, after its name:
  --json FILE      write all rows to this file
  --runs N         runs of each number of peers; the median counts
  --passes N       passes of one run, each of 16 handshakes; the median counts
  --peers LIST     numbers of peers, each with ten prefixes")]
pub struct Arguments {
    /// The suite: tunnel, gateway, pipeline, ebpf, scale, ring; all; or readme
    #[arg(default_value = "all")]
    pub suite: String,
    /// Options of the suite
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
}

#[derive(Debug, Default, clap::Args)]
pub struct InteropArguments {
    /// wireguard-go, boringtun, linux; all of them when none is named
    pub peers: Vec<String>,
    /// Smaller transfers, and one of them across a rekey
    #[arg(long)]
    pub short: bool,
    /// No transfer across a rekey, which takes more than two minutes
    #[arg(long)]
    pub no_rekey: bool,
    /// How ringtun's encrypted packets travel: xdp, udp or auto
    #[arg(long, value_parser = ["xdp", "udp", "auto"])]
    pub io: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
steer-esp, steer-gre, steer-wireguard:
  1,024 tunnels of others arrive by one queue of a device whose XDP program
  spreads them over two CPUs by SPI, GRE key, Call ID and flow inside, or receiver
  index.
  Expected: no packet is lost at a rate at which none is lost without steering,
  each tunnel's packets come in order and on one CPU, and neither CPU has more
  than 60 in a hundred. Each makes two network namespaces, and takes ten seconds.

soak:
  Two TCP connections and bursts of datagrams through a tunnel over AF_XDP whose
  rings have 64 entries, so that they overflow all the time.
  Expected: each byte of TCP arrives, nothing stalls, no frame of a ring is lost,
  and the memory of both ends stays as it is. `--seconds 1800` for half an hour.")]
pub struct ScenarioArguments {
    /// steer-esp, steer-gre, steer-wireguard, soak; all of them when none is named
    pub names: Vec<String>,
    /// How long `soak` takes
    #[arg(long)]
    pub seconds: Option<u64>,
}

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Two gateways in network namespaces with traffic over AF_XDP, drops of several reasons, a peer
that does not answer, one that roams, and a flood of handshakes; a Prometheus scrapes them each
second. Then every query of packaging/grafana/ringtun.json is asked as Grafana asks it, and every
panel drawn where the dashboard has it: target/dashboard/dashboard.svg, and its first row in
overview.svg. Fails where a query is refused or a panel has nothing to show.")]
pub struct DashboardArguments {
    /// How long traffic moves
    #[arg(long)]
    pub seconds: Option<u64>,
}

#[derive(Debug, Default, clap::Args)]
pub struct KernelsArguments {
    /// 6.1, 6.12; both when none is named
    pub series: Vec<String>,
}

/// The suites.
pub fn run(arguments: &Arguments) -> Result<String> {
    let needs = [packages::DEMO, packages::TEST].concat();
    bench(&arguments.suite, &arguments.rest, &needs, None)?;
    Ok(format!(
        "bench: {} done in {}",
        arguments.suite,
        progress::elapsed()
    ))
}

/// The interoperability matrix.
pub fn interop(arguments: &InteropArguments) -> Result<String> {
    let mut rest = arguments.peers.clone();
    if arguments.short {
        rest.push("--short".to_owned());
    }
    if arguments.no_rekey {
        rest.push("--no-rekey".to_owned());
    }
    let needs = [packages::DEMO, packages::TEST, packages::INTEROP].concat();
    bench("interop", &rest, &needs, arguments.io.as_deref())?;
    let peers = if arguments.peers.is_empty() {
        "every peer".to_owned()
    } else {
        arguments.peers.join(", ")
    };
    Ok(format!(
        "interop: {peers} passed{} in {}",
        arguments
            .io
            .as_ref()
            .map_or(String::new(), |io| format!(" with --io {io}")),
        progress::elapsed()
    ))
}

/// Network situations.
pub fn scenario(arguments: &ScenarioArguments) -> Result<String> {
    let mut rest = arguments.names.clone();
    if let Some(seconds) = arguments.seconds {
        rest.extend(["--seconds".to_owned(), seconds.to_string()]);
    }
    bench("scenario", &rest, packages::DEMO, None)?;
    let names = if arguments.names.is_empty() {
        "all".to_owned()
    } else {
        arguments.names.join(", ")
    };
    Ok(format!(
        "scenario: {names} as expected in {}",
        progress::elapsed()
    ))
}

/// The dashboard for Grafana over live data.
pub fn dashboard(arguments: &DashboardArguments) -> Result<String> {
    let seconds = arguments.seconds.map(|n| n.to_string());
    let rest = seconds.map(|n| vec!["--seconds".to_owned(), n]);
    let needs = [packages::DEMO, packages::TEST].concat();
    bench("dashboard", &rest.unwrap_or_default(), &needs, None)?;
    Ok(format!("dashboard: drawn in {}", progress::elapsed()))
}

/// Older kernels, in QEMU.
pub fn kernels(arguments: &KernelsArguments) -> Result<String> {
    let needs = [packages::DEMO, packages::INTEROP].concat();
    bench("kernels", &arguments.series, &needs, None)?;
    let series = if arguments.series.is_empty() {
        "every kernel".to_owned()
    } else {
        arguments.series.join(", ")
    };
    Ok(format!(
        "kernels: {series} passed in {}",
        progress::elapsed()
    ))
}

fn bench(suite: &str, rest: &[String], needs: &[Need], io: Option<&str>) -> Result<()> {
    ensure!(
        packages::is_root(),
        "this makes network namespaces: run it as root"
    );
    packages::ensure(needs)?;
    ringtun_lab::reap()?;
    let binary = build::release_binary()?;
    progress::step("cargo build --release (ringtun-bench)", || {
        let mut command = process::cargo(["build", "--release", "--locked"]);
        command
            .args(["--package", "ringtun-bench"])
            .env(build::OBJECT_VARIABLE, build::bpf_object()?);
        process::run(command)
    })?;
    let mut command = process::command(paths::target().join("release/ringtun-bench"));
    command
        .arg(suite)
        .args(rest)
        .env("RINGTUN", binary)
        // Where a relative path of an output file is meant to be.
        .current_dir(std::env::current_dir()?);
    if let Some(io) = io {
        command.env(IO_VARIABLE, io);
    }
    let result = process::run_telling(command);
    ringtun_lab::reap()?;
    result
}

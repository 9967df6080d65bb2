//! Side-by-side benches: every implementation in one invocation, alternating run by run.
//!
//! * [`dashboard`]: the dashboard for Grafana over live data, drawn.
//! * [`ebpf`]: the XDP program, packet by packet.
//! * [`gateway`]: one gateway alone, between a generator and a sink.
//! * [`pipeline`]: sealing and opening in memory, beside the AEAD alone.
//! * [`ring`]: AF_XDP receive, transmit and forward, alone.
//! * [`scenario`]: named situations, each with what is expected and what was seen.
//! * [`tunnel`]: whole tunnels between two namespaces.
//! * [`wireguard`]: a gateway and clients in memory, for [`pipeline`] and [`scale`].
//! * [`scale`]: memory, lookups and handshakes with many peers.
//! * [`pass`]: short stretches of work, two sides taking turns.
//! * [`load`]: datagrams at a rate, and round trips.
//! * [`report`]: rows, medians, files, tables and pictures.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use ringtun_lab::peers::kernel::Series;
use ringtun_lab::peers::{self, Implementation};
use ringtun_lab::{interop, kernels};

mod dashboard;
mod ebpf;
mod gateway;
mod load;
mod pass;
mod pipeline;
mod report;
mod ring;
mod scale;
mod scenario;
mod tunnel;
mod wireguard;

/// Benches of ringtun against other implementations, and interoperability with them.
#[derive(Debug, Parser)]
#[command(name = "ringtun-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// tunnel, gateway, pipeline, ebpf, scale and ring, each shorter than alone.
    All,
    /// Puts the table of a run of `tunnel` between the marks of README.md.
    Readme(report::readme::Arguments),
    /// Whole tunnels between two namespaces: goodput, loss-free rates, round trips, processor time.
    Tunnel(tunnel::Arguments),
    /// The XDP program: nanoseconds per packet of each class.
    Ebpf(ebpf::Arguments),
    /// The data path in memory: packets per second sealed and opened, beside the AEAD alone.
    Pipeline(pipeline::Arguments),
    /// Many peers: memory, AllowedIPs lookups, handshakes beside their Diffie-Hellman alone.
    Scale(scale::Arguments),
    /// AF_XDP alone: packets per second received, transmitted, forwarded.
    Ring(ring::Arguments),
    /// One gateway between a generator and a sink: packets per second each way.
    Gateway(gateway::Arguments),
    /// The dashboard for Grafana over live data: every query asked, every panel drawn.
    Dashboard(dashboard::Arguments),
    /// Named network situations: what is expected, and what was seen.
    Scenario(scenario::Arguments),
    /// ringtun against real peers, every combination at once.
    Interop(Interop),
    /// ringtun on the kernels of Debian's releases, in QEMU.
    Kernels(Kernels),
}

#[derive(Debug, clap::Args)]
struct Kernels {
    /// 6.1, 6.12; all of them when none is named.
    series: Vec<String>,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = default_binary())]
    ringtun: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Interop {
    /// wireguard-go, boringtun, linux; all of them when none is named.
    peers: Vec<String>,
    /// What is tried against them.
    #[arg(long, default_value = "ringtun")]
    subject: String,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = default_binary())]
    ringtun: PathBuf,
    /// Smaller transfers; one with each peer across a rekey
    #[arg(long)]
    short: bool,
    /// No transfer across a rekey, which takes more than two minutes
    #[arg(long)]
    no_rekey: bool,
}

/// What `$RINGTUN` names, else `target/release/ringtun` of this workspace.
fn default_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGTUN") {
        return path.into();
    }
    peers::default_cache().with_file_name("release/ringtun")
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringtun-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `all` runs: each suite once, in some minutes together.
const SHORT: [&str; 6] = [
    "tunnel --runs 1 --seconds 2 --case tcp1,udp1400,imix,rtt-idle,rtt-load",
    "gateway --runs 1 --seconds 1",
    "pipeline --runs 1 --passes 100",
    "ebpf --runs 3 --packets 100000",
    "scale --runs 1 --passes 30 --peers 1,1000",
    "ring --runs 1 --seconds 1",
];

fn all() -> Result<()> {
    for suite in SHORT {
        println!("\nbench {suite}");
        let words = ["ringtun-bench"].into_iter().chain(suite.split(' '));
        run(Arguments::try_parse_from(words)?.command).context(suite)?;
    }
    Ok(())
}

fn run(suite: Suite) -> Result<()> {
    match suite {
        Suite::All => all(),
        Suite::Readme(arguments) => report::readme::run(&arguments),
        Suite::Tunnel(arguments) => tunnel::run(&arguments),
        Suite::Ebpf(arguments) => ebpf::run(&arguments),
        Suite::Pipeline(arguments) => pipeline::run(&arguments),
        Suite::Scale(arguments) => scale::run(&arguments),
        Suite::Ring(arguments) => ring::run(&arguments),
        Suite::Gateway(arguments) => gateway::run(&arguments),
        Suite::Dashboard(arguments) => dashboard::run(&arguments),
        Suite::Scenario(arguments) => scenario::run(&arguments),
        Suite::Interop(arguments) => interop(&arguments),
        Suite::Kernels(arguments) => kernels(&arguments),
    }
}

fn interop(arguments: &Interop) -> Result<()> {
    let chosen = arguments
        .peers
        .iter()
        .map(|name| Implementation::parse(name, &arguments.ringtun))
        .collect::<Result<Vec<_>>>()?;
    interop::run(&interop::Options {
        subject: Implementation::parse(&arguments.subject, &arguments.ringtun)?,
        peers: if chosen.is_empty() {
            Implementation::others().to_vec()
        } else {
            chosen
        },
        short: arguments.short,
        rekey: !arguments.no_rekey,
        cache: peers::default_cache(),
    })
    .map(drop)
}

fn kernels(arguments: &Kernels) -> Result<()> {
    let chosen = arguments.series.iter().map(|name| Series::parse(name));
    let chosen = chosen.collect::<Result<Vec<_>>>()?;
    kernels::run(&kernels::Options {
        series: if chosen.is_empty() {
            Series::ALL.to_vec()
        } else {
            chosen
        },
        ringtun: arguments.ringtun.clone(),
        cache: peers::default_cache(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn what_all_runs_can_be_run() {
        Arguments::command().debug_assert();
        for suite in SHORT {
            let words = ["ringtun-bench"].into_iter().chain(suite.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{suite}");
        }
    }
}

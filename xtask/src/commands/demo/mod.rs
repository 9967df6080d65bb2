//! `cargo xtask demo`: two gateways, a tunnel between them, real traffic.
//!
//! ```text
//!  namespace a             namespace m          namespace b
//!  ringtun ── veth, XDP ─── bridge ─────── XDP, veth ── ringtun (or another)
//!  10.88.0.1, fd88::1                           10.88.0.2, fd88::2   inside
//!  10.77.0.1, fd77::1                           10.77.0.2, fd77::2   outside
//! ```
//!
//! * [`tunnel`]: the gateways and what is between them.
//! * [`metrics`]: what a gateway says of itself over HTTP.

mod metrics;
mod tunnel;

use super::build;
use crate::toolchain::packages;
use crate::{process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use ringtun_lab::peers::{Implementation, default_cache};
use ringtun_lab::ping;
use ringtun_lab::stream::{self, Plan};
use std::net::SocketAddr;
use tunnel::{Family, Tunnel};

const PINGS: u32 = 5;
const BULK: u64 = 256 << 20;
const PORT: u16 = 5001;
/// What is outside the tunnel, and how many queues the network cards have.
const CASES: [(Family, u32); 4] = [
    (Family::V4, 1),
    (Family::V6, 1),
    (Family::V4, 4),
    (Family::V6, 4),
];
/// Of a bulk transfer, the part that may pass through UDP sockets where it is
/// to go through rings: what was under way while they were being opened.
const BY_SOCKET_MAX: f64 = 0.01;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave the tunnel running until Ctrl-C
    #[arg(long)]
    pub hold: bool,
    /// How ringtun's encrypted packets travel: xdp, auto or udp
    #[arg(long, default_value = "xdp", value_parser = ["xdp", "auto", "udp"])]
    pub io: String,
    /// What is at the far end
    #[arg(long, default_value = "ringtun", value_parser = ["ringtun", "wireguard-go", "boringtun"])]
    pub peer: String,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            hold: false,
            io: "xdp".to_owned(),
            peer: "ringtun".to_owned(),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<String> {
    ensure!(
        packages::is_root(),
        "the demo makes network namespaces and TUN devices: run it as root"
    );
    packages::ensure(packages::DEMO)?;
    ringtun_lab::reap()?;
    let binary = build::release_binary()?;
    let cache = default_cache();
    let near = Implementation::parse("ringtun", &binary)?.prepare(&cache)?;
    let far = progress::step(&format!("peer {}", arguments.peer), || {
        Implementation::parse(&arguments.peer, &binary)?.prepare(&cache)
    })?;

    let mut tunnels = Vec::new();
    let mut rates = Vec::new();
    for (family, queues) in CASES {
        let s = if queues == 1 { "" } else { "s" };
        println!("\n==== {family} outside, {queues} queue{s} ====");
        let tunnel = Tunnel::new([&near, &far], family, queues, &arguments.io)?;
        rates.push(show(&tunnel, family)?);
        tunnels.push(tunnel);
    }
    if arguments.hold {
        hold(&tunnels)?;
    }
    drop(tunnels);
    Ok(format!(
        "demo: ringtun {} (--io {}) and {} {}: ping and {} x {} MiB intact, {}, nothing dropped, \
         in {}",
        near.version,
        arguments.io,
        far.implementation,
        far.version,
        CASES.len(),
        BULK >> 20,
        CASES
            .iter()
            .zip(rates)
            .map(|((family, queues), rate)| format!(
                "{:.2} Gbit/s over {family} with {queues}",
                rate / 1e9
            ))
            .collect::<Vec<_>>()
            .join(", "),
        progress::elapsed()
    ))
}

/// Traffic through the tunnel, and what both ends say of it; the transfer's
/// rate in bit/s.
fn show(tunnel: &Tunnel, family: Family) -> Result<f64> {
    let rate = pings(tunnel).and_then(|()| bulk(tunnel, family));
    // Also after a failure: they say what went wrong.
    for end in &tunnel.ends {
        let (ns, implementation) = (end.ns().name(), end.implementation());
        println!("\n-- wg show, {ns} ({implementation})");
        match end.wg_show() {
            Ok(text) => print!("{text}"),
            Err(error) => println!("{error:#}"),
        }
    }
    let drops = report_metrics(tunnel);
    let rate = rate?;
    let drops = drops?;
    ensure!(drops == 0, "{drops} packets were dropped");
    Ok(rate)
}

/// Echo requests through the tunnel, both families, both ways.
fn pings(tunnel: &Tunnel) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        for address in tunnel.ends[to].inside() {
            let ns = tunnel.ends[from].ns();
            ping::until_answered(ns, address, tunnel::PATIENCE)?;
            let report = ping::expect_all(ns, address, PINGS)?;
            println!(
                "ping {} -> {address}: {} of {} answered, {:.3} ms",
                ns.name(),
                report.received,
                report.sent,
                report.mean.unwrap_or(0.0) * 1e3
            );
        }
    }
    Ok(())
}

/// A bulk TCP transfer, over the same family inside as outside; its rate.
fn bulk(tunnel: &Tunnel, family: Family) -> Result<f64> {
    let [from, to] = &tunnel.ends;
    let address = SocketAddr::new(to.inside()[family as usize], PORT);
    let before = tunnel.outside_counts()?;
    let report = stream::transfer(from.ns(), to.ns(), address, &Plan::bulk(BULK))?;
    let after = tunnel.outside_counts()?;
    println!(
        "TCP  {} -> {address}: {} MiB in {:.2} s, {:.2} Gbit/s, every byte compared, \
         CRC-32 {:08x}",
        from.ns().name(),
        report.bytes >> 20,
        report.time.as_secs_f64(),
        report.bits_per_second() / 1e9,
        report.checksum
    );
    for ((end, before), after) in tunnel.ends.iter().zip(before).zip(after) {
        let Some((before, after)) = before.zip(after) else {
            continue;
        };
        let (data, datagrams) = (after.data - before.data, after.datagrams - before.datagrams);
        println!(
            "io   {}: {}: {data} data packets, of which the kernel's UDP saw {datagrams} \
             (/proc/net/snmp, snmp6)",
            end.ns().name(),
            after.io
        );
        ensure!(
            !end.wants_rings() || (datagrams as f64) <= BY_SOCKET_MAX * data as f64,
            "{datagrams} of {data} packets went through sockets"
        );
    }
    Ok(report.bits_per_second())
}

/// Prints what the gateways count; returns how many packets they dropped.
fn report_metrics(tunnel: &Tunnel) -> Result<u64> {
    let mut dropped = 0;
    for end in tunnel.ends.iter().filter(|end| end.is_ringtun()) {
        let address = end.metrics_address()?;
        let text = metrics::read(end.ns(), address)?;
        let drops = metrics::drops(&text);
        ensure!(
            !drops.is_empty(),
            "no drop counter among the metrics:\n{text}"
        );
        println!(
            "\n-- http://{address}/metrics, {}: {} bytes",
            end.ns().name(),
            text.len()
        );
        for line in metrics::peers(&text) {
            println!("{line}");
        }
        let (zero, other): (Vec<_>, Vec<_>) = drops.iter().partition(|(_, count)| *count == 0);
        println!("drops: {} reasons are at zero", zero.len());
        for (reason, count) in other {
            println!("drops: {reason} {count}");
            dropped += count;
        }
    }
    Ok(dropped)
}

fn hold(tunnels: &[Tunnel]) -> Result<()> {
    println!("\nThe tunnels stay up until Ctrl-C. Look at them from another shell:");
    for end in tunnels.iter().flat_map(|tunnel| &tunnel.ends) {
        println!(
            "  ip netns exec {} wg show {}",
            end.ns().name(),
            end.device()
        );
        if end.is_ringtun() {
            let address = end.metrics_address().context("metrics")?;
            println!(
                "  ip netns exec {} curl http://{address}/metrics",
                end.ns().name()
            );
        }
    }
    loop {
        // The signal thread cleans up and ends the process.
        for end in tunnels.iter().flat_map(|tunnel| &tunnel.ends) {
            if let Some(status) = end.ended() {
                process::wait_if_interrupted();
                bail!("{} ended ({status})", end.device());
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

//! A tunnel at full load for a long time, with rings so short that they overflow all the time.
//!
//! ```text
//!   TCP, every byte compared ─▶┐                            ┌─▶ TCP
//!        bursts of datagrams ─▶┤ ringtun ══ veth ══ ringtun ├─▶ datagrams
//!                         TCP ◀┘   rings of 64, AF_XDP      └◀─ TCP
//! ```
//!
//! TCP retransmits what the kernel drops at a full ring; a frame that ringtun lost would be
//! missing from the ring for good, and sixty-four of them would be its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ringtun_lab::link::Middle;
use ringtun_lab::peers::{self, Implementation, Prepared};
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::Options;
use ringtun_lab::{Tunnel, wait};
use serde_json::Value;

use super::Check;

/// Entries of each ring.
const RING_SIZE: u64 = 64;
/// How long the tunnel may take to be up, and its rings to be empty afterwards.
const SETTLING: Duration = Duration::from_secs(30);
/// Bytes of one TCP connection; the next follows at once.
const PIECE: u64 = 64 << 20;
/// Bytes of a datagram's payload, datagrams of one burst, and the time between bursts: four times
/// what a ring holds, and TCP gets through between them.
const DATAGRAM: usize = 64;
const BURST: usize = 256;
const BETWEEN_BURSTS: Duration = Duration::from_millis(20);
/// Resident memory may grow by this much after the first tenth of the time: what the allocator
/// and the page cache of the program do, far less than one frame each second.
const GROWTH_MAX: u64 = 512 * 1024;
/// The longest pause of a TCP connection: two retransmission timeouts in a row and their like.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What moved, and how well.
#[derive(Default)]
struct Moved {
    bytes: [AtomicU64; 2],
    datagrams: AtomicU64,
    longest_pause: Mutex<Duration>,
}

/// Runs the scenario with the binary `ringtun`.
pub fn run(name: &str, ringtun: &Path, time: Duration) -> Result<Vec<Check>> {
    let implementation = Implementation::Ringtun(ringtun.to_owned());
    let prepared = implementation.prepare(&peers::default_cache())?;
    let size = RING_SIZE.to_string();
    let arguments = ["--io", "xdp", "--metrics", "off", "--ring-size", &size];
    let tunnel = Tunnel::new(
        [&prepared, &prepared],
        &Options {
            middle: Middle::None,
            arguments: &arguments,
            ..Options::default()
        },
    )?;
    for at in [0, 1] {
        // One that paces by what little arrived of late (BBR, the default of some machines) sends
        // nothing for many seconds after heavy loss: such a pause would say nothing of ringtun.
        // Reno is the one that a namespace may always choose.
        tunnel
            .ns(at)
            .sysctl("net.ipv4.tcp_congestion_control", "reno")?;
    }
    tunnel.reach(0, false, SETTLING)?;
    for at in [0, 1] {
        wait::until("the rings", SETTLING, || {
            let io = io(&tunnel, &prepared, at)?;
            let all = io["io"] == "xdp" && io["by_socket"].as_array().is_some_and(Vec::is_empty);
            Ok(all.then_some(()))
        })?;
    }
    println!(
        "{name}: rings of {RING_SIZE}, two TCP connections and bursts of datagrams, {} s",
        time.as_secs()
    );
    let (moved, ended) = (Moved::default(), AtomicBool::new(false));
    let memory = thread::scope(|scope| -> Result<[Vec<u64>; 2]> {
        let streams = [0, 1].map(|from| {
            let (tunnel, moved, ended) = (&tunnel, &moved, &ended);
            scope.spawn(move || streams(tunnel, from, moved, ended))
        });
        let bursts = scope.spawn(|| bursts(&tunnel, &moved, &ended));
        let memory = watch(&tunnel, &moved, time, || {
            streams.iter().any(thread::ScopedJoinHandle::is_finished) || bursts.is_finished()
        });
        ended.store(true, Ordering::Relaxed);
        for thread in streams.into_iter().chain([bursts]) {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        memory
    })?;
    let ends = [0, 1].map(|at| settled(&tunnel, &prepared, at));
    checks(
        &moved,
        &memory,
        &ends.into_iter().collect::<Result<Vec<_>>>()?,
    )
}

/// One connection after the other, each whole.
fn streams(tunnel: &Tunnel, from: usize, moved: &Moved, ended: &AtomicBool) -> Result<()> {
    let to = 1 - from;
    let address = SocketAddr::new(Tunnel::inside_v4(to).into(), 0);
    while !ended.load(Ordering::Relaxed) {
        let plan = Plan::bulk(PIECE);
        let report = stream::transfer(tunnel.ns(from), tunnel.ns(to), address, &plan)?;
        moved.bytes[from].fetch_add(report.bytes, Ordering::Relaxed);
        let mut longest = moved
            .longest_pause
            .lock()
            .map_err(|_| anyhow!("poisoned"))?;
        *longest = longest.max(report.longest_pause);
    }
    Ok(())
}

/// Datagrams that nobody waits for, each burst as fast as the device takes them.
fn bursts(tunnel: &Tunnel, moved: &Moved, ended: &AtomicBool) -> Result<()> {
    let here = SocketAddr::new(Tunnel::inside_v4(0).into(), 0);
    let there = SocketAddr::new(Tunnel::inside_v4(1).into(), 0);
    // Somebody listens, or each is answered by ICMP.
    let sink = tunnel.ns(1).udp(there)?;
    let socket = tunnel.ns(0).udp(here)?;
    socket.connect(sink.local_addr()?)?;
    while !ended.load(Ordering::Relaxed) {
        // Refused for want of room is what is wanted.
        let taken = (0..BURST).filter(|_| socket.send(&[0; DATAGRAM]).is_ok());
        moved
            .datagrams
            .fetch_add(taken.count() as u64, Ordering::Relaxed);
        // The pace of the bursts is what is asked for here.
        thread::sleep(BETWEEN_BURSTS);
    }
    Ok(())
}

/// Resident memory of both ends, once a second; a line now and then.
fn watch(
    tunnel: &Tunnel,
    moved: &Moved,
    time: Duration,
    failed: impl Fn() -> bool,
) -> Result<[Vec<u64>; 2]> {
    let begin = Instant::now();
    let every = (time / 20).max(Duration::from_secs(5));
    let mut told = Duration::ZERO;
    let mut memory = [Vec::new(), Vec::new()];
    while begin.elapsed() < time && !failed() {
        thread::sleep(Duration::from_secs(1));
        for (device, samples) in tunnel.devices.iter().zip(&mut memory) {
            samples.push(device.process.usage()?.resident);
        }
        if begin.elapsed() >= told + every {
            told = begin.elapsed();
            let [there, back] = moved
                .bytes
                .each_ref()
                .map(|n| n.load(Ordering::Relaxed) >> 20);
            let datagrams = moved.datagrams.load(Ordering::Relaxed);
            let [a, b] = memory
                .each_ref()
                .map(|m| m.last().copied().unwrap_or(0) >> 10);
            println!(
                "  {:>5.0} s  {there} MiB there, {back} MiB back, {datagrams} datagrams, {a} and {b} KiB resident",
                told.as_secs_f64()
            );
        }
    }
    Ok(memory)
}

/// What `ringtun io` says of an end.
fn io(tunnel: &Tunnel, ringtun: &Prepared, at: usize) -> Result<Value> {
    let program = ringtun.program.to_str().context("the name of the binary")?;
    let device = &tunnel.devices[at].name;
    let text = tunnel.ns(at).run(program, ["io", device, "--json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// The sum of a counter over the queues of an end's card.
fn of_rings(io: &Value, counter: &str) -> Result<u64> {
    let queues = io["cards"][0]["queues"].as_array().context("no ring")?;
    let values = queues.iter().map(|queue| queue[counter].as_u64());
    values
        .sum::<Option<u64>>()
        .with_context(|| format!("no counter {counter}"))
}

/// Waits until every frame to receive into is back in the ring; what an end says then.
fn settled(tunnel: &Tunnel, ringtun: &Prepared, at: usize) -> Result<Value> {
    let whole = wait::until("every frame to be back", SETTLING, || {
        let io = io(tunnel, ringtun, at)?;
        let back = of_rings(&io, "fill_pending")? == RING_SIZE;
        Ok(back.then_some(io))
    });
    // If it does not come true, the table says so.
    whole.or_else(|_| io(tunnel, ringtun, at))
}

fn checks(moved: &Moved, memory: &[Vec<u64>; 2], ends: &[Value]) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut full = 0;
    for (name, end) in ["near", "far"].into_iter().zip(ends) {
        let of = |counter| of_rings(end, counter);
        checks.push(Check::equal(
            match name {
                "near" => "frames to receive into, near end",
                _ => "frames to receive into, far end",
            },
            RING_SIZE,
            of("fill_pending")?,
        ));
        checks.push(Check::equal(
            "frames that were none of its own",
            0,
            of("stray")? + of("kernel_invalid")?,
        ));
        full += of("tx_full")? + of("kernel_rx_dropped")? + of("kernel_rx_full")?;
    }
    checks.push(Check::new(
        "times a ring was full",
        "many",
        full.to_string(),
        full > 1000,
    ));
    for samples in memory {
        let first = samples.len() / 10;
        let before = samples.get(first).copied().unwrap_or(0);
        let after = samples
            .iter()
            .skip(first)
            .max()
            .copied()
            .unwrap_or(u64::MAX);
        let growth = after.saturating_sub(before);
        checks.push(Check::new(
            "growth of the memory, KiB",
            format!("<= {}", GROWTH_MAX >> 10),
            (growth >> 10).to_string(),
            growth <= GROWTH_MAX,
        ));
    }
    for (what, bytes) in ["MiB there by TCP, each byte right", "MiB back"]
        .into_iter()
        .zip(&moved.bytes)
    {
        let mib = bytes.load(Ordering::Relaxed) >> 20;
        checks.push(Check::new(what, "some", mib.to_string(), mib > 0));
    }
    let pause = *moved
        .longest_pause
        .lock()
        .map_err(|_| anyhow!("poisoned"))?;
    checks.push(Check::new(
        "longest pause of a connection, s",
        format!("<= {}", PAUSE_MAX.as_secs()),
        format!("{:.2}", pause.as_secs_f64()),
        pause <= PAUSE_MAX,
    ));
    Ok(checks)
}

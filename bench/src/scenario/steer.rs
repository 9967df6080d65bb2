//! Tunnels of others between two hosts, which the program spreads over two CPUs.
//!
//! ```text
//! generator ══ veth ══▶ XDP: ringtun_wan ─ CPUMAP ─▶ stack on CPU a ─▶ packet socket a
//!                                               └──▶ stack on CPU b ─▶ packet socket b
//! ```
//!
//! Each packet socket has what the stack received on its own CPU, so that the program's counters
//! are not the only witness. The same packets at the same rate go without steering first: what
//! the machine loses anyway is no fault of it, and the rate is lowered until that is nothing.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use ringtun::bpf::steer::{QUEUE_SIZE, parse_list};
use ringtun::bpf::{CardProgram as _, Link, Mode, WanProgram};
use ringtun_common::verdict::Verdict;
use ringtun_lab::{NetNs, PacketSocket, flood, link, names};

use super::Check;
use super::traffic::{self, KEYS, Kind, PACKETS, Received};

/// Packets per second: the first at which nothing is lost without steering.
const RATES: [u32; 3] = [20_000, 10_000, 5_000];
/// Of a hundred packets, what one of two CPUs may have.
const SHARE_MAX: u64 = 60;

/// The two ends.
struct Line {
    near: NetNs,
    far: NetNs,
    devices: [String; 2],
    mac: [u8; 6],
    program: WanProgram,
    /// Taken off before the program goes.
    _link: Link,
}

impl Line {
    fn new() -> Result<Line> {
        let (near, far) = (NetNs::new("g")?, NetNs::new("r")?);
        let devices = [names::unique("g"), names::unique("r")];
        link::veth(&near, &devices[0], &far, &devices[1])?;
        let mac = flood::hardware_address(&far, &devices[1])?;
        let index = link::index(&far, &devices[1])?;
        let program = WanProgram::load()?;
        let link = far.within(|| Ok(program.attach(index, Mode::Native)?))?;
        Ok(Line {
            near,
            far,
            devices,
            mac,
            program,
            _link: link,
        })
    }

    /// Sends all packets; what each of two sockets has got.
    fn transfer(&self, kind: Kind, rate: u32) -> Result<(u64, Vec<Received>)> {
        let [near, far] = &self.devices;
        let sender = self.near.within(|| Ok(PacketSocket::open(near)?))?;
        let receivers = self.far.within(|| {
            let open = || PacketSocket::receive_by_cpu(far).context("packet socket");
            Ok([open()?, open()?])
        })?;
        let expected = u64::from(KEYS) * u64::from(PACKETS);
        let (ended, total) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let threads = receivers
                .each_ref()
                .map(|socket| scope.spawn(|| traffic::receive(socket, &ended, &total, expected)));
            let sent = traffic::send(&sender, kind, self.mac, rate);
            ended.store(true, Ordering::Relaxed);
            let mut received = Vec::new();
            for thread in threads {
                match thread.join() {
                    Ok(result) => received.push(result?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok((sent?, received))
        })
    }
}

/// Two CPUs that packet sockets by CPU tell apart: one with an even number, one with an odd one.
fn cpus() -> Result<[u32; 2]> {
    const ONLINE: &str = "/sys/devices/system/cpu/online";
    let text = fs::read_to_string(ONLINE).context(ONLINE)?;
    // Of a machine with more than are read, the first will do.
    let first = text.split(',').next().unwrap_or_default();
    let online = parse_list(first).unwrap_or_else(|| vec![0, 1]);
    let find = |parity| online.iter().copied().find(|cpu| cpu % 2 == parity);
    match (find(0), find(1)) {
        (Some(even), Some(odd)) => Ok([even, odd]),
        _ => bail!("this takes two CPUs, and {} are online", text.trim()),
    }
}

/// Runs the scenario.
pub fn run(name: &str, kind: Kind) -> Result<Vec<Check>> {
    let cpus = cpus()?;
    let mut line = Line::new()?;
    let all = u64::from(KEYS) * u64::from(PACKETS);
    let mut unsteered = 0;
    let mut chosen = 0;
    for rate in RATES {
        let (sent, received) = line.transfer(kind, rate)?;
        unsteered = received.iter().map(|one| one.packets).sum();
        chosen = rate;
        if unsteered == sent {
            break;
        }
    }
    println!(
        "{name}: {KEYS} {}, {all} packets, {chosen}/s, CPUs {} and {}",
        kind.keys(),
        cpus[0],
        cpus[1]
    );
    let before = line.program.verdict(Verdict::Steered)?.packets;
    line.program.steer(kind.group(), &cpus, QUEUE_SIZE)?;
    let (sent, received) = line.transfer(kind, chosen)?;
    let steered = line.program.verdict(Verdict::Steered)?.packets;
    let counters = line.program.steered()?;
    let counted = cpus.map(|cpu| counters.get(cpu as usize).map_or(0, |c| c.packets));

    let sum = |of: fn(&Received) -> u64| received.iter().map(of).sum::<u64>();
    let seen: Vec<usize> = received.iter().map(|one| one.tunnels.len()).collect();
    let most = counted.iter().copied().max().unwrap_or(0);
    let percent = |packets: u64| packets as f64 * 100.0 / sent.max(1) as f64;
    let [a, b] = counted.map(percent);
    let mut on_cpu: Vec<u64> = received.iter().map(|one| one.packets).collect();
    let mut expected_on_cpu = counted.to_vec();
    // Which socket came first is not told.
    on_cpu.sort_unstable();
    expected_on_cpu.sort_unstable();
    let pair = |of: &[u64]| format!("{} + {}", of[0], of[1]);
    Ok(vec![
        Check::equal("packets received, not steered", all, unsteered),
        Check::equal("packets steered before it was configured", 0, before),
        Check::equal("packets steered", sent, steered),
        Check::equal("packets received, steered", sent, sum(|one| one.packets)),
        Check::equal(
            "packets out of order in their tunnel",
            0,
            sum(|one| one.disordered),
        ),
        Check::equal("tunnels on both CPUs", 0, both(&received)),
        Check::equal(
            "tunnels on either",
            u64::from(KEYS),
            seen.iter().sum::<usize>() as u64,
        ),
        Check::new(
            "packets per CPU, in hundred",
            format!("{SHARE_MAX} at most"),
            format!("{a:.1} / {b:.1}"),
            most * 100 <= sent * SHARE_MAX,
        ),
        Check::new(
            "packets that the stack received on each",
            pair(&expected_on_cpu),
            pair(&on_cpu),
            on_cpu == expected_on_cpu,
        ),
    ])
}

/// Tunnels with packets at more than one socket.
fn both(received: &[Received]) -> u64 {
    let [a, b] = received else { return 0 };
    a.tunnels
        .keys()
        .filter(|key| b.tunnels.contains_key(key))
        .count() as u64
}

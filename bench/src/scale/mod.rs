//! Many peers: what an idle one costs in memory, how long a lookup takes, how many handshakes one
//! processor answers.
//!
//! * `memory`: bytes on the heap for each peer that has its prefixes, an endpoint and a session, and
//!   that has sent a packet. By the allocator, not by the resident memory of a process: that of one
//!   peer is less than a page, and sessions with 10,000 clients would leave traces of their own.
//! * `lookup`: whose an address is; random ones, each somebody's.
//! * `handshakes`: initiations answered by one thread, beside the Diffie-Hellman operations alone.
//!
//! Parts:
//!
//! * [`prefixes`]: ten for each peer.
//! * [`lookup`], [`handshakes`]: what is measured.

mod handshakes;
mod lookup;
mod prefixes;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ringtun::crypto::{PrivateKey, PublicKey, os_rng};
use ringtun::net::clock;
use ringtun::tunnel::time::Now;
use ringtun_lab::usage;

use crate::pass::{self, Sides};
use crate::report::{Report, Row, median};
use crate::wireguard::{Client, Gateway, at};
use lookup::Family;

const OURS: &str = "ringtun";
const BARE: &str = "bare-dh";
/// The largest number of peers that there are prefixes for.
const PEERS_MAX: u32 = 1_000_000;

/// Options of the suite.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write all rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each number of peers; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Passes of one run, each of 16 handshakes; the median counts.
    #[arg(long, default_value_t = 100)]
    passes: usize,
    /// Numbers of peers, each with ten prefixes.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    peers: Vec<u32>,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Bytes of each peer.
    memory: f64,
    /// Nanoseconds: of both families mixed, IPv4, IPv6.
    lookup: [f64; 3],
    /// Per second: ringtun, and the operations alone; 0 if no pass counts.
    handshakes: [f64; 2],
}

/// One number of peers, and what each run gave.
struct Measured {
    peers: u32,
    runs: Vec<Sample>,
}

/// Runs the suite.
///
/// # Errors
/// A handshake is refused, or an address is not its owner's.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0 && arguments.passes > 0, "nothing to run");
    let known = |peers: &u32| (1..=PEERS_MAX).contains(peers);
    ensure!(arguments.peers.iter().all(known), "1 to {PEERS_MAX} peers");
    let mut all: Vec<_> = arguments
        .peers
        .iter()
        .map(|peers| Measured {
            peers: *peers,
            runs: Vec::new(),
        })
        .collect();
    for run in 0..arguments.runs {
        for Measured { peers, runs } in &mut all {
            let seed = run as u64;
            let sample = measure(*peers, arguments.passes, seed)
                .with_context(|| format!("{peers} peers"))?;
            ensure!(
                sample.handshakes.iter().all(|rate| *rate > 0.0),
                "others took the processor in each pass; try again, or more --passes"
            );
            println!(
                "run {}/{} peers-{peers:<6} {:.0} bytes, {:.0} ns, {:.0} handshakes/s, {:.2} of the \
                 operations alone",
                run + 1,
                arguments.runs,
                sample.memory,
                sample.lookup[0],
                sample.handshakes[0],
                sample.handshakes[0] / sample.handshakes[1]
            );
            runs.push(sample);
        }
    }
    print_table(&all);
    report(&all)?.write(arguments.json.as_deref())
}

fn measure(peers: u32, passes: usize, seed: u64) -> Result<Sample> {
    let now = at(clock::boot());
    let key = PrivateKey::generate(&mut os_rng());
    let clients = (0..peers).map(|peer| {
        let address = Ipv4Addr::from_bits(0x6440_0000 | peer);
        Client::new(&key.public(), SocketAddr::from((address, 51820)))
    });
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let (gateway, memory) = connected(now, key, &mut clients)?;

    let keys: Vec<PublicKey> = clients.iter().map(|client| *client.public()).collect();
    let mut lookup = [0.0; 3];
    for (nanoseconds, family) in lookup
        .iter_mut()
        .zip([Family::Both, Family::V4, Family::V6])
    {
        *nanoseconds = lookup::measure(&gateway, &keys, family, seed)?;
    }

    let answer = handshakes::Answer::new(gateway, clients, now.boot);
    let mut sides: Sides = [
        vec![Box::new(answer)],
        vec![Box::new(handshakes::Bare::new())],
    ];
    let sample = pass::measure(&mut sides, passes, handshakes::OF_PASS)?;
    Ok(Sample {
        memory,
        lookup,
        handshakes: sample.rates,
    })
}

/// A gateway with sessions with all clients, and the bytes on the heap that each of them cost it.
fn connected(now: Now, key: PrivateKey, clients: &mut [Client]) -> Result<(Gateway, f64)> {
    let mut gateway = Gateway::new(now.boot, 1420, key);
    let before = usage::heap();
    for (peer, client) in clients.iter().enumerate() {
        let prefixes = prefixes::of(peer as u32);
        ensure!(prefixes.len() == prefixes::EACH, "prefixes of a peer");
        gateway.add(client.public(), &prefixes)?;
    }
    gateway.publish();
    for (peer, client) in clients.iter_mut().enumerate() {
        let session = gateway.connect(now, client, peer as u32 + 1)?;
        // The client's half is none of the gateway's memory.
        drop(session);
    }
    let used = usage::heap().saturating_sub(before);
    Ok((gateway, used as f64 / clients.len() as f64))
}

impl Measured {
    fn of(&self, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.runs.iter().map(what).collect()
    }

    /// Every row of the report: case, implementation, metric, unit, runs.
    fn rows(&self) -> Vec<(String, &'static str, &'static str, &'static str, Vec<f64>)> {
        let case = format!("peers-{}", self.peers);
        let mut rows = vec![(
            case.clone(),
            OURS,
            "memory",
            "byte/peer",
            self.of(|s| s.memory),
        )];
        for (at, family) in ["", "-v4", "-v6"].into_iter().enumerate() {
            let name = format!("{case}{family}");
            rows.push((name, OURS, "lookup", "ns", self.of(|s| s.lookup[at])));
        }
        for (at, implementation) in [OURS, BARE].into_iter().enumerate() {
            let runs = self.of(|s| s.handshakes[at]);
            rows.push((case.clone(), implementation, "handshakes", "1/s", runs));
        }
        rows
    }
}

fn print_table(all: &[Measured]) {
    println!(
        "\n{:<14} {:>10} {:>10} {:>8} {:>8} {:>13} {:>8} {:>6}",
        "case", "byte/peer", "lookup ns", "IPv4", "IPv6", "handshakes/s", BARE, "of it"
    );
    for measured in all {
        let value = |what: fn(&Sample) -> f64| median(&measured.of(what));
        let handshakes = [value(|s| s.handshakes[0]), value(|s| s.handshakes[1])];
        println!(
            "{:<14} {:>10.0} {:>10.0} {:>8.0} {:>8.0} {:>13.0} {:>8.0} {:>6.2}",
            format!("peers-{}", measured.peers),
            value(|s| s.memory),
            value(|s| s.lookup[0]),
            value(|s| s.lookup[1]),
            value(|s| s.lookup[2]),
            handshakes[0],
            handshakes[1],
            handshakes[0] / handshakes[1],
        );
    }
}

fn report(all: &[Measured]) -> Result<Report> {
    let rows = all.iter().flat_map(Measured::rows);
    let rows = rows.map(|(case, implementation, metric, unit, runs)| {
        Row::new("scale", case, implementation, (metric, unit), runs)
    });
    Report::of_ringtun(OURS, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every address is its owner's, and every initiation is answered. Memory and rates are not
    /// looked at: other tests use heap and processors meanwhile.
    #[test]
    fn a_few_peers_are_measured() {
        let sample = measure(20, 4, 1).unwrap();
        assert!(sample.lookup.iter().all(|ns| *ns > 0.0), "{sample:?}");
    }

    #[test]
    fn rows_have_the_agreed_names() {
        let sample = Sample {
            memory: 1.0,
            lookup: [2.0, 3.0, 4.0],
            handshakes: [5.0, 6.0],
        };
        let measured = Measured {
            peers: 1000,
            runs: vec![sample],
        };
        let rows = measured.rows();
        let named = rows
            .iter()
            .map(|(case, implementation, metric, unit, runs)| {
                format!("{case} {implementation} {metric} {unit} {}", runs[0])
            });
        assert_eq!(
            named.collect::<Vec<_>>(),
            [
                "peers-1000 ringtun memory byte/peer 1",
                "peers-1000 ringtun lookup ns 2",
                "peers-1000-v4 ringtun lookup ns 3",
                "peers-1000-v6 ringtun lookup ns 4",
                "peers-1000 ringtun handshakes 1/s 5",
                "peers-1000 bare-dh handshakes 1/s 6",
            ]
        );
    }
}

//! Many peers: what an idle one costs in memory, how long a lookup takes, how many handshakes one
//! processor answers, and whether one that is busy notices the others.
//!
//! * `memory`: bytes on the heap for each peer that has its prefixes, an endpoint and a session, and
//!   that has sent a packet. By the allocator, not by the resident memory of a process: that of one
//!   peer is less than a page, and sessions with 10,000 clients would leave traces of their own.
//! * `lookup`: whose an address is; random ones, each somebody's.
//! * `lpm`: the same in the kernel, by the map of the XDP program for LAN interfaces.
//! * `handshakes`: initiations answered by one thread, beside the Diffie-Hellman operations alone.
//! * `active`: packets of one peer, sealed and opened in memory, beside a gateway that has no other.
//!
//! Parts:
//!
//! * [`prefixes`]: ten for each peer, and random addresses in them.
//! * [`lookup`], [`lpm`], [`handshakes`], [`active`]: what is measured.
//! * [`sample`]: what that gave, as rows and tables.

mod active;
mod handshakes;
mod lookup;
mod lpm;
mod prefixes;
mod sample;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ringtun::crypto::{PrivateKey, PublicKey, os_rng};
use ringtun::net::clock;
use ringtun::tunnel::time::Now;
use ringtun_lab::usage;

use crate::pass::{self, Sides};
use crate::wireguard::{Client, Gateway, at};
use lookup::Family;
use sample::{Measured, Sample};

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
            let sample = measure(*peers, arguments.passes, seed);
            let mut sample = sample.with_context(|| format!("{peers} peers"))?;
            ensure!(
                sample.is_complete(),
                "others took the processor in each pass; try again, or more --passes"
            );
            sample.lpm = lpm::measure(*peers, seed).context("the map of the LAN program")?;
            println!(
                "run {}/{} peers-{peers:<6} {sample}",
                run + 1,
                arguments.runs
            );
            runs.push(sample);
        }
    }
    sample::print_tables(&all);
    sample::report(&all)?.write(arguments.json.as_deref())
}

fn measure(peers: u32, passes: usize, seed: u64) -> Result<Sample> {
    let now = at(clock::boot());
    let key = PrivateKey::generate(&mut os_rng());
    let clients = (0..peers).map(|peer| {
        let address = Ipv4Addr::from_bits(0x6440_0000 | peer);
        Client::new(&key.public(), SocketAddr::from((address, 51820)))
    });
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let (mut gateway, memory) = connected(now, key, &mut clients)?;

    let keys: Vec<PublicKey> = clients.iter().map(|client| *client.public()).collect();
    let mut lookup = [0.0; 3];
    for (nanoseconds, family) in lookup
        .iter_mut()
        .zip([Family::Both, Family::V4, Family::V6])
    {
        *nanoseconds = lookup::measure(&gateway, &keys, family, seed)?;
    }

    let active = active::measure(&mut gateway, peers, passes)?;

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
        active,
        lpm: 0.0,
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
}

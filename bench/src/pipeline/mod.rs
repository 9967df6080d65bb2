//! The data path in memory, without network card, socket and device: packets sealed and opened per
//! second, beside the AEAD alone.
//!
//! ```text
//! seal   TUN read ─▶ segments ─▶ AllowedIPs ─▶ run ─ sealed in place ─▶ (send)
//! open   (receive) ─▶ frame ─ sort ─ opened in place ─▶ lane ─ window, checks ─▶ (TUN write)
//! ```
//!
//! What stands in brackets is not done. All else is what a worker does: 16 reads of one packet each
//! before it sends, 8 datagrams of up to 64 packets per receive, a reading of the clock for each.
//!
//! The AEAD alone is ringtun's own backend with the key set up once and a nonce per packet. Where
//! two threads open packets of one peer, each has its own queue of the card, and what one queue
//! received is delivered in its order: asserted in every pass. What the first pass of a run sealed
//! is opened afterwards: each thread's packets in their order, no counter twice; that each thread's
//! counters go up is asserted in every pass.
//!
//! * [`case`]: what there is to measure.
//! * [`packets`]: inner packets with numbers.
//! * [`seal`], [`open`], [`bare`]: what is done in them.

mod bare;
mod case;
pub mod open;
pub mod packets;
pub mod seal;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ringtun::crypto::{PrivateKey, os_rng};
use ringtun::net::clock;
use ringtun::tunnel::allowed_ips::Prefix;

use crate::pass::{self, Part, Sample, Sides};
use crate::report::{Report, Row, median};
use crate::wireguard::{Client, Gateway, Session, at};
use case::{Case, Spread, Way};

const OURS: &str = "ringtun";
const BARE: &str = "bare-aead";

/// Options of the suite.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write all rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each case; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Passes of one run, each of 8 datagrams on each thread; the median counts.
    #[arg(long, default_value_t = 300)]
    passes: usize,
    /// Cases, or what their names begin with: seal, open-64, open-1420-2t, seal-8900-2t-1peer.
    #[arg(long = "case", value_delimiter = ',', default_value = "seal,open")]
    cases: Vec<String>,
}

/// One case, and what each run gave: packets per second of ringtun and of the AEAD alone.
struct Measured {
    case: Case,
    runs: [Vec<f64>; 2],
}

/// Runs the suite.
///
/// # Errors
/// A packet was lost, or was delivered out of order.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0 && arguments.passes > 0, "nothing to run");
    let mut all: Vec<_> = Case::chosen(&arguments.cases)?
        .into_iter()
        .map(|case| Measured {
            case,
            runs: [Vec::new(), Vec::new()],
        })
        .collect();
    for run in 0..arguments.runs {
        for Measured { case, runs } in &mut all {
            let sample = measure(*case, arguments.passes).with_context(|| case.to_string())?;
            let Sample { rates, counted } = sample;
            ensure!(
                counted.iter().all(|passes| *passes > 0),
                "{case}: others took the processors in each pass; try again, or more --passes"
            );
            println!(
                "run {}/{} {case:<18} {:.3} Mpps, {:.2} of the AEAD alone; {} and {} of {} passes \
                 undisturbed",
                run + 1,
                arguments.runs,
                rates[0] / 1e6,
                rates[0] / rates[1],
                counted[0],
                counted[1],
                arguments.passes
            );
            for (runs, rate) in runs.iter_mut().zip(rates) {
                runs.push(rate);
            }
        }
    }
    print_table(&all);
    report(&all)?.write(arguments.json.as_deref())
}

/// The MTU of a device for inner packets of this size.
fn mtu(size: usize) -> usize {
    size.max(1420)
}

/// A client with a session.
pub struct Connected {
    /// Where it is.
    pub address: SocketAddr,
    /// Its end.
    pub session: Arc<Session>,
}

/// A gateway with as many connected clients.
fn connected(size: usize, peers: usize) -> Result<(Gateway, Vec<Connected>)> {
    let now = at(clock::boot());
    let mut gateway = Gateway::new(now.boot, mtu(size), PrivateKey::generate(&mut os_rng()));
    let mut clients = Vec::new();
    for peer in 0..peers {
        let address = SocketAddr::from(([192, 0, 2, peer as u8], 51820));
        let client = Client::new(gateway.public(), address)?;
        let inner = packets::inner(peer).into();
        gateway.add(client.public(), &[Prefix::host(inner)])?;
        clients.push(client);
    }
    gateway.publish();
    let mut connected = Vec::new();
    for (peer, mut client) in clients.into_iter().enumerate() {
        let session = gateway.connect(now, &mut client, peer as u32 + 1)?;
        connected.push(Connected {
            address: client.address,
            session: Arc::new(session),
        });
    }
    Ok((gateway, connected))
}

/// Packets per second of ringtun and of the AEAD alone. The session is new each time, so that its
/// key does not grow old.
fn measure(case: Case, passes: usize) -> Result<Sample> {
    let Case { way, size, spread } = case;
    let threads = spread.threads();
    let peer_of = |thread| match spread {
        Spread::Alone | Spread::SamePeer => 0,
        Spread::PeerEach => thread,
    };
    let (gateway, clients) = connected(size, spread.peers())?;
    let tunnel = &gateway.tunnel;
    let packets = packets::of_pass(size);
    match way {
        Way::Seal => {
            let workers = (0..threads).map(|t| seal::Seal::new(tunnel, size, peer_of(t), t));
            let mut workers: Vec<_> = workers.collect();
            let checks = seal::Checks::of(&mut workers);
            let bare = (0..threads).map(|_| bare::Seal::new(size)).collect();
            let sample = pass::measure(&mut sides(workers, bare), passes, packets)?;
            let sessions: Vec<_> = clients.into_iter().map(|c| c.session).collect();
            checks.conclude(size, &sessions, peer_of)?;
            Ok(sample)
        }
        Way::Open => {
            let worker = |thread| {
                let peer = peer_of(thread);
                open::Open::new(tunnel, size, (peer, &clients[peer]), thread)
            };
            let mut workers: Vec<_> = (0..threads).map(worker).collect();
            let checks = open::Checks::of(&mut workers);
            let bare = (0..threads).map(|_| bare::Open::new(size)).collect();
            let sample = pass::measure(&mut sides(workers, bare), passes, packets)?;
            // One pass more than those that count.
            checks.conclude(size, passes + 1)?;
            Ok(sample)
        }
    }
}

fn sides<A: Part + 'static, B: Part + 'static>(ours: Vec<A>, bare: Vec<B>) -> Sides {
    fn boxed<P: Part + 'static>(part: P) -> Box<dyn Part> {
        Box::new(part)
    }
    [
        ours.into_iter().map(boxed).collect(),
        bare.into_iter().map(boxed).collect(),
    ]
}

impl Measured {
    fn rates(&self) -> [f64; 2] {
        self.runs.each_ref().map(|runs| median(runs))
    }
}

/// How much of what a second thread brings the AEAD alone it brings ringtun: 1 is as much.
fn scaling(two: [f64; 2], one: [f64; 2]) -> f64 {
    (two[0] / one[0]) / (two[1] / one[1])
}

fn print_table(all: &[Measured]) {
    println!(
        "\n{:<18} {:>10} {:>10} {:>9} {:>9} {:>16}",
        "case", "Mpps", BARE, "of it", "2t / 1t", "of its scaling"
    );
    for measured in all {
        let rates = measured.rates();
        let case = measured.case;
        let one = all.iter().find(|other| other.case == case.alone());
        let one = one
            .filter(|_| case.spread != Spread::Alone)
            .map(Measured::rates);
        let [times, of_scaling] = one.map_or([String::new(), String::new()], |one| {
            [rates[0] / one[0], scaling(rates, one)].map(|ratio| format!("{ratio:.2}"))
        });
        println!(
            "{case:<18} {:>10.3} {:>10.3} {:>9.2} {times:>9} {of_scaling:>16}",
            rates[0] / 1e6,
            rates[1] / 1e6,
            rates[0] / rates[1],
        );
    }
}

fn report(all: &[Measured]) -> Result<Report> {
    let mut rows = Vec::new();
    for measured in all {
        for (implementation, runs) in [OURS, BARE].into_iter().zip(&measured.runs) {
            rows.push(Row::new(
                "pipeline",
                measured.case.to_string(),
                implementation,
                ("rate", "packet/s"),
                runs.clone(),
            ));
        }
    }
    Report::of_ringtun(OURS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_scaling_is_that_of_the_aead_in_the_same_run() {
        // Both double.
        assert!((scaling([1.8, 4.0], [0.9, 2.0]) - 1.0).abs() < 1e-9);
        // The AEAD doubles, ringtun gains a half.
        assert!((scaling([1.5, 4.0], [1.0, 2.0]) - 0.75).abs() < 1e-9);
        // The machine has no second processor to give: neither gains, nothing is lost.
        assert!((scaling([0.9, 2.0], [0.9, 2.0]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_packet_for_another_peer_or_too_few_of_them_are_found_out() {
        let size = 64;
        let (gateway, clients) = connected(size, 2).unwrap();
        let worker = |thread| seal::Seal::new(&gateway.tunnel, size, thread, thread);
        let mut workers = vec![worker(0), worker(1)];
        let checks = seal::Checks::of(&mut workers);
        workers.iter_mut().for_each(Part::run);
        let sessions: Vec<_> = clients.iter().map(|c| Arc::clone(&c.session)).collect();
        checks.conclude(size, &sessions, |thread| thread).unwrap();
        assert!(
            checks
                .conclude(size, &sessions, |thread| 1 - thread)
                .is_err()
        );
        assert!(
            checks.conclude(512, &sessions, |thread| thread).is_ok(),
            "as many of 512"
        );
        assert!(checks.conclude(1420, &sessions, |thread| thread).is_err());

        let worker = |thread| open::Open::new(&gateway.tunnel, size, (0, &clients[0]), thread);
        let mut workers = vec![worker(0), worker(1)];
        let checks = open::Checks::of(&mut workers);
        for worker in &mut workers {
            worker.prepare().unwrap();
        }
        workers[0].run();
        assert!(
            checks.conclude(size, 1).is_err(),
            "one thread's are missing"
        );
        workers[1].run();
        checks.conclude(size, 1).unwrap();
        assert!(checks.conclude(size, 2).is_err());
    }

    #[test]
    fn a_packet_out_of_order_is_found_out() {
        let size = 64;
        let (gateway, clients) = connected(size, 1).unwrap();
        let mut workers = vec![open::Open::new(&gateway.tunnel, size, (0, &clients[0]), 0)];
        let checks = open::Checks::of(&mut workers);
        workers[0].prepare().unwrap();
        workers[0].swap_two_datagrams();
        workers[0].run();
        assert!(checks.conclude(size, 1).is_err());
    }

    /// Every way and spread: each packet sealed or delivered once and in order, no frame lost.
    #[test]
    fn every_case_keeps_order_and_loses_nothing() {
        for case in Case::all().into_iter().filter(|case| case.size != 512) {
            let sample = measure(case, 20).unwrap_or_else(|error| panic!("{case}: {error:#}"));
            // On a machine with other work perhaps no pass counts.
            let plausible = |side: usize| {
                let (rate, counted) = (sample.rates[side], sample.counted[side]);
                counted <= 20 && rate.is_finite() && (rate > 0.0) == (counted > 0)
            };
            assert!(plausible(0) && plausible(1), "{case}: {sample:?}");
        }
    }
}

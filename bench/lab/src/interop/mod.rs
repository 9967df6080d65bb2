//! ringtun against real peers, in every combination at once.
//!
//! Each combination is a pair of namespaces (or one and the guest) with a device at both ends.
//! One end knows the other's address and speaks first; every byte of the bulk transfer crosses
//! both ways (the far end echoes it) and is compared; a paced transfer runs across a real rekey.

//!
//! * [`combination`]: one combination from beginning to end.
//! * [`place`]: one end, wherever it is.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::peers::Implementation;
use crate::peers::guest::Guest;
use crate::registry;
use combination::Combination;
use slots::Slots;

mod combination;
mod place;
mod slots;

/// Bulk transfers at a time; the machine has few processors.
const BULK_AT_ONCE: usize = 2;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The implementation under test.
    pub subject: Implementation,
    /// Its peers.
    pub peers: Vec<Implementation>,
    /// Smaller transfers, and the paced one with each peer once only.
    pub short: bool,
    /// The paced transfer across a rekey, which takes more than two minutes.
    pub rekey: bool,
    /// Where fetched peers are kept.
    pub cache: PathBuf,
}

/// One combination and what came of it.
#[derive(Debug)]
pub struct Row {
    /// The peer's name.
    pub peer: &'static str,
    /// Whether the implementation under test spoke first.
    pub subject_first: bool,
    /// IPv6 outside.
    pub v6: bool,
    /// With a preshared key.
    pub preshared: bool,
    /// What was measured, or what went wrong.
    pub outcome: Result<Outcome>,
}

/// What one combination showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Bytes that crossed intact, each way.
    pub bytes: u64,
    /// Their rate each way, bit/s.
    pub rate: f64,
    /// Seconds between the handshakes before and after the paced transfer, at both ends.
    pub rekey: Option<[u64; 2]>,
}

/// Runs all combinations against all peers; prints a line for each as it ends, then a table.
///
/// # Errors
/// A peer cannot be had, or a combination fails (the table says which and why).
pub fn run(options: &Options) -> Result<Vec<Row>> {
    registry::reap()?;
    crate::tools::need(&[
        ("wg", "wireguard-tools"),
        ("ping", "iputils-ping"),
        ("ip", "iproute2"),
    ])?;
    let start = Instant::now();
    let subject = options.subject.prepare(&options.cache)?;
    println!("{} {}", subject.implementation, subject.version);
    let mut peers = Vec::new();
    for peer in &options.peers {
        let prepared = peer.prepare(&options.cache)?;
        println!("{} {}", prepared.implementation, prepared.version);
        peers.push(prepared);
    }
    let guest = if options.peers.contains(&Implementation::Linux) {
        let kernel = peers
            .iter()
            .find(|peer| peer.implementation == Implementation::Linux)
            .context("no kernel")?;
        Some(Guest::boot(kernel)?)
    } else {
        None
    };
    let gate = Slots::new(BULK_AT_ONCE);
    let mut rows = thread::scope(|scope| {
        let mut running = Vec::new();
        let mut number = 0;
        for peer in &peers {
            for choice in 0..8 {
                let emulated = peer.implementation == Implementation::Linux;
                let combination = Combination {
                    number,
                    subject_first: choice & 4 == 0,
                    v6: choice & 2 != 0,
                    preshared: choice & 1 != 0,
                    paced: options.rekey && (!options.short || choice == 0),
                    bulk: match (emulated, options.short) {
                        (false, false) => 64 << 20,
                        (false, true) => 8 << 20,
                        (true, false) => 4 << 20,
                        (true, true) => 1 << 20,
                    },
                };
                number += 1;
                let (subject, gate, guest) = (&subject, &gate, guest.as_ref());
                running.push(scope.spawn(move || {
                    let outcome = combination.run(subject, peer, guest.filter(|_| emulated), gate);
                    let row = Row {
                        peer: peer.implementation.name(),
                        subject_first: combination.subject_first,
                        v6: combination.v6,
                        preshared: combination.preshared,
                        outcome,
                    };
                    println!("{}", line(&row));
                    row
                }));
            }
        }
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a combination panicked")))
            .collect::<Result<Vec<Row>>>()
    })?;
    rows.sort_by_key(|row| row.peer);
    let failed = rows.iter().filter(|row| row.outcome.is_err()).count();
    println!("\n{}", table(&rows));
    println!(
        "interop: {} of {} combinations passed in {:.0} s",
        rows.len() - failed,
        rows.len(),
        start.elapsed().as_secs_f64()
    );
    let mut reasons = String::new();
    for row in &rows {
        if let Err(error) = &row.outcome {
            eprintln!("\n{}: {error:#}", head(row));
            // What went wrong, without what both ends were like then.
            let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
            let short: Vec<_> = chain
                .iter()
                .filter_map(|text| text.lines().next())
                .collect();
            reasons += &format!("\n{}: {}", head(row).trim_end(), short.join(": "));
        }
    }
    ensure!(failed == 0, "{failed} combinations failed:{reasons}");
    Ok(rows)
}

fn head(row: &Row) -> String {
    format!(
        "{:<13} {:<6} IPv{} {:<4}",
        row.peer,
        if row.subject_first { "we" } else { "they" },
        if row.v6 { 6 } else { 4 },
        if row.preshared { "psk" } else { "-" }
    )
}

fn line(row: &Row) -> String {
    match &row.outcome {
        Ok(outcome) => {
            let rekey = match outcome.rekey {
                Some([near, far]) => format!("rekeyed after {near} s / {far} s, no byte lost"),
                None => "-".into(),
            };
            format!(
                "{} ok    {:>3} MiB each way at {:>5.0} Mbit/s   {rekey}",
                head(row),
                outcome.bytes >> 20,
                outcome.rate / 1e6
            )
        }
        Err(error) => format!("{} FAIL  {error}", head(row)),
    }
}

/// The combinations and their outcomes as a table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("peer          first  out  key  outcome\n");
    for row in rows {
        text.push_str(&line(row));
        text.push('\n');
    }
    text
}

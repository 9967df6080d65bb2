//! What the runs gave: rows of the report, and tables.

use std::fmt;

use anyhow::Result;

use super::active::CASES;
use crate::report::{Report, Row, median};

const OURS: &str = "ringtun";
const BARE: &str = "bare-dh";

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Bytes of each peer.
    pub memory: f64,
    /// Nanoseconds: of both families mixed, IPv4, IPv6.
    pub lookup: [f64; 3],
    /// Per second: ringtun, and the operations alone; 0 if no pass counts.
    pub handshakes: [f64; 2],
    /// Packets per second of each of [`CASES`]: among the others, and alone; 0 if no pass counts.
    pub active: [[f64; 2]; CASES.len()],
    /// Nanoseconds in the kernel.
    pub lpm: f64,
}

/// One number of peers, and what each run gave.
pub struct Measured {
    pub peers: u32,
    pub runs: Vec<Sample>,
}

impl Sample {
    /// Whether at least one pass of everything counts.
    pub fn is_complete(&self) -> bool {
        let rates = self.active.iter().flatten().chain(&self.handshakes);
        rates.into_iter().all(|rate| *rate > 0.0)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, bare] = self.handshakes;
        let [with, alone] = self.active[0];
        write!(
            f,
            "{:.0} bytes, {:.0} ns, in the kernel {:.0} ns, {ours:.0} handshakes/s, {:.2} of the \
             operations alone; one peer {:.2} of alone",
            self.memory,
            self.lookup[0],
            self.lpm,
            ours / bare,
            with / alone
        )
    }
}

/// Case, implementation, metric and unit, runs.
type Line = (String, &'static str, (&'static str, &'static str), Vec<f64>);

impl Measured {
    fn of(&self, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.runs.iter().map(what).collect()
    }

    fn median(&self, what: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.of(what))
    }

    /// Every row of the report.
    fn rows(&self) -> Vec<Line> {
        let case = format!("peers-{}", self.peers);
        let memory = self.of(|s| s.memory);
        let mut rows = vec![(case.clone(), OURS, ("memory", "byte/peer"), memory)];
        for (at, family) in ["", "-v4", "-v6"].into_iter().enumerate() {
            let runs = self.of(|s| s.lookup[at]);
            rows.push((format!("{case}{family}"), OURS, ("lookup", "ns"), runs));
        }
        let lpm = self.of(|s| s.lpm);
        rows.push((format!("{case}-lpm"), OURS, ("lookup", "ns"), lpm));
        for (at, implementation) in [OURS, BARE].into_iter().enumerate() {
            let runs = self.of(|s| s.handshakes[at]);
            rows.push((case.clone(), implementation, ("handshakes", "1/s"), runs));
        }
        for (of, (name, ..)) in CASES.into_iter().enumerate() {
            for (at, beside) in ["", "-alone"].into_iter().enumerate() {
                let runs = self.of(|s| s.active[of][at]);
                let case = format!("{case}-{name}{beside}");
                rows.push((case, OURS, ("active", "packet/s"), runs));
            }
        }
        rows
    }
}

/// What there is of idle peers, and what one that is busy notices.
pub fn print_tables(all: &[Measured]) {
    println!(
        "\n{:<14} {:>10} {:>10} {:>6} {:>6} {:>6} {:>13} {:>8} {:>6}",
        "case", "byte/peer", "lookup ns", "IPv4", "IPv6", "LPM", "handshakes/s", BARE, "of it"
    );
    for measured in all {
        let lookup = [0, 1, 2].map(|at| measured.median(|s| s.lookup[at]));
        let handshakes = [0, 1].map(|at| measured.median(|s| s.handshakes[at]));
        println!(
            "{:<14} {:>10.0} {:>10.0} {:>6.0} {:>6.0} {:>6.0} {:>13.0} {:>8.0} {:>6.2}",
            format!("peers-{}", measured.peers),
            measured.median(|s| s.memory),
            lookup[0],
            lookup[1],
            lookup[2],
            measured.median(|s| s.lpm),
            handshakes[0],
            handshakes[1],
            handshakes[0] / handshakes[1],
        );
    }
    println!("\nMpps of one busy peer, and of what it has without the others (median of runs)");
    print!("{:<14}", "case");
    for (name, ..) in CASES {
        print!(" {name:>15}");
    }
    for measured in all {
        print!("\n{:<14}", format!("peers-{}", measured.peers));
        for of in 0..CASES.len() {
            let rate = measured.median(|s| s.active[of][0]) / 1e6;
            let ratio = measured.median(|s| s.active[of][0] / s.active[of][1]);
            print!(" {:>15}", format!("{rate:.3}  {ratio:.3}"));
        }
    }
    println!();
}

/// All rows.
pub fn report(all: &[Measured]) -> Result<Report> {
    let rows = all.iter().flat_map(Measured::rows);
    let rows = rows.map(|(case, implementation, metric, runs)| {
        Row::new("scale", case, implementation, metric, runs)
    });
    Report::of_ringtun(OURS, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_agreed_names() {
        let sample = Sample {
            memory: 1.0,
            lookup: [2.0, 3.0, 4.0],
            handshakes: [5.0, 6.0],
            active: [[9.0, 10.0]; CASES.len()],
            lpm: 7.0,
        };
        let measured = Measured {
            peers: 1000,
            runs: vec![sample],
        };
        let rows = measured.rows();
        let named = rows
            .iter()
            .map(|(case, implementation, (metric, unit), runs)| {
                format!("{case} {implementation} {metric} {unit} {}", runs[0])
            });
        assert_eq!(
            named.collect::<Vec<_>>()[..9],
            [
                "peers-1000 ringtun memory byte/peer 1",
                "peers-1000 ringtun lookup ns 2",
                "peers-1000-v4 ringtun lookup ns 3",
                "peers-1000-v6 ringtun lookup ns 4",
                "peers-1000-lpm ringtun lookup ns 7",
                "peers-1000 ringtun handshakes 1/s 5",
                "peers-1000 bare-dh handshakes 1/s 6",
                "peers-1000-seal-1420 ringtun active packet/s 9",
                "peers-1000-seal-1420-alone ringtun active packet/s 10",
            ]
        );
    }
}

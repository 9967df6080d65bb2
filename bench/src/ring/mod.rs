//! AF_XDP alone: what the rings carry in copy mode over veth, without a tunnel.
//!
//! ```text
//! transmit   generator ══ veth ══▶ sink
//! receive    generator ══ veth ══▶ receiver
//! forward    generator ══ veth ══▶ forwarder ══ veth ══▶ sink
//! ```
//!
//! A sink is a socket without frames: the kernel redirects every frame to it, finds none to copy
//! it into, drops it and counts. So what counts is what has arrived, not what was sent.
//!
//! A veth has no interrupt: the receiving device's part, XDP and the copy included, runs on the
//! sender's processor. So beside each rate is that of the same generator into a sink.
//!
//! A rate is that of whatever processor time the machine has left. What one packet costs the thread
//! in question is told too, and changes less on a machine that others use.
//!
//! * [`line`]: a veth pair between two namespaces.
//! * [`source`]: what sends as fast as it can.
//! * [`ends`]: receiver, forwarder, sink.
//! * [`subject`]: what is measured, put together of those.

pub mod ends;
pub mod line;
pub mod source;
mod subject;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ringtun_lab::registry;

use crate::report::{Report, Row, median};
use subject::{Sample, Subject};

/// Bytes of a frame: the shortest of Ethernet, and what a tunnel over Ethernet carries inside.
const SIZES: [usize; 2] = [64, 1420];
/// All cases, with what stands beside ringtun in each.
const CASES: [(&str, &str); 3] = [
    ("transmit", "packet-socket"),
    ("receive", "generator"),
    ("forward", "generator"),
];
const OURS: &str = "ringtun";

/// Options of the suite.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write all rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each case; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Cases: transmit, receive, forward, with -64 or -1420 behind them for one size only.
    #[arg(
        long = "case",
        value_delimiter = ',',
        default_value = "transmit,receive,forward"
    )]
    cases: Vec<String>,
}

/// One row: what is measured, and what it gave so far.
struct Measured {
    case: String,
    implementation: &'static str,
    subject: Subject,
    runs: Vec<Sample>,
}

impl Measured {
    fn rates(&self) -> Vec<f64> {
        self.runs.iter().map(|sample| sample.rate).collect()
    }

    fn costs(&self) -> Vec<f64> {
        self.runs.iter().map(|sample| sample.cost).collect()
    }
}

/// Runs the suite.
///
/// # Errors
/// A device or socket cannot be made, nothing arrives, or a frame is unaccounted for.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.runs > 0 && arguments.seconds > 0,
        "nothing to run"
    );
    registry::reap()?;
    let mut all = Vec::new();
    for (case, beside, size) in chosen(&arguments.cases)? {
        let name = format!("{case}-{size}");
        for implementation in [OURS, beside] {
            let subject = subject(case, implementation, size)
                .with_context(|| format!("{name}, {implementation}"))?;
            all.push(Measured {
                case: name.clone(),
                implementation,
                subject,
                runs: Vec::new(),
            });
        }
    }
    let time = Duration::from_secs(arguments.seconds.into());
    for run in 0..arguments.runs {
        for measured in &mut all {
            let sample = measured
                .subject
                .measure(time)
                .with_context(|| format!("{}, {}", measured.case, measured.implementation))?;
            measured.runs.push(sample);
            println!(
                "run {}/{} {:<13} {:<13} {:.3} Mpps, {:.0} ns",
                run + 1,
                arguments.runs,
                measured.case,
                measured.implementation,
                sample.rate / 1e6,
                sample.cost
            );
        }
    }
    for measured in &mut all {
        measured
            .subject
            .audit()
            .with_context(|| format!("{}, {}", measured.case, measured.implementation))?;
    }
    print_table(&all);
    report(&all)?.write(arguments.json.as_deref())
}

/// The cases that the options name: what, beside what, with frames of how many bytes.
fn chosen(names: &[String]) -> Result<Vec<(&'static str, &'static str, usize)>> {
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        for (case, beside) in CASES {
            for size in SIZES {
                if name == case || *name == format!("{case}-{size}") {
                    chosen.push((case, beside, size));
                }
            }
        }
        if chosen.len() == before {
            bail!("no case {name}: there are transmit, receive, forward, each with -64 and -1420");
        }
    }
    Ok(chosen)
}

fn subject(case: &str, implementation: &str, size: usize) -> Result<Subject> {
    match (case, implementation) {
        ("transmit", "packet-socket") => Subject::packet_socket(size),
        ("receive", OURS) => Subject::receive(size),
        ("forward", OURS) => Subject::forward(size),
        // What transmits is the generator.
        _ => Subject::transmit(size),
    }
}

fn print_table(all: &[Measured]) {
    println!(
        "\n{:<13} {:<13} {:>8} {:>13} {:>8} {:>10} {:>11}",
        "case", "impl", "Mpps", "(min–max)", "vs other", "ns/packet", "(min–max)"
    );
    let spread = |runs: &[f64], unit: f64, digits: usize| {
        let low = runs.iter().copied().fold(f64::INFINITY, f64::min) / unit;
        let high = runs.iter().copied().fold(0.0, f64::max) / unit;
        format!("{low:.digits$}–{high:.digits$}")
    };
    for (at, measured) in all.iter().enumerate() {
        let (rates, costs) = (measured.rates(), measured.costs());
        // Each case is two rows, ours first.
        let ratio = if measured.implementation == OURS {
            format!("{:.2}", median(&rates) / median(&all[at + 1].rates()))
        } else {
            String::new()
        };
        println!(
            "{:<13} {:<13} {:>8.3} {:>13} {ratio:>8} {:>10.0} {:>11}",
            measured.case,
            measured.implementation,
            median(&rates) / 1e6,
            spread(&rates, 1e6, 3),
            median(&costs),
            spread(&costs, 1.0, 0),
        );
    }
}

fn report(all: &[Measured]) -> Result<Report> {
    let mut rows = Vec::new();
    for measured in all {
        for (metric, unit, runs) in [
            ("rate", "packet/s", measured.rates()),
            ("cost", "ns", measured.costs()),
        ] {
            rows.push(Row::new(
                "ring",
                &measured.case,
                measured.implementation,
                (metric, unit),
                runs,
            ));
        }
    }
    Report::of_ringtun(OURS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_with_and_without_a_size() {
        let chosen = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names)
        };
        let both = chosen(&["receive"]).unwrap();
        assert_eq!(
            both,
            [("receive", "generator", 64), ("receive", "generator", 1420)]
        );
        let one = chosen(&["transmit-64"]).unwrap();
        assert_eq!(one, [("transmit", "packet-socket", 64)]);
        assert!(chosen(&["receive-65"]).is_err());
    }
}

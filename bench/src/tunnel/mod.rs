//! Whole tunnels: the same two namespaces, link and MTU for each implementation.
//!
//! Each implementation and mode has links of its own: a native XDP program switches the offloads
//! of the other end off.
//!
//! * [`case`]: what there is to measure.
//! * [`subject`]: one implementation, started.
//! * [`measure`]: one run.

mod case;
mod measure;
pub mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ringtun_lab::{registry, tools};

use crate::load::TRAIN_MAX;
use crate::report::{Report, Row, format};
use case::Case;
use measure::{Measured, Times};
use subject::{Setup, Subject};

/// Options of the suite.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Cases:
  tcp1, tcp4            goodput of one or four TCP streams (iperf3)
  udp64, udp512, udp1400
                        the highest rate of which at most 0.1 % is lost, searched to 2 %;
                        the size is what an IP packet carries, UDP header included
  imix                  the same, seven packets of 64, four of 576, one of 1400
  rtt-idle, rtt-load    round trips, 1000 a second, alone and beside a TCP stream

A rate takes about 15 probes and a confirmation the first time, fewer later.
Trust ratios of one invocation, not rates of different ones.")]
pub struct Arguments {
    /// Write all rows to this file too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each implementation and case; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Seconds of one run, and of the confirmation of a rate.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Seconds of each probe of the search for a rate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    probe_seconds: u32,
    /// Cases, see below.
    #[arg(
        long = "case",
        value_delimiter = ',',
        default_value = "tcp1,tcp4,udp64,udp512,udp1400,imix,rtt-idle,rtt-load"
    )]
    cases: Vec<String>,
    /// Implementations.
    #[arg(
        long = "impl",
        value_delimiter = ',',
        default_value = "ringtun-udp,ringtun-xdp,wireguard-go,boringtun,none"
    )]
    implementations: Vec<String>,
    /// TCP's congestion control, at both ends of every implementation: cubic, or reno where a
    /// namespace may not choose that.
    #[arg(long, default_value_t = subject::default_congestion())]
    congestion: String,
    /// Packets that the generator gives to the kernel at once (UDP_SEGMENT); 1: none together.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=i64::from(TRAIN_MAX)))]
    train: u8,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = super::default_binary())]
    ringtun: PathBuf,
}

/// Runs the suite.
///
/// # Errors
/// An implementation cannot be had or does not carry traffic.
pub fn run(arguments: &Arguments) -> Result<()> {
    let cases = Case::chosen(&arguments.cases)?;
    let names = chosen(arguments)?;
    subject::known_congestion(&arguments.congestion)?;
    registry::reap()?;
    tools::need(&[("iperf3", "iperf3"), ("wg", "wireguard-tools")])?;
    let setup = Setup {
        ringtun: &arguments.ringtun,
        congestion: &arguments.congestion,
        train: arguments.train,
    };
    let mut subjects = Vec::new();
    for name in names {
        subjects.push(Subject::start(name, setup).with_context(|| name.clone())?);
    }
    let times = Times {
        seconds: arguments.seconds,
        probe: arguments.probe_seconds,
    };
    let mut rows: Vec<Row> = Vec::new();
    for run in 1..=arguments.runs {
        for (name, case) in &cases {
            for subject in &subjects {
                let found = |row: &&Row| {
                    row.case == *name
                        && row.implementation == subject.name
                        && row.metric == "loss-free"
                };
                let hint = rows.iter().find(found).map(|row| row.value);
                let measured =
                    measure::measure(subject, *case, times, hint.filter(|rate| *rate > 0.0))
                        .with_context(|| format!("{}, {name}", subject.name))?;
                let text: Vec<_> = measured
                    .iter()
                    .map(|(metric, unit, value)| {
                        format!("{metric} {}", format::with_unit(*value, unit))
                    })
                    .collect();
                println!(
                    "run {run}/{} {name:<8} {:<13} {}",
                    arguments.runs,
                    subject.name,
                    text.join(", ")
                );
                note(&mut rows, name, &subject.name, &measured);
            }
        }
    }
    rows.sort_by_key(|row| cases.iter().position(|(name, _)| *name == row.case));
    let versions = subjects
        .iter()
        .map(|subject| (subject.name.clone(), subject.version.clone()))
        .collect();
    let mut report = Report::new(versions, rows)?;
    report.settings = settings(arguments);
    println!("\n{}", report.table());
    report.write(arguments.json.as_deref())
}

/// The implementations that are asked for, each once.
fn chosen(arguments: &Arguments) -> Result<Vec<&String>> {
    let mut names: Vec<&String> = Vec::new();
    for name in &arguments.implementations {
        if subject::implementation(name, &arguments.ringtun)?
            .is_some_and(|(i, _)| i.name() == "ringtun")
        {
            ensure!(
                arguments.ringtun.is_file(),
                "no ringtun at {}: cargo build --release, or --ringtun FILE",
                arguments.ringtun.display()
            );
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Adds what a run gave.
fn note(rows: &mut Vec<Row>, case: &str, implementation: &str, measured: &[Measured]) {
    for (metric, unit, value) in measured {
        let same = |row: &&mut Row| {
            row.case == case && row.implementation == implementation && row.metric == *metric
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.add(*value),
            None => rows.push(Row::new(
                "tunnel",
                case,
                implementation,
                (*metric, *unit),
                vec![*value],
            )),
        }
    }
}

/// What the figures were measured with.
fn settings(arguments: &Arguments) -> BTreeMap<String, String> {
    [
        ("congestion", arguments.congestion.clone()),
        ("packets per train", arguments.train.to_string()),
        ("probe seconds", arguments.probe_seconds.to_string()),
        ("runs", arguments.runs.to_string()),
        ("seconds", arguments.seconds.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(options: &[&str]) -> Result<Arguments, clap::Error> {
        let all = ["tunnel"].iter().chain(options);
        Command::try_parse_from(all).map(|command| command.arguments)
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for options in [
            ["--runs", "0"],
            ["--seconds", "0"],
            ["--probe-seconds", "0"],
            ["--train", "0"],
            ["--train", "46"],
        ] {
            assert!(parse(&options).is_err(), "{options:?}");
        }
        let error = run(&parse(&["--case", "tcp9"]).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("there are tcp1, tcp4"),
            "{error}"
        );
        let error = run(&parse(&["--impl", "linux"]).unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("there are ringtun-udp"),
            "{error}"
        );
        let error = run(&parse(&["--congestion", "no", "--impl", "none"]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("reno"), "{error}");
    }

    #[test]
    fn runs_of_one_metric_are_one_row() {
        let mut rows = Vec::new();
        for value in [3.0, 1.0, 2.0] {
            note(&mut rows, "tcp1", "none", &[("goodput", "bit/s", value)]);
        }
        note(&mut rows, "tcp1", "boringtun", &[("goodput", "bit/s", 9.0)]);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].value, rows[0].runs.len()), (2.0, 3));
    }
}

//! One run of one case.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::case::Case;
use super::subject::{Cpu, IPERF_PORT, Subject};
use crate::load::{self, Mix, Trial, percentile};

/// Packets per second that the first search begins with.
const FIRST_RATE: f64 = 50_000.0;
/// A search after the first begins with this much of what the one before found.
const AGAIN: f64 = 0.95;
/// How long a TCP stream runs before and after the round trips beside it.
const MARGIN: u32 = 2;

/// A metric, its unit and what was measured.
pub type Measured = (&'static str, &'static str, f64);

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A run, and the confirmation of a rate.
    pub seconds: u32,
    /// A trial of the search.
    pub probe: u32,
}

/// Runs a case; `hint` is the rate that was found the last time, if it was.
///
/// # Errors
/// Nothing came through, or a program ended.
pub fn measure(
    subject: &Subject,
    case: Case,
    times: Times,
    hint: Option<f64>,
) -> Result<Vec<Measured>> {
    ensure!(subject.server.status().is_none(), "iperf3 server has ended");
    match case {
        Case::Tcp(streams) => tcp(subject, streams, times.seconds),
        Case::Udp(mix) => udp(subject, mix, times, hint),
        Case::Rtt { load } => rtt(subject, load, times.seconds),
    }
}

fn iperf(subject: &Subject, seconds: u32, more: &[&str]) -> Vec<String> {
    let (to, port) = (subject.to.to_string(), IPERF_PORT.to_string());
    let seconds = seconds.to_string();
    let arguments = ["-c", &to, "-p", &port, "-t", &seconds];
    let all = arguments.iter().chain(more);
    all.map(|argument| (*argument).to_owned()).collect()
}

fn costs((machine, processes): (f64, Option<f64>)) -> impl Iterator<Item = Measured> {
    let processes = processes.map(|cost| ("cpu-process", "s/GB", cost));
    [("cpu-machine", "s/GB", machine)]
        .into_iter()
        .chain(processes)
}

fn tcp(subject: &Subject, streams: u32, seconds: u32) -> Result<Vec<Measured>> {
    let before = subject.cpu()?;
    let arguments = iperf(subject, seconds, &["-P", &streams.to_string(), "-J"]);
    let text = subject.ends()[0].run("iperf3", arguments)?;
    let after = subject.cpu()?;
    let json: Value = serde_json::from_str(&text).context("iperf3 -J")?;
    let received = &json["end"]["sum_received"];
    let rate = received["bits_per_second"]
        .as_f64()
        .with_context(|| format!("iperf3: {}", json["error"]))?;
    let bytes = received["bytes"].as_f64().context("iperf3 bytes")?;
    ensure!(bytes > 0.0, "nothing was transferred");
    let mut measured = vec![("goodput", "bit/s", rate)];
    measured.extend(costs(after.since(before, bytes)));
    Ok(measured)
}

fn udp(subject: &Subject, mix: Mix, times: Times, hint: Option<f64>) -> Result<Vec<Measured>> {
    let start = hint.map_or(FIRST_RATE, |rate| rate * AGAIN);
    let found = load::search(start, |rate, trial| {
        let seconds = match trial {
            Trial::Short => times.probe,
            Trial::Long => times.seconds,
        };
        let time = Duration::from_secs(seconds.into());
        // Others on the machine take a processor now and then: a rate is refused when it loses twice.
        for _ in 0..2 {
            let before = subject.cpu()?;
            let outcome = subject.path.probe(mix, rate, time)?;
            if outcome.holds() {
                return Ok(Some((outcome, [before, subject.cpu()?])));
            }
        }
        Ok(None)
    })?;
    let Some((_, (outcome, [before, after]))) = found else {
        println!("{}: no rate without loss was found", subject.name);
        return Ok(vec![("loss-free", "packet/s", 0.0)]);
    };
    let mut measured = vec![("loss-free", "packet/s", outcome.rate())];
    measured.extend(costs(Cpu::since(after, before, outcome.bytes as f64)));
    Ok(measured)
}

fn rtt(subject: &Subject, load: bool, seconds: u32) -> Result<Vec<Measured>> {
    let ends = subject.ends();
    let stream = if load {
        let arguments = iperf(subject, seconds + 2 * MARGIN, &["--forceflush", "-i", "1"]);
        let stream = ends[0].start("iperf3", arguments)?;
        stream.wait_line(Duration::from_secs(30), |line| line.contains("bits/sec"))?;
        Some(stream)
    } else {
        None
    };
    let time = Duration::from_secs(seconds.into());
    let (round_trips, asked) = load::round_trips(ends, subject.to, time)?;
    if let Some(stream) = stream {
        let status = stream.wait_exit(Duration::from_secs(60))?;
        ensure!(status.success(), "iperf3: {}", stream.output());
    }
    let lost = asked.saturating_sub(round_trips.len());
    if lost * 100 > asked {
        println!(
            "{}: {lost} of {asked} had no answer, and do not count",
            subject.name
        );
    }
    let part = |part| percentile(&round_trips, part).context("no request was answered");
    Ok(vec![("p50", "s", part(0.5)?), ("p99", "s", part(0.99)?)])
}

//! One gateway alone, between a generator and a sink: how many packets per second it takes from
//! one side and puts out on the other, each way.
//!
//! ```text
//! encrypt   generator ══ LAN ══▶ gateway ══ WAN ══▶ sink
//! decrypt   sink ◀══ LAN ══ gateway ◀══ WAN ══ generator
//! ```
//!
//! The far end of the tunnel is this program: it does a handshake with whatever implementation the
//! gateway runs, and seals packets of its own. Generator and sink are AF_XDP in namespaces of their
//! own: no other WireGuard, no TCP, no kernel socket takes processor time of the gateway. What the
//! kernel does for the gateway's devices runs on the generator's processor, as a veth has no
//! interrupt, and so for each implementation alike.
//!
//! * [`site`]: namespaces, links, routes, the implementation, a session.
//! * [`generator`]: what sends.

mod generator;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ringtun_lab::{registry, tools};

use crate::report::{Report, Row, median};
use site::{Direction, Sample, Site};

/// Bytes of an inner IP packet.
const SIZES: [usize; 3] = [64, 512, 1400];
/// What ratios refer to: ringtun's own way through the TUN device.
const REFERENCE: &str = "ringtun-xdp";

/// Options of the suite.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write all rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each implementation and case; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Packets per second that the generator sends; as many as it can without.
    #[arg(long)]
    rate: Option<u32>,
    /// Cases: encrypt (from LAN to WAN), decrypt (from WAN to LAN), with -64, -512 or -1400
    /// behind them for one size of the packets inside only.
    #[arg(
        long = "case",
        value_delimiter = ',',
        default_value = "encrypt,decrypt"
    )]
    cases: Vec<String>,
    /// Implementations; none: the kernel forwards, without a tunnel.
    #[arg(
        long = "impl",
        value_delimiter = ',',
        default_value = "ringtun-ff,ringtun-xdp,ringtun-udp,wireguard-go,boringtun,none"
    )]
    implementations: Vec<String>,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = super::default_binary())]
    ringtun: PathBuf,
}

/// Runs the suite.
///
/// # Errors
/// An implementation cannot be had, or nothing arrives.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.runs > 0 && arguments.seconds > 0 && arguments.rate != Some(0),
        "nothing to run"
    );
    registry::reap()?;
    tools::need(&[("wg", "wireguard-tools")])?;
    let cases = chosen(&arguments.cases)?;
    let mut sites = Vec::new();
    for name in &arguments.implementations {
        let site = Site::new(name, &arguments.ringtun).with_context(|| name.clone())?;
        sites.push(site);
    }
    let time = Duration::from_secs(arguments.seconds.into());
    let mut samples = vec![Vec::new(); cases.len() * sites.len()];
    for run in 0..arguments.runs {
        for (of_case, (direction, size)) in samples.chunks_mut(sites.len()).zip(&cases) {
            for turn in 0..sites.len() {
                // Each is first in its turn.
                let at = (turn + run) % sites.len();
                let site = &mut sites[at];
                let sample = site
                    .measure(*direction, *size, arguments.rate, time)
                    .with_context(|| format!("{}, {}", site.name, case(*direction, *size)))?;
                println!(
                    "run {}/{} {:<12} {:<13} {:.3} Mpps of {:.3}",
                    run + 1,
                    arguments.runs,
                    case(*direction, *size),
                    site.name,
                    sample.arrived / 1e6,
                    sample.sent / 1e6
                );
                of_case[at].push(sample);
            }
        }
    }
    let mut rows = Vec::new();
    for (of_case, (direction, size)) in samples.chunks(sites.len()).zip(&cases) {
        for (samples, site) in of_case.iter().zip(&sites) {
            let runs = |of: fn(&Sample) -> f64| samples.iter().map(of).collect();
            let metrics: [(_, Vec<f64>); 2] = [
                (("rate", "packet/s"), runs(|sample| sample.arrived)),
                (("offered", "packet/s"), runs(|sample| sample.sent)),
            ];
            for (metric, runs) in metrics {
                let case = case(*direction, *size);
                rows.push(Row::new("gateway", case, &site.name, metric, runs));
            }
        }
    }
    let versions = sites.iter().map(|s| (s.name.clone(), s.version.clone()));
    let report = Report::new(versions.collect(), rows)?;
    print_table(&report, &arguments.implementations, &cases);
    report.write(arguments.json.as_deref())
}

fn case(direction: Direction, size: usize) -> String {
    format!("{}-{size}", direction.name())
}

/// The cases that the options name.
fn chosen(names: &[String]) -> Result<Vec<(Direction, usize)>> {
    let mut chosen = Vec::new();
    for name in names {
        let before = chosen.len();
        for direction in Direction::ALL {
            for size in SIZES {
                if name == direction.name() || *name == case(direction, size) {
                    chosen.push((direction, size));
                }
            }
        }
        if chosen.len() == before {
            bail!("no case {name}: there are encrypt and decrypt, each with -64, -512 and -1400");
        }
    }
    Ok(chosen)
}

fn print_table(report: &Report, names: &[String], cases: &[(Direction, usize)]) {
    println!(
        "\n{:<12} {:<13} {:>8} {:>13} {:>14} {:>8}",
        "case", "impl", "Mpps", "(min–max)", "vs ringtun-xdp", "offered"
    );
    for (direction, size) in cases {
        let case = case(*direction, *size);
        for name in names {
            let Some(row) = report.find(&case, "rate", name) else {
                continue;
            };
            let (low, high) = row.spread();
            let ratio = report
                .find(&case, "rate", REFERENCE)
                .map_or("-".to_owned(), |other| {
                    format!("{:.2}", row.value / other.value)
                });
            let offered = report.find(&case, "offered", name);
            println!(
                "{case:<12} {name:<13} {:>8.3} {:>13} {ratio:>14} {:>8.3}",
                row.value / 1e6,
                format!("{:.3}–{:.3}", low / 1e6, high / 1e6),
                offered.map_or(0.0, |row| median(&row.runs)) / 1e6
            );
        }
    }
    for (implementation, version) in &report.versions {
        println!("{implementation}: {version}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_with_and_without_a_size() {
        let chosen = |name: &str| chosen(&[name.to_owned()]);
        let all = chosen("decrypt").unwrap();
        assert_eq!(all, SIZES.map(|size| (Direction::Decrypt, size)));
        assert_eq!(chosen("encrypt-512").unwrap(), [(Direction::Encrypt, 512)]);
        assert!(chosen("encrypt-513").is_err());
    }
}

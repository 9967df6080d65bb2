//! Whole subjects: the same two namespaces, link and MTU for each implementation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringtun_lab::link::Middle;
use ringtun_lab::peers::local::Device;
use ringtun_lab::peers::{self, Implementation};
use ringtun_lab::process::Process;
use ringtun_lab::tunnel::{MTU, Options};
use ringtun_lab::{Pair, Tunnel, ping, registry, tools, usage};
use serde_json::Value;

use crate::report::{Report, Row};

const IPERF_PORT: u16 = 5201;

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
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Cases: tcp1 (one stream), tcp4 (four).
    #[arg(long = "case", value_delimiter = ',', default_value = "tcp1")]
    cases: Vec<String>,
    /// Implementations.
    #[arg(
        long = "impl",
        value_delimiter = ',',
        default_value = "ringtun-udp,ringtun-xdp,wireguard-go,none"
    )]
    implementations: Vec<String>,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = super::default_binary())]
    ringtun: PathBuf,
}

/// One implementation between two namespaces, ready to be measured.
struct Subject {
    name: String,
    version: String,
    devices: Vec<Device>,
    pair: Pair,
    server: Process,
    to: String,
}

/// What one run gave, in the order of [`METRICS`].
type Sample = [f64; 3];

const METRICS: [(&str, &str); 3] = [
    ("goodput", "bit/s"),
    ("cpu-machine", "s/GB"),
    ("cpu-process", "s/GB"),
];

/// Runs the suite.
///
/// # Errors
/// An implementation cannot be had or does not carry traffic.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.runs > 0 && arguments.seconds > 0,
        "nothing to run"
    );
    registry::reap()?;
    tools::need(&[("iperf3", "iperf3"), ("wg", "wireguard-tools")])?;
    let streams = arguments
        .cases
        .iter()
        .map(|case| match case.as_str() {
            "tcp1" => Ok(1),
            "tcp4" => Ok(4),
            _ => anyhow::bail!("no case {case}: there are tcp1, tcp4"),
        })
        .collect::<Result<Vec<u32>>>()?;
    let mut subjects = Vec::new();
    for name in &arguments.implementations {
        subjects.push(Subject::start(name, &arguments.ringtun).with_context(|| name.clone())?);
    }
    let mut samples: BTreeMap<(usize, usize), Vec<Sample>> = BTreeMap::new();
    for run in 0..arguments.runs {
        for (case, streams) in streams.iter().enumerate() {
            for (at, subject) in subjects.iter().enumerate() {
                let sample = subject
                    .measure(*streams, arguments.seconds)
                    .with_context(|| subject.name.clone())?;
                println!(
                    "run {}/{} {} {:<13} {:.2} Gbit/s",
                    run + 1,
                    arguments.runs,
                    arguments.cases[case],
                    subject.name,
                    sample[0] / 1e9
                );
                samples.entry((case, at)).or_default().push(sample);
            }
        }
    }
    let mut rows = Vec::new();
    for ((case, at), samples) in &samples {
        for (metric, (name, unit)) in METRICS.iter().enumerate() {
            if *name == "cpu-process" && subjects[*at].devices.is_empty() {
                continue;
            }
            let runs: Vec<f64> = samples.iter().map(|sample| sample[metric]).collect();
            let (case, implementation) = (&arguments.cases[*case], &subjects[*at].name);
            rows.push(Row::new("tunnel", case, implementation, (name, unit), runs));
        }
    }
    let versions = subjects
        .iter()
        .map(|subject| (subject.name.clone(), subject.version.clone()))
        .collect();
    let report = Report::new(versions, rows)?;
    println!("\n{}", report.table("wireguard-go"));
    report.write(arguments.json.as_deref())
}

/// The implementation behind a name of DESIGN.md section 10, and the arguments it needs; none
/// without a tunnel.
///
/// # Errors
/// There is no such name.
pub fn implementation(
    name: &str,
    ringtun: &Path,
) -> Result<Option<(Implementation, &'static [&'static str])>> {
    Ok(match name {
        "none" => None,
        "ringtun-udp" => Some((
            Implementation::Ringtun(ringtun.to_owned()),
            &["--io", "udp"][..],
        )),
        "ringtun-xdp" => Some((
            Implementation::Ringtun(ringtun.to_owned()),
            &["--io", "xdp"][..],
        )),
        other => Some((Implementation::parse(other, ringtun)?, &[])),
    })
}

impl Subject {
    fn start(name: &str, ringtun: &Path) -> Result<Subject> {
        let Some((implementation, arguments)) = implementation(name, ringtun)? else {
            let pair = Pair::new(Middle::None, 1500)?;
            for end in &pair.ends {
                end.ns.ip(&format!("link set {} mtu {MTU}\n", end.device))?;
            }
            let to = pair.ends[1].v4.to_string();
            return Subject::serve(name, "plain veth".into(), pair, Vec::new(), to);
        };
        let peer = implementation.prepare(&peers::default_cache())?;
        let options = Options {
            arguments,
            ..Options::default()
        };
        let Tunnel { pair, devices, .. } = Tunnel::new([&peer, &peer], &options)?;
        let to = Tunnel::inside_v4(1).to_string();
        Subject::serve(name, peer.version, pair, devices.into(), to)
    }

    fn serve(
        name: &str,
        version: String,
        pair: Pair,
        devices: Vec<Device>,
        to: String,
    ) -> Result<Subject> {
        let server = pair.ends[1].ns.start(
            "iperf3",
            ["-s", "--forceflush", "-p", &IPERF_PORT.to_string()],
        )?;
        server.wait_line(Duration::from_secs(60), |line| {
            line.contains("Server listening")
        })?;
        ping::until_answered(&pair.ends[0].ns, to.parse()?, Duration::from_secs(60))?;
        Ok(Subject {
            name: name.to_owned(),
            version,
            pair,
            devices,
            server,
            to,
        })
    }

    /// Processor time of both ends' programs so far, seconds.
    fn processes(&self) -> Result<f64> {
        let mut sum = 0.0;
        for device in &self.devices {
            sum += device.process.usage()?.cpu;
        }
        Ok(sum)
    }

    fn measure(&self, streams: u32, seconds: u32) -> Result<Sample> {
        ensure!(self.server.status().is_none(), "iperf3 server has ended");
        let (machine, processes) = (usage::machine()?, self.processes()?);
        let text = self.pair.ends[0].ns.run(
            "iperf3",
            [
                "-c",
                &self.to,
                "-p",
                &IPERF_PORT.to_string(),
                "-t",
                &seconds.to_string(),
                "-P",
                &streams.to_string(),
                "-J",
            ],
        )?;
        let (machine, processes) = (usage::machine()? - machine, self.processes()? - processes);
        let json: Value = serde_json::from_str(&text).context("iperf3 -J")?;
        let received = &json["end"]["sum_received"];
        let rate = received["bits_per_second"]
            .as_f64()
            .with_context(|| format!("iperf3: {}", json["error"]))?;
        let gigabytes = received["bytes"].as_f64().context("iperf3 bytes")? / 1e9;
        ensure!(gigabytes > 0.0, "nothing was transferred");
        Ok([rate, machine / gigabytes, processes / gigabytes])
    }
}

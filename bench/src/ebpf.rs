//! What the XDP programs cost per packet of each class, against one that passes everything unseen.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ringtun::bpf::steer::QUEUE_SIZE;
use ringtun::bpf::{CardProgram as _, LanProgram, PassProgram, WanProgram};
use ringtun_common::class::Class;
use ringtun_common::fixtures::lan::{self, LIMITS, LanFixture, NETWORK4, NETWORK6};
use ringtun_common::fixtures::{self, Fixture, World};
use ringtun_common::steer::Group;
use ringtun_common::verdict::Verdict;

use crate::report::{Report, Row, median};

/// The kernel says of a test run that its frame came in by this.
const LOOPBACK: u32 = 1;
/// The kernel tests no shorter frame.
const SHORTEST_FRAME: usize = 14;
const OURS: &str = "ringtun";
const EMPTY: &str = "xdp-pass";

/// Options of the suite.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write all rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each program and class; the median counts.
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Packets of one run.
    #[arg(long, default_value_t = 200_000)]
    packets: u32,
}

/// Which of our programs a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Wan,
    /// The program for WAN interfaces, with tunnels of others steered.
    Steer,
    Lan,
}

/// A frame, and the name of the case it stands for.
struct Case {
    name: String,
    side: Side,
    frame: Vec<u8>,
    verdict: Verdict,
    /// Nanoseconds per packet of each run: ours, and the empty program.
    runs: [Vec<f64>; 2],
}

/// Runs the suite.
///
/// # Errors
/// The kernel does not take the programs.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.runs > 0 && arguments.packets > 0,
        "nothing to run"
    );
    let mut wan = WanProgram::load()?;
    let empty = PassProgram::load()?;
    wan.cards().set_interface(LOOPBACK, World::INTERFACE)?;
    for endpoint in World::ENDPOINTS {
        wan.add_endpoint(endpoint)?;
    }
    let socket = ringtun_lab::xdp_socket().context("an AF_XDP socket")?;
    wan.cards()
        .set_socket(World::INTERFACE.first_socket, socket.as_fd())?;

    let mut steer = WanProgram::load()?;
    for group in Group::ALL {
        steer.steer(*group, &[0], QUEUE_SIZE)?;
    }

    let mut lan = LanProgram::load()?;
    lan.insert(NETWORK4.0.into(), NETWORK4.1, LIMITS)?;
    lan.insert(NETWORK6.0.into(), NETWORK6.1, LIMITS)?;

    let mut cases = wan_cases();
    cases.extend(steer_cases());
    cases.extend(lan_cases());
    for run in 0..arguments.runs {
        for case in &mut cases {
            let [ours, pass] = &mut case.runs;
            let nanoseconds = |outcome: std::time::Duration| outcome.as_nanos() as f64;
            let (frame, packets) = (&case.frame, arguments.packets);
            let counted = || match case.side {
                Side::Wan => wan.verdict(case.verdict),
                Side::Steer => steer.verdict(case.verdict),
                Side::Lan => lan.verdict(case.verdict),
            };
            let before = counted()?.packets;
            let outcome = match case.side {
                Side::Wan => wan.test_run(frame, packets)?,
                Side::Steer => steer.test_run(frame, packets)?,
                Side::Lan => lan.test_run(frame, packets)?,
            };
            ours.push(nanoseconds(outcome.duration));
            ensure!(
                counted()?.packets - before == u64::from(packets),
                "{}: not every packet got the verdict",
                case.name
            );
            pass.push(nanoseconds(empty.test_run(frame, packets)?.duration));
        }
        println!("run {}/{}", run + 1, arguments.runs);
    }
    print_table(&cases);
    report(cases)?.write(arguments.json.as_deref())
}

/// The first fixture of each class and verdict.
fn wan_cases() -> Vec<Case> {
    let mut seen = Vec::new();
    let mut cases = Vec::new();
    for Fixture {
        frame,
        class,
        verdict,
        ..
    } in fixtures::all()
    {
        if frame.len() < SHORTEST_FRAME || seen.contains(&(class, verdict)) {
            continue;
        }
        seen.push((class, verdict));
        let name = match verdict {
            Verdict::Foreign | Verdict::Other | Verdict::NotIp => class.label().to_owned(),
            other => format!("{} {}", class.label(), other.label()),
        };
        cases.push(Case {
            name,
            side: Side::Wan,
            frame,
            verdict,
            runs: [Vec::new(), Vec::new()],
        });
    }
    cases
}

/// The first fixture of each group.
fn steer_cases() -> Vec<Case> {
    let fixtures = fixtures::all();
    let first = |group: &Group| {
        let verdict = Verdict::Steered;
        let mut fixtures = fixtures.iter();
        let found = fixtures.find(|fixture| fixture.verdict_steering(*group) == verdict)?;
        Some(Case {
            name: format!("{} {}", found.class.label(), verdict.label()),
            side: Side::Steer,
            frame: found.frame.clone(),
            verdict,
            runs: [Vec::new(), Vec::new()],
        })
    };
    Group::ALL.iter().filter_map(first).collect()
}

/// The first fixture of each of a few classes and each verdict on it. The one whose
/// option is lowered is not among them, as the kernel does not restore the frame:
/// what a clamp costs is what `clamp-bad-checksum` does, and two short writes.
fn lan_cases() -> Vec<Case> {
    let mut seen = Vec::new();
    let mut cases = Vec::new();
    for LanFixture {
        frame,
        class,
        verdict,
        ..
    } in lan::all()
    {
        let usual = [Class::Tcp, Class::Udp, Class::GreV0, Class::WireGuardData];
        if !usual.contains(&class)
            || verdict == Verdict::Clamped
            || seen.contains(&(class, verdict))
        {
            continue;
        }
        seen.push((class, verdict));
        cases.push(Case {
            name: format!("lan {} {}", class.label(), verdict.label()),
            side: Side::Lan,
            frame,
            verdict,
            runs: [Vec::new(), Vec::new()],
        });
    }
    cases
}

fn print_table(cases: &[Case]) {
    println!(
        "\n{:<40} {:>8} {:>8} {:>8}",
        "ns per packet", OURS, EMPTY, "over it"
    );
    for case in cases {
        let [ours, pass] = case.runs.each_ref().map(|runs| median(runs));
        println!(
            "{:<40} {ours:>8.0} {pass:>8.0} {:>8.0}",
            case.name,
            ours - pass
        );
    }
}

fn report(cases: Vec<Case>) -> Result<Report> {
    let mut rows = Vec::new();
    for case in cases {
        for (implementation, runs) in [OURS, EMPTY].into_iter().zip(case.runs) {
            rows.push(Row::new(
                "ebpf",
                &case.name,
                implementation,
                ("cost", "ns"),
                runs,
            ));
        }
    }
    Report::of_ringtun(OURS, rows)
}

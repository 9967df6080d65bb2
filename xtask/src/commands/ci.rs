//! `cargo xtask ci`: everything that must hold before a change is taken.

use super::{bench, build, demo, fuzz, mutate, test};
use crate::toolchain::bpf::Toolchain;
use crate::toolchain::host;
use crate::{paths, process, progress};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

const SECONDS_PER_FUZZ_TARGET: u32 = 6;
/// Of what a step says when it fails, what is repeated at the end.
const REASON_LINES: usize = 20;
const REASON_WIDTH: usize = 600;

/// A step: its name and what it does.
type Step = (&'static str, fn() -> Result<String>);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("test", || test::run(&test::Arguments::default())),
    ("e2e-xdp", || {
        test::run(&test::Arguments {
            filter: Some("e2e_".to_owned()),
            io: Some("xdp".to_owned()),
            // Floods are of handshake messages, which go by the socket in any case.
            without: &["e2e_alerts", "e2e_xdp", "e2e_top", "e2e_flood"],
            ..test::Arguments::default()
        })
    }),
    ("demo", || demo::run(&demo::Arguments::default())),
    ("interop", || {
        bench::interop(&bench::InteropArguments {
            short: true,
            ..bench::InteropArguments::default()
        })
    }),
    ("interop-xdp", || {
        bench::interop(&bench::InteropArguments {
            peers: vec!["wireguard-go".to_owned()],
            short: true,
            no_rekey: true,
            io: Some("xdp".to_owned()),
        })
    }),
    ("scenario", || {
        bench::scenario(&bench::ScenarioArguments::default())
    }),
    ("mutate", || mutate::run(&mutate::Arguments::default())),
    ("fuzz", || {
        fuzz::run(&fuzz::Arguments {
            target: None,
            seconds: SECONDS_PER_FUZZ_TARGET,
            sanitizer: "none".to_owned(),
            planted: false,
            short: true,
        })
    }),
];

/// Runs every step, also after one that failed.
pub fn run() -> Result<String> {
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        let begin = Instant::now();
        progress::note(&format!("==== {name} ===="));
        let result = step();
        process::wait_if_interrupted();
        let (verdict, detail) = match result {
            Ok(summary) => ("ok", summary),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                let text = format!("{error:#}");
                let first = text.lines().next().unwrap_or_default().to_owned();
                failed.push((*name, text));
                ("FAILED", first)
            }
        };
        let time = progress::seconds(begin.elapsed());
        rows.push(format!("{name:<11} {verdict:<7} {time:>13}  {detail}"));
    }
    println!("\n{:<11} {:<7} {:>13}", "step", "result", "time");
    for row in rows {
        println!("{row}");
    }
    // Once more, and last, where whoever has only the end of this can see it.
    for (name, text) in &failed {
        println!("\n==== {name} FAILED ====");
        for line in text.lines().take(REASON_LINES) {
            println!("{}", line.chars().take(REASON_WIDTH).collect::<String>());
        }
    }
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
        bail!("{}", names.join(", "));
    }
    Ok(format!(
        "ci: {} steps passed in {}",
        STEPS.len(),
        progress::elapsed()
    ))
}

/// A cargo command in one of the three workspaces, the root being `.`.
fn cargo_in(workspace: &str, arguments: &[&str]) -> Command {
    let mut command = process::cargo(arguments);
    command.current_dir(paths::root().join(workspace));
    command
}

fn fmt() -> Result<String> {
    for workspace in [".", "ebpf", "userspace/fuzz"] {
        process::run(cargo_in(workspace, &["fmt", "--all", "--check"]))?;
    }
    Ok("three workspaces are formatted".to_owned())
}

fn clippy() -> Result<String> {
    let object = build::bpf_object()?;
    let features: &[&str] = &["--features", build::PRIVILEGED];
    for (workspace, features) in [(".", features), ("userspace/fuzz", &[])] {
        let mut command = cargo_in(
            workspace,
            &["clippy", "--locked", "--workspace", "--all-targets"],
        );
        command.args(features).args(["--", "-D", "warnings"]);
        command
            // With the object, so that the code around it is seen too.
            .env(build::OBJECT_VARIABLE, &object)
            // Dependencies of both workspaces are checked once: in one place, and
            // without what their profiles differ in.
            .env("CARGO_TARGET_DIR", paths::target())
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        process::run(command)?;
    }
    // Clippy belongs to the host's compiler, which has no core for BPF: the
    // programs are checked as if for the host.
    Toolchain::ensure()?;
    let mut command = cargo_in("ebpf", &["clippy", "--locked", "--target"]);
    command
        .arg(host()?)
        .arg("--target-dir")
        .arg(paths::target().join("ebpf"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    process::run(command)?;
    Ok("no warning in three workspaces".to_owned())
}

//! `cargo xtask fuzz`: runs the fuzz targets of `userspace/fuzz`.

use crate::toolchain::cargo_tools::Tool;
use crate::toolchain::{host, packages};
use crate::{paths, process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

const CARGO_FUZZ_VERSION: &str = "0.13.2";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this target
    pub target: Option<String>,
    /// How long to run each target
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// The sanitizer to build with; `address` finds memory errors and is slower
    #[arg(long, default_value = "none", value_parser = ["none", "address"])]
    pub sanitizer: String,
    /// Plant a bug for each target into a copy of the sources: it must be found
    #[arg(long)]
    pub planted: bool,
    /// So few executions that the time is that of the compiler.
    #[arg(skip)]
    pub short: bool,
}

/// What libFuzzer said of a target.
#[derive(Debug, Default)]
struct Outcome {
    executions: u64,
    edges: u64,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    packages::ensure(packages::FUZZ)?;
    let program = cargo_fuzz()?;
    if arguments.planted {
        return planted(arguments, &program);
    }
    let cargo_fuzz = CargoFuzz {
        program,
        host: host()?,
        sanitizer: &arguments.sanitizer,
        short: arguments.short,
    };
    let all = cargo_fuzz.targets()?;
    let targets: Vec<&String> = match &arguments.target {
        None => all.iter().collect(),
        Some(one) => all.iter().filter(|target| *target == one).collect(),
    };
    ensure!(
        !targets.is_empty(),
        "no such fuzz target; there are: {}",
        all.join(", ")
    );
    progress::step("cargo fuzz build", || {
        process::run(cargo_fuzz.command("build"))
    })?;

    println!(
        "{:<20} {:>14} {:>8} {:>10}",
        "target", "executions", "edges", "time"
    );
    // A target keeps one processor busy.
    let at_once = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(2);
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Outcome::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Relaxed)) {
                    let begin = Instant::now();
                    let outcome = cargo_fuzz.fuzz(target, arguments.seconds);
                    let (sum, failed) =
                        &mut *results.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(outcome) => {
                            println!(
                                "{target:<20} {:>14} {:>8} {:>10}",
                                outcome.executions,
                                outcome.edges,
                                progress::seconds(begin.elapsed())
                            );
                            sum.executions += outcome.executions;
                            sum.edges += outcome.edges;
                        }
                        Err(error) => {
                            eprintln!("{target}: {error:#}");
                            failed.push(format!("{target}{}", finding(&format!("{error:#}"))));
                        }
                    }
                }
            });
        }
    });
    let (sum, failed) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("findings in: {}", failed.join(", "));
    }
    Ok(format!(
        "fuzz: {} targets, {} executions, {} edges, no finding, in {}",
        targets.len(),
        sum.executions,
        sum.edges,
        progress::elapsed()
    ))
}

/// Of what libFuzzer said, where it stopped and on what input.
fn finding(said: &str) -> String {
    let mut text = String::new();
    let mut lines = said.lines().peekable();
    while let Some(line) = lines.next() {
        if line.contains(" panicked at ") {
            let message = lines.peek().copied().unwrap_or_default();
            text += &format!("\n{line}\n{message}");
        } else if line.starts_with("Base64: ") || line.contains("ERROR: ") {
            text += &format!("\n{line}");
        }
    }
    text
}

/// Runs the script that plants bugs; it calls `cargo fuzz`.
fn planted(arguments: &Arguments, cargo_fuzz: &Path) -> Result<String> {
    progress::note("planting bugs into a copy of the sources …");
    let mut path = cargo_fuzz
        .parent()
        .unwrap_or(Path::new(""))
        .as_os_str()
        .to_owned();
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let mut command = process::command(paths::root().join("userspace/fuzz/plant.sh"));
    command
        .arg(arguments.seconds.to_string())
        .args(&arguments.target)
        .env("PATH", path);
    let status = process::start(command)?.wait()?;
    ensure!(status.success(), "a planted bug was not found ({status})");
    Ok(format!(
        "fuzz: every planted bug was found, in {}",
        progress::elapsed()
    ))
}

/// `cargo-fuzz`, installed if need be.
pub fn cargo_fuzz() -> Result<PathBuf> {
    Tool {
        name: "cargo-fuzz",
        version: CARGO_FUZZ_VERSION,
        version_arguments: &["--version"],
        features: &[],
        environment: &[],
    }
    .ensure()
}

struct CargoFuzz<'a> {
    program: PathBuf,
    host: String,
    sanitizer: &'a str,
    short: bool,
}

impl CargoFuzz<'_> {
    fn command(&self, action: &str) -> Command {
        let mut command = process::command(&self.program);
        command
            .arg(action)
            .current_dir(paths::root().join("userspace"))
            .env_remove("CARGO_TARGET_DIR");
        if action != "list" {
            command.args(["--sanitizer", self.sanitizer]);
        }
        if self.short {
            command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        }
        if self.sanitizer != "none" {
            // Stable compilers have the sanitizer and hide the flag.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    fn targets(&self) -> Result<Vec<String>> {
        let list = process::output(self.command("list"))?;
        Ok(list.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs one target, which is built; an error if it found something.
    fn fuzz(&self, target: &str, seconds: u32) -> Result<Outcome> {
        let fuzz = paths::root().join("userspace/fuzz");
        let corpus = fuzz.join("corpus").join(target);
        let artifacts = fuzz.join("artifacts").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        // Directly, not by cargo-fuzz, so that it dies with this process.
        let mut command = process::command(
            fuzz.join("target")
                .join(&self.host)
                .join("release")
                .join(target),
        );
        command
            .arg(corpus)
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=10", "-rss_limit_mb=2048"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let seeds = fuzz.join("seeds").join(target);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        let mut running = process::start(command)?;
        let output = running.child().stderr.take().context("no output")?;
        let mut outcome = Outcome::default();
        let mut last = Vec::new();
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            outcome.read(&line);
            if last.len() == 60 {
                last.remove(0);
            }
            last.push(line);
        }
        let status = running.wait()?;
        ensure!(status.success(), "{status}\n{}", last.join("\n"));
        ensure!(
            outcome.executions > 0,
            "it did not run:\n{}",
            last.join("\n")
        );
        Ok(outcome)
    }
}

impl Outcome {
    /// Reads a status line: `#8192 pulse  cov: 512 ft: 1900 corp: 90/12Kb …`.
    fn read(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix('#') else {
            return;
        };
        let mut words = rest.split_whitespace();
        let Some(executions) = words.next().and_then(|word| word.parse().ok()) else {
            return;
        };
        self.executions = executions;
        let edges = words.skip_while(|word| *word != "cov:").nth(1);
        if let Some(edges) = edges.and_then(|word| word.parse().ok()) {
            self.edges = edges;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_where_it_stopped_and_the_input() {
        let said = "exit status: 77\nINFO: 3 files\nthread 'x' (1) panicked at src/a.rs:1:2:\n\
                    each packet once\nstack backtrace:\n==1== ERROR: libFuzzer: deadly signal\n\
                    Base64: AAAB";
        let lines: Vec<_> = finding(said).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "thread 'x' (1) panicked at src/a.rs:1:2:",
                "each packet once",
                "==1== ERROR: libFuzzer: deadly signal",
                "Base64: AAAB",
            ]
        );
    }

    #[test]
    fn a_status_line_of_the_fuzzer_is_read() {
        let mut outcome = Outcome::default();
        outcome
            .read("#16384\tpulse  cov: 512 ft: 1900 corp: 90/12Kb lim: 163 exec/s: 8192 rss: 40Mb");
        outcome.read("INFO: Seed: 12");
        outcome
            .read("#20000\tDONE   cov: 520 ft: 1950 corp: 92/13Kb lim: 170 exec/s: 9000 rss: 41Mb");
        assert_eq!((outcome.executions, outcome.edges), (20000, 520));
    }
}

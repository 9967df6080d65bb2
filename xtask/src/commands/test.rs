//! `cargo xtask test`: every test, and the machine as it was before.
//!
//! The test programs are started directly, not by cargo, so that they die with
//! this process whatever ends it.

use super::build::{self, OBJECT_VARIABLE};
use crate::toolchain::packages;
use crate::{paths, process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use ringtun_lab::machine::Snapshot;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// No test program takes longer than this, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// Names the program that end-to-end tests run: what users run, not a debug build.
const BINARY_VARIABLE: &str = "RINGTUN_TEST_BINARY";
/// What `ringtun run` takes for `--io` where that is not given.
pub const IO_VARIABLE: &str = "RINGTUN_IO";
/// Lines of a panic that an error repeats.
const PANIC_LINES: usize = 6;
/// How long the kernel may take to free what a dead process held.
const SETTLING: Duration = Duration::from_secs(60);

#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Only tests, or test programs, whose name contains this
    pub filter: Option<String>,
    /// How the encrypted packets of end-to-end tests travel: xdp, udp or auto
    #[arg(long, value_parser = ["xdp", "udp", "auto"])]
    pub io: Option<String>,
    /// Show the output of each test program, not only of those that fail
    #[arg(long)]
    pub verbose: bool,
    /// Test programs that are left out: they do the same however packets travel.
    #[arg(skip)]
    pub without: &'static [&'static str],
}

/// What the test runner counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u32,
    pub failed: u32,
    pub ignored: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed; {} failed; {} ignored",
            self.passed, self.failed, self.ignored
        )
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("test result: ")?;
        let number = |what: &str| {
            let before = rest.split(what).next()?.trim_end();
            before.rsplit([' ', ';']).next()?.parse().ok()
        };
        Some(Self {
            passed: number(" passed")?,
            failed: number(" failed")?,
            ignored: number(" ignored")?,
        })
    }
}

/// One program full of tests.
#[derive(Debug)]
struct TestProgram {
    name: String,
    executable: PathBuf,
    directory: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let counts = run_counted(arguments)?;
    Ok(format!("test: {counts}, in {}", progress::elapsed()))
}

/// Compiles all tests, as [`run`] does; returns the program of one file of them.
pub fn program(file: &str) -> Result<PathBuf> {
    let object = build::bpf_object()?;
    let programs = progress::step("cargo test --no-run", || compile(&object))?;
    programs
        .into_iter()
        .find(|program| program.name.split(' ').next_back() == Some(file))
        .map(|program| program.executable)
        .with_context(|| format!("no test program is called {file}"))
}

/// Runs the tests; fails unless all passed and none was ignored.
pub fn run_counted(arguments: &Arguments) -> Result<Counts> {
    ensure!(
        packages::is_root(),
        "the tests make network namespaces and load XDP programs: run this as root \
         (without root: `cargo test -p ringtun -p ringtun-common`)"
    );
    packages::ensure(&[packages::DEMO, packages::TEST].concat())?;
    let binary = build::release_binary()?;
    let reaped = ringtun_lab::reap()?;
    if reaped > 0 {
        progress::note(&format!(
            "removed {reaped} leftovers of a run that was killed"
        ));
    }
    let object = build::bpf_object()?;
    let programs = progress::step("cargo test --no-run", || compile(&object))?;
    ensure!(!programs.is_empty(), "cargo built no test program");

    let before = Snapshot::take()?;
    let mut total = Counts::default();
    let mut failed = Vec::new();
    let is_out = |name: &str| arguments.without.iter().any(|out| name.ends_with(out));
    for program in programs.iter().filter(|program| !is_out(&program.name)) {
        let mut command = process::command(&program.executable);
        let whole = |filter: &&String| !program.name.contains(filter.as_str());
        command
            .args(arguments.filter.iter().filter(whole))
            .current_dir(&program.directory)
            .env("CARGO_MANIFEST_DIR", &program.directory)
            .env(OBJECT_VARIABLE, &object)
            .env(BINARY_VARIABLE, &binary);
        if let Some(io) = &arguments.io {
            command.env(IO_VARIABLE, io);
        }
        let (counts, failure) = run_program(&program.name, command, arguments.verbose)?;
        total.add(counts);
        failed.extend(failure);
    }
    if arguments.filter.is_none() {
        // The same features as above, or everything is compiled again.
        let mut command = process::cargo([
            "test",
            "--doc",
            "--locked",
            "--workspace",
            "--features",
            build::PRIVILEGED,
        ]);
        command.env(OBJECT_VARIABLE, &object);
        let (counts, failure) = run_program("documentation", command, arguments.verbose)?;
        total.add(counts);
        failed.extend(failure);
    }

    let reaped = ringtun_lab::reap()?;
    settled(&before)?;
    println!("total: {total} ({} test programs)", programs.len());
    ensure!(failed.is_empty(), "{total}; failed:\n{}", failed.join("\n"));
    ensure!(total.failed == 0 && total.ignored == 0, "{total}");
    ensure!(total.passed > 0, "no test has this in its name");
    ensure!(
        reaped == 0,
        "{reaped} objects were left behind by tests that passed"
    );
    Ok(total)
}

/// Builds every test program of the workspace.
fn compile(object: &Path) -> Result<Vec<TestProgram>> {
    let mut command = process::cargo([
        "test",
        "--no-run",
        "--locked",
        "--workspace",
        "--features",
        build::PRIVILEGED,
        "--message-format=json-render-diagnostics",
    ]);
    command.env(OBJECT_VARIABLE, object).stdout(Stdio::piped());
    let mut cargo = process::start_lasting(command)?;
    let output = cargo.child().stdout.take().context("no output of cargo")?;
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        programs.extend(test_program(&line?));
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("the tests do not compile ({status})");
    }
    programs.sort_by(|a: &TestProgram, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// The test program that a message of cargo tells of.
fn test_program(message: &str) -> Option<TestProgram> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let directory = manifest.parent()?.to_owned();
    let package = directory
        .strip_prefix(paths::root())
        .ok()?
        .display()
        .to_string();
    let target = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    Some(TestProgram {
        name: format!("{package} {kind} {target}"),
        executable: PathBuf::from(message["executable"].as_str()?),
        directory,
    })
}

/// Runs one test program; its counts, and what failed, if anything did.
fn run_program(
    name: &str,
    mut command: Command,
    verbose: bool,
) -> Result<(Counts, Option<String>)> {
    progress::note(&format!("{name} …"));
    let begin = Instant::now();
    // Both on one pipe, in the order in which they were written.
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let running = process::start(command)?;
    let (sender, lines) = mpsc::channel();
    let collector = thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let mut counts = Counts::default();
    let mut results = 0;
    let mut text = Vec::new();
    let mut overdue = false;
    loop {
        match lines.recv_timeout(LIMIT.saturating_sub(begin.elapsed())) {
            Ok(line) => {
                if let Some(found) = Counts::parse(&line) {
                    counts.add(found);
                    results += 1;
                }
                if verbose {
                    println!("{line}");
                }
                text.push(line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                running.kill();
                overdue = true;
                break;
            }
        }
    }
    let status = running.wait()?;
    // A process that outlives the program can hold the pipe open.
    if !overdue {
        drop(collector.join());
    }
    let passed = status.success() && results > 0 && !overdue;
    if !passed && !verbose {
        println!("{}", text.join("\n"));
    }
    if overdue {
        println!("{name} took longer than {}", progress::seconds(LIMIT));
    }
    println!(
        "{} {name}: {counts} ({})",
        if passed { "ok    " } else { "FAILED" },
        progress::seconds(begin.elapsed())
    );
    let failed = (!passed).then(|| {
        let late = if overdue { " took too long" } else { "" };
        format!("{name}{late}{}", failures(&text))
    });
    Ok((counts, failed))
}

/// The tests that failed, each with the first lines of its panic.
fn failures(output: &[String]) -> String {
    let mut text = String::new();
    let mut lines = output.iter();
    while let Some(line) = lines.next() {
        let Some(test) = line.strip_prefix("---- ") else {
            continue;
        };
        text += &format!("\n  {}", test.trim_end_matches(" stdout ----"));
        let mut panic = lines
            .by_ref()
            .skip_while(|line| !line.contains(" panicked at "));
        for line in panic.by_ref().take(PANIC_LINES) {
            if line.starts_with("stack backtrace") {
                break;
            }
            text += &format!("\n    {line}");
        }
    }
    text
}

/// Waits until the machine is as it was before; the kernel frees programs and
/// namespaces a moment after their last user is gone.
fn settled(before: &Snapshot) -> Result<()> {
    let begin = Instant::now();
    loop {
        match before.expect_unchanged() {
            Ok(()) => return Ok(()),
            Err(error) if begin.elapsed() > SETTLING => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_test_and_its_panic() {
        let output = "running 2 tests\ntest a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n\n\
                      thread 'a::b' (7) panicked at tests/a.rs:3:9:\n\
                      assertion `left == right` failed\n  left: 1\nstack backtrace:\n   0: x\n\n\n\
                      failures:\n    a::b\n";
        let output: Vec<String> = output.lines().map(str::to_owned).collect();
        assert_eq!(
            failures(&output),
            "\n  a::b\n    thread 'a::b' (7) panicked at tests/a.rs:3:9:\n    \
             assertion `left == right` failed\n      left: 1"
        );
    }

    #[test]
    fn the_runners_line_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; \
                    7 filtered out; finished in 0.01s";
        let counts = Counts {
            passed: 12,
            failed: 3,
            ignored: 1,
        };
        assert_eq!(Counts::parse(line), Some(counts));
        assert_eq!(Counts::parse("test cookies ... ok"), None);
        assert_eq!(counts.to_string(), "12 passed; 3 failed; 1 ignored");
    }
}

//! What can be broken, and how that is tried.

use super::tree::Tree;
use crate::process;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// All tests that are named take less together.
const LIMIT: Duration = Duration::from_secs(180);
/// No test takes nearly as long by itself; one that hangs because of a mutation has
/// seen it.
const LIMIT_OF_ONE: Duration = Duration::from_secs(40);

/// A change that must make a test fail.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// What is broken, as a sentence.
    pub name: &'static str,
    /// Where; see [`Subject::path`].
    pub file: &'static str,
    /// Text that is there exactly once.
    pub search: &'static str,
    pub replace: &'static str,
    /// The test that must fail.
    pub test: &'static str,
}

/// Sources in a copy of their own, and their tests.
pub trait Subject {
    /// All that can be broken in it.
    const MUTATIONS: &'static [Mutation];

    fn name(&self) -> &'static str;

    fn tree(&self) -> &Tree;

    /// Where a mutation's file is in the copy.
    fn path(&self, file: &str) -> PathBuf;

    /// Compiles what is needed and runs the tests named.
    fn run_tests(&self, names: &[&str]) -> Result<Outcome>;

    /// The tests exist and pass on what is unchanged.
    fn baseline(&self, names: &[&str]) -> Result<()> {
        match self.run_tests(names)? {
            Outcome::Passed(n) if n == names.len() => Ok(()),
            Outcome::Passed(n) => bail!("{} tests are named, {n} exist: {names:#?}", names.len()),
            other => bail!("{} unchanged: {other:?}", self.name()),
        }
    }

    /// Whether the test sees the mutation.
    fn sees(&self, mutation: &Mutation) -> Result<bool> {
        let tree = self.tree();
        let path = self.path(mutation.file);
        let original = fs::read_to_string(tree.root().join(&path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let times = original.matches(mutation.search).count();
        ensure!(
            times == 1,
            "{}: {:?} is there {times} times: adapt `{}` in xtask/src/commands/mutate/list/",
            path.display(),
            mutation.search,
            mutation.name
        );
        let mutant = original.replace(mutation.search, mutation.replace);
        tree.write(&path, mutant.as_bytes())?;
        let outcome = self.run_tests(&[mutation.test]);
        tree.write(&path, original.as_bytes())?;
        match outcome? {
            Outcome::Failed | Outcome::Hung => Ok(true),
            Outcome::Passed(_) => Ok(false),
        }
    }
}

#[derive(Debug)]
pub enum Outcome {
    /// So many tests passed and none failed.
    Passed(usize),
    Failed,
    Hung,
}

/// Runs the named tests of a test program.
pub fn run_program(mut program: Command, names: &[&str]) -> Result<Outcome> {
    program
        .arg("--exact")
        .args(names)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let limit = if names.len() == 1 {
        LIMIT_OF_ONE
    } else {
        LIMIT
    };
    let mut running = process::start(program)?;
    let mut stdout = running.child().stdout.take().context("a pipe")?;
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let result = stdout.read_to_string(&mut text).map(|_| text);
        // Nobody listens any more after the limit.
        let _ = done.send(result);
    });
    let output = match ended.recv_timeout(limit) {
        Ok(output) => output?,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            running.kill();
            running.wait()?;
            return Ok(Outcome::Hung);
        }
    };
    if !running.wait()?.success() {
        return Ok(Outcome::Failed);
    }
    let passed = output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok())
        .sum();
    Ok(Outcome::Passed(passed))
}

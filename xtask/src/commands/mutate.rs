//! `cargo xtask mutate`: breaks the protocol core, the data path and the XDP
//! programs in known ways; each must make the test fail that names the rule. A test that cannot
//! fail proves nothing.
//!
//! Works on copies under `target`, never on the working tree.

mod core;
mod list;
mod subject;
mod tree;
mod xdp;

use crate::{process, progress};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Add;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use subject::{Mutation, Subject};

#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Only mutations whose name, file or test contains this
    pub filter: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let filter = arguments.filter.as_deref().unwrap_or("");
    // A mutation keeps one processor busy: compiling one crate, then linking. The
    // subjects have trees of their own, so two can be tried at a time.
    let (tried, xdp) = thread::scope(|scope| {
        let xdp = scope.spawn(|| try_all(xdp::Xdp::new, filter));
        let core = try_all(core::Core::new, filter);
        let datapath = try_all(core::DataPath::new, filter);
        let xdp = xdp.join().unwrap_or_else(|panic| resume_unwind(panic));
        (core.and_then(|core| Ok(core + datapath?)), xdp)
    });
    let Tried { number, survivors } = tried? + xdp?;
    ensure!(number > 0, "no mutation is called like {filter:?}");
    ensure!(
        survivors.is_empty(),
        "{} of {number} mutations were not found:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
    Ok(format!(
        "mutate: {number} of {number} mutations found, in {}",
        progress::elapsed()
    ))
}

/// What became of some mutations.
#[derive(Debug, Default)]
struct Tried {
    number: usize,
    /// Those that no test saw, or that could not be tried.
    survivors: Vec<String>,
}

impl Add for Tried {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.number += other.number;
        self.survivors.extend(other.survivors);
        self
    }
}

fn chosen<'a>(
    mutations: &'static [Mutation],
    filter: &'a str,
) -> impl Iterator<Item = &'static Mutation> + 'a {
    let matches = move |m: &&Mutation| [m.name, m.file, m.test].iter().any(|s| s.contains(filter));
    mutations.iter().filter(matches)
}

fn try_all<S: Subject>(subject: impl FnOnce() -> Result<S>, filter: &str) -> Result<Tried> {
    let mut tried = Tried::default();
    let names: BTreeSet<_> = chosen(S::MUTATIONS, filter).map(|m| m.test).collect();
    if names.is_empty() {
        return Ok(tried);
    }
    let subject = subject()?;
    let unchanged = format!("the tests pass on {} unchanged", subject.name());
    progress::step(&unchanged, || subject.baseline(&Vec::from_iter(names)))?;
    for mutation in chosen(S::MUTATIONS, filter) {
        let Mutation { name, test, .. } = mutation;
        tried.number += 1;
        match progress::step(name, || subject.sees(mutation)) {
            Ok(true) => {}
            Ok(false) => tried.survivors.push(format!("{name} ({test})")),
            Err(error) => tried
                .survivors
                .push(format!("{name} cannot be tried: {error:#}")),
        }
    }
    Ok(tried)
}

/// Runs a `cargo test --no-run` for one test target; returns the test program.
fn test_program(mut cargo: Command) -> Result<PathBuf> {
    cargo.args(["--message-format", "json-render-diagnostics"]);
    process::output(cargo)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo names no test program")
}

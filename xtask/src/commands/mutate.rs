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
use std::path::PathBuf;
use std::process::Command;
use subject::{Mutation, Subject};

#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Only mutations whose name, file or test contains this
    pub filter: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let filter = arguments.filter.as_deref().unwrap_or("");
    let mut tried = 0;
    let mut survivors = Vec::new();
    if chosen(list::CORE, filter).next().is_some() {
        try_all(&core::Core::new()?, filter, &mut tried, &mut survivors)?;
    }
    if chosen(list::DATAPATH, filter).next().is_some() {
        let datapath = core::DataPath::new()?;
        try_all(&datapath, filter, &mut tried, &mut survivors)?;
    }
    if chosen(list::XDP, filter).next().is_some() {
        try_all(&xdp::Xdp::new()?, filter, &mut tried, &mut survivors)?;
    }
    ensure!(tried > 0, "no mutation is called like {filter:?}");
    ensure!(
        survivors.is_empty(),
        "{} of {tried} mutations were not found:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
    Ok(format!(
        "mutate: {tried} of {tried} mutations found, in {}",
        progress::elapsed()
    ))
}

fn chosen<'a>(
    mutations: &'static [Mutation],
    filter: &'a str,
) -> impl Iterator<Item = &'static Mutation> + 'a {
    let matches = move |m: &&Mutation| [m.name, m.file, m.test].iter().any(|s| s.contains(filter));
    mutations.iter().filter(matches)
}

fn try_all(
    subject: &impl Subject,
    filter: &str,
    tried: &mut usize,
    survivors: &mut Vec<String>,
) -> Result<()> {
    let unchanged = format!("the tests pass on {} unchanged", subject.name());
    progress::step(&unchanged, || {
        let mutations = chosen(subject.mutations(), filter);
        let names: BTreeSet<_> = mutations.map(|m| m.test).collect();
        subject.baseline(&Vec::from_iter(names))
    })?;
    for mutation in chosen(subject.mutations(), filter) {
        *tried += 1;
        if !progress::step(mutation.name, || subject.sees(mutation))? {
            survivors.push(format!("{} ({})", mutation.name, mutation.test));
        }
    }
    Ok(())
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

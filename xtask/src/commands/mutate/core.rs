//! The protocol core, the data path around it, and their tests.

use super::subject::{Mutation, Outcome, Subject, run_program};
use super::tree::Tree;
use super::{list, test_program};
use crate::{paths, process};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The core alone, as a crate of its own.
pub struct Core {
    tree: Tree,
}

impl Core {
    pub fn new() -> Result<Self> {
        Ok(Self {
            tree: Tree::core()?,
        })
    }
}

impl Subject for Core {
    const MUTATIONS: &'static [Mutation] = list::CORE;

    fn name(&self) -> &'static str {
        "the protocol core"
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("userspace/src/tunnel").join(file)
    }

    fn run_tests(&self, names: &[&str]) -> Result<Outcome> {
        run_tests(&self.tree, names)
    }
}

/// Core and data path, as a crate of their own.
pub struct DataPath {
    tree: Tree,
}

impl DataPath {
    pub fn new() -> Result<Self> {
        Ok(Self {
            tree: Tree::datapath()?,
        })
    }
}

impl Subject for DataPath {
    const MUTATIONS: &'static [Mutation] = list::DATAPATH;

    fn name(&self) -> &'static str {
        "the data path"
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("userspace/src/datapath").join(file)
    }

    fn run_tests(&self, names: &[&str]) -> Result<Outcome> {
        run_tests(&self.tree, names)
    }
}

/// Compiles the tests of a copy and runs those named.
fn run_tests(tree: &Tree, names: &[&str]) -> Result<Outcome> {
    let root = tree.root();
    let mut command = process::cargo(["test", "--no-run", "--quiet", "--package", "ringtun"]);
    command
        .args(["--test", "protocol"])
        .current_dir(root)
        // That of the working tree: dependencies were compiled there.
        .env("CARGO_TARGET_DIR", paths::target())
        .env("CARGO_INCREMENTAL", "1");
    let mut program = process::command(test_program(command)?);
    program.current_dir(root.join("userspace"));
    run_program(program, names)
}

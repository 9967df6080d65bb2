//! The protocol core and its tests.

use super::subject::{Mutation, Outcome, Subject, run_program};
use super::tree::Tree;
use super::{list, test_program};
use crate::process;
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
    fn name(&self) -> &'static str {
        "the protocol core"
    }

    fn mutations(&self) -> &'static [Mutation] {
        list::CORE
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("userspace/src/tunnel").join(file)
    }

    /// Compiles the tests of the copy and runs those named.
    fn run_tests(&self, names: &[&str]) -> Result<Outcome> {
        let root = self.tree.root();
        let mut command = process::cargo(["test", "--no-run", "--quiet", "--package", "ringtun"]);
        command
            .args(["--test", "protocol"])
            .current_dir(root)
            .env("CARGO_TARGET_DIR", root.join("target"))
            // A mutation leaves values unused; that is not what is looked for.
            .env("RUSTFLAGS", "-Awarnings");
        let mut program = process::command(test_program(command)?);
        program.current_dir(root.join("userspace"));
        run_program(program, names)
    }
}

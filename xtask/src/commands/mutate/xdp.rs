//! The XDP programs, with what they share with the agent, and the tests that
//! run them in the kernel.

use super::list;
use super::subject::{Mutation, Outcome, Subject, run_program};
use super::tree::Tree;
use crate::commands::{build, test};
use crate::process;
use crate::toolchain::bpf::Toolchain;
use anyhow::Result;
use std::path::PathBuf;

/// Names the object that the tests load instead of the embedded one.
const OBJECT_VARIABLE: &str = "RINGTUN_TEST_BPF";

/// The sources of the programs; the tests, and the parser that they compare
/// with, stay those of the working tree.
pub struct Xdp {
    tree: Tree,
    toolchain: Toolchain,
    tests: PathBuf,
}

impl Xdp {
    pub fn new() -> Result<Self> {
        Ok(Self {
            tree: Tree::xdp()?,
            toolchain: Toolchain::ensure()?,
            tests: test::program("bpf_verdicts")?,
        })
    }
}

impl Subject for Xdp {
    const MUTATIONS: &'static [Mutation] = list::XDP;

    fn name(&self) -> &'static str {
        "the XDP programs"
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn path(&self, file: &str) -> PathBuf {
        file.into()
    }

    /// Compiles the programs of the copy and runs those of the tests that are named.
    fn run_tests(&self, names: &[&str]) -> Result<Outcome> {
        let root = self.tree.root();
        let object = build::programs(&self.toolchain, &root.join("ebpf"), &root.join("target"))?;
        let mut program = process::command(&self.tests);
        program.env(OBJECT_VARIABLE, object);
        run_program(program, names)
    }
}

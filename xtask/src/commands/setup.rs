//! `cargo xtask setup`: installs all that the other commands need.

use crate::commands::fuzz;
use crate::progress;
use crate::toolchain::bpf::Toolchain;
use crate::toolchain::packages;
use anyhow::Result;

pub fn run() -> Result<String> {
    packages::ensure(
        &[
            packages::DEMO,
            packages::TEST,
            packages::INTEROP,
            packages::FUZZ,
        ]
        .concat(),
    )?;
    Toolchain::ensure()?;
    fuzz::cargo_fuzz()?;
    Ok(format!(
        "setup: all commands have what they need ({})",
        progress::elapsed()
    ))
}

//! Compilers, packages and tools: found, or installed where they lack.
//!
//! * [`packages`]: programs of the distribution, through apt.
//! * [`bpf`]: a compiler and a linker for BPF.
//! * [`cargo_tools`]: what `cargo install` installs, under `target/tools`.

pub mod bpf;
pub mod cargo_tools;
pub mod packages;

use crate::process;
use anyhow::{Result, bail};

/// The target that the compiler runs on.
pub fn host() -> Result<String> {
    let mut command = process::command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("-vV");
    let text = process::output(command)?;
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc does not name its host:\n{text}"),
    }
}

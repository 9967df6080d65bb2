//! What `cargo install` installs, under `target/tools`; one on PATH of the
//! right version is used instead.

use crate::{paths, process, progress};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A program to be had by `cargo install`.
#[derive(Debug)]
pub struct Tool<'a> {
    /// The program, which is also the crate.
    pub name: &'a str,
    /// The exact version.
    pub version: &'a str,
    /// What asks for its version.
    pub version_arguments: &'a [&'a str],
    /// Arguments for `cargo install`.
    pub features: &'a [&'a str],
    /// Variables for `cargo install`.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Tool<'_> {
    /// The tool, if it is there in the right version.
    pub fn find(&self) -> Option<PathBuf> {
        let own = paths::tools().join("bin").join(self.name);
        [Some(own), paths::find_program(self.name)]
            .into_iter()
            .flatten()
            .find(|file| self.has_version(file))
    }

    /// The tool, installed if need be.
    pub fn ensure(&self) -> Result<PathBuf> {
        if let Some(file) = self.find() {
            return Ok(file);
        }
        let what = format!("cargo install {} {}", self.name, self.version);
        progress::step(&what, || {
            let mut command = process::cargo(["install", self.name]);
            command
                .args(["--version", self.version, "--locked", "--quiet", "--root"])
                .arg(paths::tools())
                // What takes time in these is LLVM and other programs: optimised, they
                // would cost more to compile than they could ever save.
                .args(["--debug", "--config", "profile.dev.debug=false"])
                .args(self.features)
                .envs(self.environment.iter().copied())
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS");
            process::run_logged(command, &paths::log(&format!("install-{}", self.name)))
        })?;
        Ok(paths::tools().join("bin").join(self.name))
    }

    fn has_version(&self, file: &Path) -> bool {
        if !file.is_file() {
            return false;
        }
        let mut command = process::command(file);
        command.args(self.version_arguments);
        // A linker whose LLVM was removed does not start: not the right one.
        process::output(command)
            .is_ok_and(|text| text.split_whitespace().any(|word| word == self.version))
    }
}

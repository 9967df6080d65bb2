//! `cargo xtask build`: the XDP programs, and the release binary with them
//! inside.

use crate::toolchain::bpf::{TARGET, Toolchain};
use crate::{paths, process, progress};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// The feature with the tests that only root can run.
pub const PRIVILEGED: &str = "ringtun/privileged";
/// Names the BPF object for the build script of the crate `ringtun`.
pub const OBJECT_VARIABLE: &str = "RINGTUN_BPF";

pub fn run() -> Result<String> {
    let binary = release_binary()?;
    let size = fs::metadata(&binary)?.len();
    Ok(format!(
        "build: {} ({:.1} MiB, XDP programs inside) in {}",
        binary.display(),
        size as f64 / f64::from(1 << 20),
        progress::elapsed()
    ))
}

/// Builds the release binary with the BPF object inside; returns its path.
pub fn release_binary() -> Result<PathBuf> {
    let object = if paths::bpf_object().exists() {
        bpf_object()?
    } else {
        thread::scope(|scope| {
            // While packages are fetched and unpacked, compilers can work.
            let dependencies = scope.spawn(release_dependencies);
            let object = bpf_object();
            if object.is_ok() && !dependencies.is_finished() {
                progress::note("release dependencies: still compiling …");
            }
            // The build that follows says what is wrong with them.
            drop(dependencies.join());
            object
        })?
    };
    progress::step("cargo build --release (ringtun)", || {
        process::run(cargo_build(&object))
    })?;
    Ok(paths::target().join("release/ringtun"))
}

fn cargo_build(object: &Path) -> Command {
    let mut command = process::cargo(["build", "--release", "--locked", "--package", "ringtun"]);
    command.env(OBJECT_VARIABLE, object);
    command
}

/// Compiles what `ringtun` depends on. The crate itself stops at its build
/// script, for the object is not there yet: `--keep-going` compiles the rest.
fn release_dependencies() -> Result<()> {
    let mut command = cargo_build(&paths::bpf_object());
    command.args(["--keep-going", "--quiet"]);
    process::run_logged(command, &paths::log("release-dependencies"))
}

/// Builds the BPF object, with the toolchain that is there or can be had.
pub fn bpf_object() -> Result<PathBuf> {
    let toolchain = Toolchain::ensure()?;
    let built = progress::step("cargo build --release (ebpf)", || {
        let workspace = paths::root().join("ebpf");
        programs(&toolchain, &workspace, &paths::target().join("ebpf"))
    })?;
    let object = paths::bpf_object();
    let bytes = fs::read(&built).with_context(|| format!("{}", built.display()))?;
    // Only a changed object makes cargo compile what embeds it.
    if fs::read(&object).ok().as_ref() != Some(&bytes) {
        fs::create_dir_all(paths::target().join("bpf"))?;
        fs::write(&object, bytes)?;
    }
    Ok(object)
}

/// Compiles the XDP programs of a workspace; returns the object.
pub fn programs(toolchain: &Toolchain, workspace: &Path, target: &Path) -> Result<PathBuf> {
    let mut command = toolchain.cargo();
    command
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace);
    process::run(command)?;
    Ok(target.join(TARGET).join("release/ringtun-ebpf"))
}

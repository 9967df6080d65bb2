//! A compiler and a linker for BPF.
//!
//! A rustc that has the BPF target already is preferred; then Debian's
//! `rustc-web`, whose archive has `core` for that target prebuilt; then a
//! nightly of rustup, which builds `core` itself.

use super::cargo_tools::Tool;
use super::packages::{self, Need};
use crate::{process, progress};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of the XDP programs.
pub const TARGET: &str = "bpfel-unknown-none";
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions that this linker can be built for.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What compiles and links the XDP programs.
#[derive(Debug)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

#[derive(Debug)]
enum Compiler {
    /// A rustc with `core` for BPF.
    Prebuilt(PathBuf),
    /// A nightly of rustup with the sources of `core`.
    Nightly,
}

impl Toolchain {
    /// Finds or installs both.
    pub fn ensure() -> Result<Self> {
        let (compiler, why) = Compiler::choose()?;
        progress::note(&format!("BPF: {why}"));
        let linker = linker(compiler.llvm_major()?)?;
        Ok(Self { compiler, linker })
    }

    /// Cargo for the BPF target, to be completed with a command.
    pub fn cargo(&self) -> Command {
        let mut command = match &self.compiler {
            Compiler::Prebuilt(rustc) => {
                let mut command = process::cargo(std::iter::empty::<&str>());
                // aya-ebpf uses assembly that stable compilers hide.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Compiler::Nightly => {
                let mut command = process::command("rustup");
                command
                    .args(["run", "nightly", "cargo"])
                    .env("CARGO_UNSTABLE_BUILD_STD", "core")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("CARGO")
                    .env_remove("RUSTC");
                command
            }
        };
        command
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }
}

impl Compiler {
    /// The compiler, and a sentence on which and why.
    fn choose() -> Result<(Self, String)> {
        if let Some(found) = Self::installed() {
            return Ok(found);
        }
        let debian = DEBIAN_PACKAGES.join(" ");
        if packages::is_root() && packages::has_apt() && packages::is_available(DEBIAN_PACKAGES[1])?
        {
            packages::install(&DEBIAN_PACKAGES)?;
            return Self::installed().with_context(|| {
                format!("{debian} are installed, yet {DEBIAN_RUSTC} has no {TARGET}")
            });
        }
        let rustup =
            "rustup toolchain install nightly --profile minimal --component rust-src".to_owned();
        if crate::paths::find_program("rustup").is_some() {
            progress::step(&rustup, || {
                let mut command = process::command("rustup");
                command.args(rustup.split(' ').skip(1));
                process::run_logged(command, &crate::paths::log("rustup-nightly"))
            })
            .with_context(|| {
                format!("no rustc for {TARGET}; on Debian: `apt-get install {debian}`")
            })?;
            return Self::installed().context("rustup installed a nightly without rust-src");
        }
        bail!(
            "no rustc for {TARGET}; on Debian as root: `apt-get install {debian}`; \
             elsewhere, with rustup: `{rustup}`"
        )
    }

    fn installed() -> Option<(Self, String)> {
        let default = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        for rustc in [PathBuf::from(default), PathBuf::from(DEBIAN_RUSTC)] {
            if let Some(version) = version_with_bpf(&rustc) {
                let why = format!("{version} ({}) has {TARGET}", rustc.display());
                return Some((Self::Prebuilt(rustc), why));
            }
        }
        let sysroot = process::output(nightly(&["--print", "sysroot"])).ok()?;
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
            .then(|| {
                (
                    Self::Nightly,
                    "rustup's nightly builds core itself".to_owned(),
                )
            })
    }

    /// The version of LLVM inside, which the linker must be able to read.
    fn llvm_major(&self) -> Result<u32> {
        let verbose = match self {
            Self::Prebuilt(rustc) => {
                let mut command = process::command(rustc);
                command.arg("-vV");
                command
            }
            Self::Nightly => nightly(&["-vV"]),
        };
        let text = process::output(verbose)?;
        text.lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .and_then(|version| version.split('.').next()?.parse().ok())
            .with_context(|| format!("rustc does not name its LLVM:\n{text}"))
    }
}

fn nightly(arguments: &[&str]) -> Command {
    let mut command = process::command("rustup");
    command
        .args(["run", "nightly", "rustc"])
        .args(arguments)
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// The version of `rustc` if it has `core` for BPF.
fn version_with_bpf(rustc: &Path) -> Option<String> {
    let query = |arguments: &[&str]| {
        let mut command = process::command(rustc);
        command.args(arguments);
        process::output(command).ok()
    };
    let libdir = query(&["--print", "target-libdir", "--target", TARGET])?;
    let core = std::fs::read_dir(libdir.trim())
        .ok()?
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"));
    if !core {
        return None;
    }
    let version = query(&["--version"])?;
    Some(
        version
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// `bpf-linker` for this version of LLVM.
fn linker(llvm: u32) -> Result<PathBuf> {
    if !LINKER_LLVM.contains(&llvm) {
        bail!(
            "rustc was built with LLVM {llvm}; bpf-linker {LINKER_VERSION} reads LLVM {} to {}",
            LINKER_LLVM.start(),
            LINKER_LLVM.end()
        );
    }
    let feature = format!("llvm-{llvm}");
    let prefix = format!("/usr/lib/llvm-{llvm}");
    let linker = Tool {
        name: "bpf-linker",
        version: LINKER_VERSION,
        version_arguments: &["--version"],
        features: &["--no-default-features", "--features", &feature],
        environment: &[("LLVM_PREFIX", &prefix)],
    };
    if let Some(file) = linker.find() {
        return Ok(file);
    }
    if !libraries_are_there(Path::new(&prefix)) {
        let (dev, polly) = (format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"));
        packages::install(&[&dev, &polly, "zlib1g-dev", "libzstd-dev"])?;
    }
    linker.ensure()
}

/// What the linker is linked with. That LLVM's programs are there says nothing:
/// they are another package.
fn libraries_are_there(llvm: &Path) -> bool {
    let of_llvm = ["include/llvm-c/Core.h", "lib/libPolly.a"];
    of_llvm.iter().all(|file| llvm.join(file).exists())
        && ["/usr/include/zlib.h", "/usr/include/zstd.h"]
            .iter()
            .all(|header| Need::File(header, "").is_met())
}

//! `cargo xtask dist`: the packages of a release, in `target/dist`.
//!
//! * [`arch`]: what is built for.
//! * [`compile`]: the binary for each, and a run of it.
//! * [`needs`]: which libraries and which glibc it needs.
//! * [`contents`]: what goes where.
//! * [`deb`], [`tarball`]: the packages.
//! * [`check`]: installed, upgraded and removed in a clean Debian.

mod arch;
mod check;
mod compile;
mod contents;
mod deb;
mod needs;
mod tarball;

use crate::toolchain::packages::{self, Need};
use crate::{paths, process, progress};
use anyhow::{Context as _, Result};
use arch::{Arch, Which};
use std::path::{Path, PathBuf};
use std::{env, fs};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Leaves in target/dist, for each architecture, a .deb and a tarball, and SHA256SUMS. The
same commit makes the same bytes: times are those of the last commit, or of
$SOURCE_DATE_EPOCH. arm64 is cross-built with Debian's cross compiler and its standard
library for arm64, and run under qemu-user.

With --check the .deb of this machine's architecture is installed in a new root of Debian
12 and of Debian 13, brings tunnels up, is upgraded under traffic, and is removed. The
roots are kept under target/dist/roots for the next time.")]
pub struct Arguments {
    /// What to build for
    #[arg(long, value_enum, default_value = "all")]
    arch: Which,
    /// Install, upgrade and remove it in a clean Debian, too
    #[arg(long)]
    check: bool,
    /// The releases of Debian for --check
    #[arg(long, value_name = "SUITE", default_values = ["bookworm", "trixie"])]
    suite: Vec<String>,
}

/// What makes packages.
const TOOLS: &[Need] = &[
    Need::Program("dpkg-deb", "dpkg"),
    Need::Program("readelf", "binutils"),
    Need::Program("gzip", "gzip"),
    Need::Program("tar", "tar"),
    Need::Program("sha256sum", "coreutils"),
];

/// What all packages of a run have in common.
#[derive(Debug)]
struct Release {
    /// Of the workspace.
    version: String,
    /// Seconds since 1970: the time of all files.
    epoch: u64,
    output: PathBuf,
}

impl Release {
    fn new() -> Result<Self> {
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text,
            Err(_) => {
                let mut git = process::command("git");
                git.args(["log", "-1", "--format=%ct"]);
                process::output(git).context("or set SOURCE_DATE_EPOCH")?
            }
        };
        let epoch = epoch.trim().parse();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: epoch.context("SOURCE_DATE_EPOCH wants seconds since 1970")?,
            output: paths::target().join("dist"),
        })
    }

    /// An empty directory under the output.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let directory = self.output.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Ok(directory)
    }
}

pub fn run(arguments: &Arguments) -> Result<String> {
    packages::ensure(TOOLS)?;
    let release = Release::new()?;
    let object = super::build::bpf_object()?;
    let mut made = Vec::new();
    for arch in arguments.arch.all() {
        made.extend(packages_of(&release, arch, &object)?);
    }
    tarball::checksums(&release.output)?;
    let mut summary = Vec::new();
    for file in &made {
        let size = fs::metadata(file)?.len() as f64 / f64::from(1 << 20);
        summary.push(format!("  {} ({size:.1} MiB)", file.display()));
    }
    if arguments.check {
        let arch = Arch::host()?;
        for suite in &arguments.suite {
            summary.push(check::run(&release, arch, suite)?);
        }
    }
    let took = progress::elapsed();
    Ok(format!("dist: in {took}\n{}", summary.join("\n")))
}

fn packages_of(release: &Release, arch: Arch, object: &Path) -> Result<Vec<PathBuf>> {
    let binary = compile::binary(arch, object)?;
    compile::smoke(arch, &binary)?;
    let stage = release.fresh(&format!("stage-{}", arch.debian()))?;
    contents::stage(release, arch, &binary, &stage)?;
    let depends = needs::of(&binary)?;
    Ok(vec![
        deb::build(release, arch, &stage, &depends, 1, &release.output)?,
        tarball::build(release, arch, &stage)?,
    ])
}

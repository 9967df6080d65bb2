//! Programs and libraries of the distribution, installed through apt where
//! they lack.

use crate::{paths, process, progress};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// Something that must be there, and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A program on PATH.
    Program(&'static str, &'static str),
    /// A file.
    File(&'static str, &'static str),
}

impl Need {
    pub fn is_met(self) -> bool {
        match self {
            Self::Program(name, _) => paths::find_program(name).is_some(),
            Self::File(path, _) => Path::new(path).exists(),
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Program(_, package) | Self::File(_, package) => package,
        }
    }
}

/// What `demo` runs.
pub const DEMO: &[Need] = &[
    Need::Program("ip", "iproute2"),
    Need::Program("ping", "iputils-ping"),
    Need::Program("wg", "wireguard-tools"),
];

/// What `test` runs beyond [`DEMO`].
pub const TEST: &[Need] = &[
    Need::Program("wg-quick", "wireguard-tools"),
    Need::Program("nft", "nftables"),
    Need::Program("iptables", "iptables"),
    Need::Program("tcpdump", "tcpdump"),
    Need::Program("ethtool", "ethtool"),
    Need::Program("iperf3", "iperf3"),
    Need::Program("sysctl", "procps"),
    Need::Program("resolvconf", "openresolv"),
    Need::Program("systemd-analyze", "systemd"),
    Need::Program("groff", "groff-base"),
    Need::Program("faketime", "faketime"),
];

/// What `interop` runs beyond [`DEMO`] and [`TEST`].
pub const INTEROP: &[Need] = &[
    Need::Program("qemu-system-x86_64", "qemu-system-x86"),
    Need::File("/usr/share/seabios/bios-256k.bin", "seabios"),
    Need::File("/bin/busybox", "busybox-static"),
    Need::Program("cpio", "cpio"),
    Need::Program("modprobe", "kmod"),
];

/// What `fuzz` needs: libFuzzer is C++.
pub const FUZZ: &[Need] = &[Need::Program("c++", "g++")];

/// Package lists older than this are fetched again before an installation.
const LISTS_AGE: Duration = Duration::from_secs(24 * 3600);

/// Whether this process is root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether packages can be installed.
pub fn has_apt() -> bool {
    paths::find_program("apt-get").is_some()
}

/// Makes sure that these needs are met; installs what is missing.
///
/// Without root or apt the error says what is missing and the command.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let mut missing: Vec<&str> = needs
        .iter()
        .filter(|need| !need.is_met())
        .map(|need| need.package())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let unmet: Vec<String> = needs
        .iter()
        .filter(|need| !need.is_met())
        .map(|need| format!("{need:?}"))
        .collect();
    if !unmet.is_empty() {
        bail!("still missing after the installation: {}", unmet.join(", "));
    }
    Ok(())
}

/// Whether the configured archives have this package.
pub fn is_available(package: &str) -> Result<bool> {
    update_old_lists()?;
    let mut command = process::command("apt-cache");
    command.args(["policy", package]);
    let policy = process::output(command)?;
    Ok(policy.contains("Candidate: ") && !policy.contains("Candidate: (none)"))
}

/// Installs packages.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    if !has_apt() {
        bail!(
            "missing: {list} (Debian's names); there is no apt-get here, install them with \
             this system's package manager"
        );
    }
    if !is_root() {
        bail!("missing: {list}; as root run `{by_hand}`");
    }
    // One installation at a time, also among this process's threads.
    static APT: Mutex<()> = Mutex::new(());
    let _guard = APT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    progress::step(&format!("apt: installing {list}"), || {
        update_old_lists()?;
        repair()?;
        let attempt = || {
            apt(
                "install",
                &[&["--no-install-recommends"], packages].concat(),
            )
        };
        attempt().or_else(|_| {
            // The lists can be older than the archive they describe.
            apt("update", &[])?;
            attempt()
        })
    })
    .with_context(|| format!("by hand: `{by_hand}`"))
}

/// Fetches the package lists if there are none or they are old.
fn update_old_lists() -> Result<()> {
    let lists = fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten();
    let newest = lists
        .filter(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        .filter_map(|entry| entry.metadata().ok()?.ctime().try_into().ok())
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .max();
    let fresh = newest.is_some_and(|time| time.elapsed().is_ok_and(|age| age < LISTS_AGE));
    if fresh {
        return Ok(());
    }
    progress::step("apt: fetching package lists", || apt("update", &[]))
}

/// Finishes what an interrupted installation left half done.
fn repair() -> Result<()> {
    let mut audit = process::command("dpkg");
    audit.arg("--audit");
    if process::output(audit)?.trim().is_empty() {
        return Ok(());
    }
    let mut configure = process::command("dpkg");
    configure
        .args(["--configure", "--pending"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run_to_the_end(configure, &paths::log("dpkg-configure"))
}

fn apt(action: &str, arguments: &[&str]) -> Result<()> {
    let mut command = process::command("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Another installation may run: wait for it.
        .args(["-y", "-q", "-o", "DPkg::Lock::Timeout=300"])
        .arg(action)
        .args(arguments);
    process::run_to_the_end(command, &paths::log(&format!("apt-{action}")))
}

//! The binary for each architecture, and a run of it.
//!
//! arm64 on amd64: Debian's cross compiler, and the standard library for arm64 of
//! the same version as Debian's rustc. That package is unpacked under `target`, with
//! package lists of our own: the machine's architectures stay as they are.

use super::arch::Arch;
use crate::commands::build::OBJECT_VARIABLE;
use crate::toolchain::packages::{self, Need};
use crate::{paths, process, progress};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const STANDARD_LIBRARY: &str = "libstd-rust-web-dev";
/// Where Debian's cross packages have the libraries of arm64.
const CROSS_ROOT: &str = "/usr/aarch64-linux-gnu";

const CROSS: &[Need] = &[
    Need::Program("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    Need::File(
        "/usr/aarch64-linux-gnu/lib/libc.so.6",
        "libc6-dev-arm64-cross",
    ),
    Need::Program("qemu-aarch64-static", "qemu-user-static"),
];

/// Builds it with the object inside; returns its path.
pub fn binary(arch: Arch, object: &Path) -> Result<PathBuf> {
    let target = arch.target();
    let mut command = process::cargo(["build", "--locked", "--profile", "dist"]);
    command.args(["--package", "ringtun", "--target", target]);
    command.env(OBJECT_VARIABLE, object);
    // No path of this machine in the binary: the same source makes the same bytes.
    let mut flags = vec![format!(
        "--remap-path-prefix={}=/ringtun",
        paths::root().display()
    )];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    if arch != Arch::host()? {
        ensure!(
            arch == Arch::Arm64,
            "{} cannot be built here: only arm64 is cross-built",
            arch.debian()
        );
        packages::ensure(CROSS)?;
        let sysroot = standard_library()?;
        flags.splice(
            0..0,
            ["--sysroot".to_owned(), sysroot.display().to_string()],
        );
        command
            .env("RUSTC", DEBIAN_RUSTC)
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                "aarch64-linux-gnu-gcc",
            )
            .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    }
    let variable = target.to_uppercase().replace('-', "_");
    command
        .env(
            format!("CARGO_TARGET_{variable}_RUSTFLAGS"),
            flags.join(" "),
        )
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    progress::step(
        &format!("cargo build --profile dist ({})", arch.debian()),
        || process::run(command),
    )?;
    let binary = paths::target().join(target).join("dist/ringtun");
    let bytes = fs::read(&binary).with_context(|| binary.display().to_string())?;
    let programs = fs::read(object)?;
    ensure!(
        !programs.is_empty() && contains(&bytes, &programs),
        "{} has no XDP programs inside",
        binary.display()
    );
    Ok(binary)
}

fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    // Its first bytes are those of any ELF file; few places are looked at closely.
    let head = part.len().min(16);
    bytes
        .windows(head)
        .enumerate()
        .any(|(at, window)| window == &part[..head] && bytes[at..].starts_with(part))
}

/// A root with the standard library for arm64 of Debian's rustc.
fn standard_library() -> Result<PathBuf> {
    let mut query = process::command("dpkg-query");
    query.args(["-W", "-f", "${Version}", STANDARD_LIBRARY]);
    let version = process::output(query).with_context(|| {
        format!(
            "arm64 is built with Debian's rustc: `apt-get install rustc-web {STANDARD_LIBRARY}`"
        )
    })?;
    let directory = paths::target()
        .join("cross")
        .join(format!("arm64-{version}"));
    let root = directory.join("root/usr");
    let library = root.join("lib/rustlib/aarch64-unknown-linux-gnu/lib");
    if library.is_dir() {
        return Ok(root);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let lists = directory.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    let configuration = directory.join("apt.conf");
    fs::write(
        &configuration,
        format!(
            "APT::Architectures {{ \"amd64\"; \"arm64\"; }};\nDir::State::lists \"{}\";\n\
             Acquire::Languages \"none\";\n",
            lists.display()
        ),
    )?;
    let package = format!("{STANDARD_LIBRARY}:arm64={version}");
    progress::step(&format!("apt: fetching {package}"), || {
        for arguments in [&["-q", "update"][..], &["-q", "download", &package]] {
            let mut apt = process::command("apt-get");
            apt.args(arguments)
                .env("APT_CONFIG", &configuration)
                .current_dir(&directory);
            process::run_logged(apt, &paths::log("apt-arm64"))?;
        }
        let archive = fs::read_dir(&directory)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"));
        let mut extract = process::command("dpkg-deb");
        extract
            .arg("--extract")
            .arg(archive.context("apt-get downloaded nothing")?)
            .arg(directory.join("root"));
        process::run_logged(extract, &paths::log("dpkg-arm64"))?;
        fs::remove_dir_all(&lists)?;
        Ok(())
    })?;
    ensure!(
        library.is_dir(),
        "{package} has no standard library for arm64"
    );
    Ok(root)
}

/// The program, under qemu-user where this machine cannot run it itself.
pub fn program(arch: Arch, binary: &Path) -> Result<Command> {
    if arch == Arch::host()? {
        return Ok(process::command(binary));
    }
    let mut command = process::command("qemu-aarch64-static");
    command.args(["-L", CROSS_ROOT]).arg(binary);
    Ok(command)
}

/// Runs what needs no rights: version, keys, a file, help.
pub fn smoke(arch: Arch, binary: &Path) -> Result<()> {
    progress::step(&format!("a run of it ({})", arch.debian()), || {
        let say = |arguments: &[&str]| {
            let mut command = program(arch, binary)?;
            command.args(arguments);
            process::output(command)
        };
        let version = say(&["--version"])?;
        ensure!(
            version.trim() == format!("ringtun {}", env!("CARGO_PKG_VERSION")),
            "--version says {version:?}"
        );
        ensure!(say(&["doctor", "--help"])?.contains("Exit status"));
        let key = say(&["genkey"])?;
        ensure!(key.len() == 45, "genkey printed {} bytes", key.len());
        // RFC 7748 section 6.1: Alice's key pair.
        let public = pubkey(
            program(arch, binary)?,
            "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n",
        )?;
        ensure!(
            public.trim() == "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            "pubkey says {public:?}"
        );
        let file = paths::target().join("dist/smoke0.conf");
        fs::create_dir_all(paths::target().join("dist"))?;
        fs::write(
            &file,
            format!(
                "[Interface]\nPrivateKey = {key}[Peer]\nPublicKey = {public}AllowedIPs = 10.0.0.2/32\n"
            ),
        )?;
        let checked = say(&["check", &file.display().to_string()]);
        fs::remove_file(&file)?;
        ensure!(checked?.contains("1 peer"));
        Ok(())
    })
}

fn pubkey(mut command: Command, private: &str) -> Result<String> {
    command
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(private.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("pubkey failed ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn what_is_inside_is_found_whole_or_not_at_all() {
        let object: Vec<u8> = (0..200).collect();
        let binary = [&[0, 1, 2][..], &object, &[7]].concat();
        assert!(contains(&binary, &object));
        assert!(!contains(&binary[..150], &object));
        let mut other = binary;
        other[150] ^= 1;
        assert!(!contains(&other, &object));
    }
}

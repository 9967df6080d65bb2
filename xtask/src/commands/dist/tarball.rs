//! The archive for other distributions, and the checksums of everything.

use super::Release;
use super::arch::Arch;
use crate::{process, progress};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Archives the same files as the package has, with notes on how to install them.
pub fn build(release: &Release, arch: Arch, stage: &Path) -> Result<PathBuf> {
    let name = format!("ringtun-{}-linux-{}", release.version, arch.debian());
    let notes = stage.join("INSTALL");
    fs::write(&notes, install(&release.version))?;
    let file = release.output.join(format!("{name}.tar.gz"));
    let plain = release.output.join(format!("{name}.tar"));
    progress::step(&format!("tar: {}", file.display()), || {
        let mut tar = process::command("tar");
        tar.args([
            "--create",
            "--sort=name",
            "--format=gnu",
            "--owner=0",
            "--group=0",
        ])
        .args(["--numeric-owner", "--mode=go-w"])
        .arg(format!("--mtime=@{}", release.epoch))
        .arg(format!("--transform=s,^\\.,{name},"))
        .arg("--file")
        .arg(&plain)
        .arg("--directory")
        .arg(stage)
        .arg(".");
        process::output(tar)?;
        let mut gzip = process::command("gzip");
        gzip.args(["-9", "--no-name", "--force"]).arg(&plain);
        process::output(gzip)
    })?;
    fs::remove_file(notes)?;
    Ok(file)
}

fn install(version: &str) -> String {
    format!(
        "ringtun {version} for Linux\n\n\
         Needs glibc 2.34 or newer, iproute2, and nftables for tunnels with a default route.\n\
         As root, in this directory:\n\n    \
         cp -r usr/. /usr/\n    \
         install -d -m 700 /etc/wireguard\n    \
         install -m 644 etc/default/ringtun /etc/default/\n    \
         systemctl daemon-reload\n\n\
         Then: man ringtun. To remove it, each file that `find usr -type f` names.\n"
    )
}

/// Writes SHA256SUMS over the packages in `output`; `sha256sum -c` reads it.
pub fn checksums(output: &Path) -> Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(output)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_package(&name) {
            files.push(name);
        }
    }
    files.sort();
    let mut command = process::command("sha256sum");
    command.arg("--").args(&files).current_dir(output);
    let sums = process::output(command)?;
    fs::write(output.join("SHA256SUMS"), sums).context("SHA256SUMS")
}

fn is_package(name: &str) -> bool {
    name.starts_with("ringtun") && [".deb", ".tar.gz"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_of_packages_alone_and_true() {
        let directory = ringtun_lab::registry::Directory::new();
        // Its list of what was made is root's.
        let Ok(directory) = directory else { return };
        let at = directory.path();
        fs::write(at.join("ringtun_1_amd64.deb"), "abc").unwrap();
        fs::write(at.join("ringtun-1-linux-amd64.tar.gz"), "").unwrap();
        fs::write(at.join("smoke0.conf"), "secret").unwrap();
        checksums(at).unwrap();
        // FIPS 180-4's example, and the hash of nothing.
        assert_eq!(
            fs::read_to_string(at.join("SHA256SUMS")).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  ringtun-1-linux-amd64.tar.gz\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  ringtun_1_amd64.deb\n"
        );
    }
}

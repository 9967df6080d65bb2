//! A new root of a release of Debian, made once by debootstrap and kept as an archive.

use super::super::Release;
use crate::toolchain::packages::{self, Need};
use crate::{paths, process, progress};
use anyhow::{Context as _, Result};
use ringtun_lab::registry::Directory;
use std::fs;
use std::path::PathBuf;

const TOOLS: &[Need] = &[
    Need::Program("debootstrap", "debootstrap"),
    Need::Program("unshare", "util-linux"),
];

/// What the package depends on, and what looks at it.
const INCLUDE: &str =
    "iproute2,nftables,man-db,bash-completion,zsh,fish,iputils-ping,iperf3,systemd";

/// The root, as a tar file.
pub fn archive(release: &Release, suite: &str) -> Result<PathBuf> {
    let roots = release.output.join("roots");
    let archive = roots.join(format!("{suite}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    packages::ensure(TOOLS)?;
    fs::create_dir_all(&roots)?;
    let mirror = mirror()?;
    let directory = Directory::new()?;
    let root = directory.path().join("root");
    let mut command = process::command("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "debootstrap",
            "--variant=minbase",
        ])
        .arg(format!("--include={INCLUDE}"))
        .arg(suite)
        .arg(&root)
        .arg(mirror);
    progress::step(&format!("debootstrap {suite}"), || {
        process::run_logged(command, &paths::log(&format!("debootstrap-{suite}")))
            .with_context(|| format!("no root of {suite} from this machine's mirror"))
    })?;
    // Whole or not at all.
    let part = roots.join(format!("{suite}.part"));
    let mut tar = process::command("tar");
    tar.arg("--exclude=./var/cache/apt/archives/*.deb")
        .args(["--one-file-system", "-cpf"])
        .arg(&part)
        .arg("-C")
        .arg(&root)
        .arg(".");
    process::output(tar)?;
    fs::rename(&part, &archive)?;
    Ok(archive)
}

/// The first archive of Debian among this machine's own sources.
fn mirror() -> Result<String> {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let mut more: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    more.sort();
    texts.extend(
        more.into_iter()
            .map(|path| fs::read_to_string(path).unwrap_or_default()),
    );
    texts
        .iter()
        .find_map(|text| mirror_in(text))
        .context("no archive of Debian in /etc/apt/sources.list or sources.list.d")
}

/// Of both formats of sources(5): an address whose path ends in `/debian`.
fn mirror_in(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let relevant = lines.filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    relevant
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn a_mirror_is_found_in_both_formats() {
        let one = "# deb http://old.example/debian x main\n\
            deb [signed-by=/k.gpg] https://m.example/apt sdk main\n\
            deb [arch=amd64] https://m.example/debian bookworm main\n";
        assert_eq!(mirror_in(one).as_deref(), Some("https://m.example/debian"));
        let two = "Types: deb\n# http://old.example/debian\nURIs: http://m.example/debian-security\n\
            \nTypes: deb\nURIs: http://m.example/debian/\nSuites: bookworm\n";
        assert_eq!(mirror_in(two).as_deref(), Some("http://m.example/debian/"));
        assert_eq!(mirror_in(""), None);
    }
}

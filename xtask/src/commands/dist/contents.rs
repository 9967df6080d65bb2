//! What goes where: the files of the package, laid out under a directory.

use super::arch::Arch;
use super::{Release, compile};
use crate::{paths, process};
use anyhow::{Context as _, Result, ensure};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

/// A file of the repository, its place in the package, and its mode.
type Entry = (&'static str, &'static str, u32);

/// What is taken from the repository as it is.
pub const FILES: &[Entry] = &[
    (
        "packaging/systemd/ringtun@.service",
        "usr/lib/systemd/system/ringtun@.service",
        DATA,
    ),
    (
        "packaging/systemd/ringtun-gateway.service",
        "usr/lib/systemd/system/ringtun-gateway.service",
        DATA,
    ),
    (
        "packaging/examples/ringtun.toml",
        "usr/share/doc/ringtun/examples/ringtun.toml",
        DATA,
    ),
    ("packaging/deb/default", "etc/default/ringtun", DATA),
    (
        "packaging/deb/copyright",
        "usr/share/doc/ringtun/copyright",
        DATA,
    ),
    ("CHANGELOG.md", "usr/share/doc/ringtun/changelog", DATA),
    (
        "packaging/examples/wg0.conf",
        "usr/share/doc/ringtun/examples/wg0.conf",
        DATA,
    ),
    (
        "packaging/grafana/ringtun.json",
        "usr/share/doc/ringtun/examples/grafana/ringtun.json",
        DATA,
    ),
    (
        "packaging/prometheus/rules.yml",
        "usr/share/doc/ringtun/examples/prometheus/rules.yml",
        DATA,
    ),
    (
        "packaging/prometheus/alerts.yml",
        "usr/share/doc/ringtun/examples/prometheus/alerts.yml",
        DATA,
    ),
];

/// The shells, and where they look for completions.
pub const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/ringtun"),
    ("zsh", "usr/share/zsh/vendor-completions/_ringtun"),
    ("fish", "usr/share/fish/vendor_completions.d/ringtun.fish"),
];

const MAN: &str = "usr/share/man/man8";
/// Configuration that dpkg keeps as the administrator changed it.
pub const CONFFILES: &[&str] = &["/etc/default/ringtun"];
/// Where tunnels are, as wg-quick has it; keys are in there.
pub const TUNNELS: &str = "etc/wireguard";

/// Lays all files out under `root`.
pub fn stage(release: &Release, arch: Arch, binary: &Path, root: &Path) -> Result<()> {
    put(&fs::read(binary)?, &root.join("usr/bin/ringtun"), PROGRAM)?;
    for (from, to, mode) in FILES {
        let bytes = fs::read(paths::root().join(from)).with_context(|| (*from).to_owned())?;
        put(&bytes, &root.join(to), *mode)?;
    }
    put(
        debian_changelog(release)?.as_bytes(),
        &root.join("usr/share/doc/ringtun/changelog.Debian"),
        DATA,
    )?;
    for (shell, to) in COMPLETIONS {
        let mut command = compile::program(arch, binary)?;
        command.args(["completions", shell]);
        put(process::output(command)?.as_bytes(), &root.join(to), DATA)?;
    }
    let man = root.join(MAN);
    fs::create_dir_all(&man)?;
    let mut command = compile::program(arch, binary)?;
    command.arg("man-pages").arg(&man);
    process::output(command)?;
    compress(root)?;
    fs::create_dir_all(root.join(TUNNELS))?;
    directories(root)?;
    fs::set_permissions(root.join(TUNNELS), Permissions::from_mode(0o700))?;
    Ok(())
}

fn put(bytes: &[u8], path: &Path, mode: u32) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// Manual pages and changelogs, as Debian has them.
fn compress(root: &Path) -> Result<()> {
    let doc = root.join("usr/share/doc/ringtun");
    let mut files = vec![doc.join("changelog"), doc.join("changelog.Debian")];
    for page in fs::read_dir(root.join(MAN))? {
        let page = page?.path();
        fs::set_permissions(&page, Permissions::from_mode(DATA))?;
        files.push(page);
    }
    ensure!(files.len() > 10, "only {} files to compress", files.len());
    let mut gzip = process::command("gzip");
    gzip.args(["-9", "--no-name", "--force"]).args(&files);
    process::output(gzip)?;
    Ok(())
}

/// Modes do not depend on this user's umask.
fn directories(root: &Path) -> Result<()> {
    let mut left: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(())
}

fn debian_changelog(release: &Release) -> Result<String> {
    let mut date = process::command("date");
    date.args(["--utc", "--rfc-email", "--date"])
        .arg(format!("@{}", release.epoch))
        .env("LC_ALL", "C");
    Ok(format!(
        "ringtun ({}) unstable; urgency=medium\n\n  * What is new is in changelog.gz.\n\n -- {}  {}\n",
        super::deb::version(&release.version, 1),
        super::deb::MAINTAINER,
        process::output(date)?.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_file_is_there_and_each_place_is_taken_once() {
        let mut places = BTreeSet::new();
        for (from, to, mode) in FILES {
            assert!(paths::root().join(from).is_file(), "{from}");
            assert!(places.insert(*to) && !to.starts_with('/'), "{to}");
            assert_eq!(mode & 0o022, 0, "{to}");
        }
        for conffile in CONFFILES {
            assert!(
                places.contains(conffile.trim_start_matches('/')),
                "{conffile}"
            );
        }
        // dpkg takes the rest of etc away without asking.
        let configuration = places.iter().filter(|place| place.starts_with("etc/"));
        assert_eq!(configuration.count(), CONFFILES.len());
    }
}

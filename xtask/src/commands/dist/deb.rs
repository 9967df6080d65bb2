//! The Debian package.

use super::Release;
use super::arch::Arch;
use super::contents::CONFFILES;
use crate::{paths, process, progress};
use anyhow::{Context as _, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub const MAINTAINER: &str = "The ringtun contributors <ringtun@users.noreply.github.com>";

/// Scripts of the package, in `packaging/deb`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package of what lies under `stage` into `output`.
pub fn build(
    release: &Release,
    arch: Arch,
    stage: &Path,
    depends: &str,
    revision: u32,
    output: &Path,
) -> Result<PathBuf> {
    let version = version(&release.version, revision);
    let meta = stage.join("DEBIAN");
    fs::create_dir_all(&meta)?;
    fs::set_permissions(&meta, Permissions::from_mode(0o755))?;
    let control = control(&version, arch, depends, installed_size(stage)?);
    write(&meta.join("control"), control.as_bytes(), 0o644)?;
    write(
        &meta.join("conffiles"),
        format!("{}\n", CONFFILES.join("\n")).as_bytes(),
        0o644,
    )?;
    write(&meta.join("md5sums"), md5sums(stage)?.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        let text = fs::read(paths::root().join("packaging/deb").join(script))?;
        write(&meta.join(script), &text, 0o755)?;
    }
    let file = output.join(format!("ringtun_{version}_{}.deb", arch.debian()));
    progress::step(&format!("dpkg-deb: {}", file.display()), || {
        let mut command = process::command("dpkg-deb");
        // One thread: the bytes of xz depend on how many there are.
        command
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"])
            .arg(stage)
            .arg(&file)
            .env("SOURCE_DATE_EPOCH", release.epoch.to_string());
        process::output(command)
    })?;
    // Else the tarball would have it.
    fs::remove_dir_all(&meta)?;
    Ok(file)
}

/// Debian's version: `1.0.0-rc.1` comes before `1.0.0`, which a tilde says.
pub fn version(cargo: &str, revision: u32) -> String {
    format!("{}-{revision}", cargo.replacen('-', "~", 1))
}

fn control(version: &str, arch: Arch, depends: &str, size: u64) -> String {
    format!(
        "Package: ringtun\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: {MAINTAINER}\n\
         Installed-Size: {size}\n\
         Depends: {depends}\n\
         Recommends: nftables\n\
         Suggests: wireguard-tools, systemd-resolved | resolvconf, prometheus\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://github.com/ringtun/ringtun\n\
         Description: WireGuard tunnel gateway with XDP and AF_XDP\n \
         ringtun is a WireGuard implementation in user space. It needs no kernel\n \
         module, talks to any other WireGuard, and is set up with the tools and\n \
         files of wg and wg-quick. Encrypted packets travel through XDP and AF_XDP\n \
         rings of the network card, or through an ordinary socket, whichever is\n \
         faster there.\n .\n \
         It counts every packet that is not delivered under a reason, finds out\n \
         what is wrong with a tunnel, and has metrics for Prometheus.\n",
        arch.debian()
    )
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// All files under the stage, sorted, relative to it; without those of dpkg.
pub fn files(stage: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![stage.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(stage)?.to_owned());
            }
        }
    }
    found.retain(|path| !path.starts_with("DEBIAN"));
    found.sort();
    Ok(found)
}

/// In KiB, each file rounded up.
fn installed_size(stage: &Path) -> Result<u64> {
    let mut size = 0;
    for file in files(stage)? {
        size += fs::metadata(stage.join(file))?.len().div_ceil(1024);
    }
    Ok(size)
}

fn md5sums(stage: &Path) -> Result<String> {
    let mut files = files(stage)?;
    files.retain(|path| !CONFFILES.iter().any(|c| Path::new(&c[1..]) == path));
    let mut command = process::command("md5sum");
    command.args(files).current_dir(stage);
    process::output(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn versions_are_in_order_as_dpkg_sees_them() {
        let order = [
            version("0.1.0-rc.1", 1),
            version("0.1.0-rc.2", 1),
            version("0.1.0", 1),
            version("0.1.0", 2),
            version("0.1.1-rc.1", 1),
            version("0.10.0", 1),
        ];
        assert_eq!(order[0], "0.1.0~rc.1-1");
        for pair in order.windows(2) {
            let status = Command::new("dpkg")
                .args(["--compare-versions", &pair[0], "lt", &pair[1]])
                .status();
            // Where there is no dpkg no package is built either.
            let Ok(status) = status else { return };
            assert!(status.success(), "{pair:?}");
        }
    }

    #[test]
    fn the_control_file_has_a_line_per_field_and_an_indented_description() {
        let control = control("0.1.0-1", Arch::Arm64, "libc6 (>= 2.34)", 17);
        let (fields, text) = control.split_once("Description: ").unwrap();
        for field in fields.lines() {
            let (name, value) = field.split_once(": ").unwrap();
            assert!(!name.contains(' ') && !value.is_empty(), "{field:?}");
        }
        assert!(fields.contains("Architecture: arm64\n"));
        assert!(fields.contains("Installed-Size: 17\n"));
        assert!(
            text.lines().skip(1).all(|line| line.starts_with(' ')),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() < 80 && line != " "));
    }
}

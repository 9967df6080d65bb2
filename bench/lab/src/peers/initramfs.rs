//! The distribution's kernel and a small root for it, made from packages that are not installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::fetch::{Apt, cached, unpack};
use super::{Implementation, Prepared};
use crate::netns::{finish, finish_with_input};
use crate::tools;

/// Modules to load, with what they depend on.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "wireguard"];

/// Reads commands from the second serial line, one a line: an id, a blank, shell text. Answers
/// each line of output as `@ID:text` and the end as `@ID=status`.
const INIT: &str = r#"#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
for module in $(cat /modules/order); do insmod /modules/$module; done
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
for device in /sys/class/net/*; do echo 0 > /proc/sys/net/ipv6/conf/${device##*/}/accept_dad; done
ip link set lo up
set -o pipefail
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
stty raw -echo
echo "@ready=$(uname -r)"
while read -r id text; do
    (eval "$text") < /dev/null 2>&1 | sed "s/^/@$id:/"
    echo "@$id=$?"
done
poweroff -f
"#;

/// Fetches the kernel package and builds the initramfs; cached.
pub(super) fn prepare(cache: &Path) -> Result<Prepared> {
    tools::need(&[
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("depmod", "kmod"),
        ("cpio", "cpio"),
        ("busybox", "busybox-static"),
        ("wg", "wireguard-tools"),
        ("xz", "xz-utils"),
    ])?;
    let directory = cached(cache, "linux", build)?;
    Ok(Prepared {
        implementation: Implementation::Linux,
        version: fs::read_to_string(directory.join("VERSION"))?,
        program: directory.join("vmlinuz"),
    })
}

/// The initramfs that goes with a prepared kernel.
pub(super) fn beside(kernel: &Path) -> PathBuf {
    kernel.with_file_name("initramfs.cpio")
}

fn build(new: &Path) -> Result<()> {
    let apt = Apt::configured(new)?;
    let file = apt.download_newest(kernel_package)?;
    let unpacked = new.join("package");
    let version = unpack(&file, &unpacked)?;
    apt.remove()?;

    let release = only_entry(&unpacked.join("lib/modules"))?;
    finish(
        Command::new("depmod")
            .arg("-b")
            .arg(&unpacked)
            .arg(&release),
    )?;
    fs::copy(
        unpacked.join(format!("boot/vmlinuz-{release}")),
        new.join("vmlinuz"),
    )?;
    let root = new.join("root");
    for part in ["bin", "modules", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(part))?;
    }
    modules(&unpacked, &release, &root.join("modules"))?;
    programs(&root)?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    pack(&root, &new.join("initramfs.cpio"))?;
    fs::remove_dir_all(&unpacked)?;
    fs::remove_dir_all(&root)?;
    fs::write(new.join("VERSION"), format!("{release} ({version})"))?;
    Ok(())
}

/// `linux-image-amd64` is empty and depends on the package of the current kernel.
fn kernel_package() -> Result<String> {
    let text = finish(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .context("apt knows no linux-image-amd64 (apt-get update?)")
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut names = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .next()
        .with_context(|| format!("{} is empty", directory.display()))
}

/// Copies the modules, in the order in which they have to be loaded.
fn modules(package: &Path, release: &str, to: &Path) -> Result<()> {
    let mut order = Vec::new();
    for module in MODULES {
        let lines = finish(Command::new("modprobe").arg("-d").arg(package).args([
            "-S",
            release,
            "--show-depends",
            module,
        ]))?;
        for line in lines.lines() {
            let Some(path) = line.strip_prefix("insmod ").map(str::trim) else {
                continue;
            };
            let file = Path::new(path);
            let name = file
                .file_name()
                .context("module path")?
                .to_string_lossy()
                .into_owned();
            let plain = name.trim_end_matches(".xz").to_owned();
            if order.contains(&plain) {
                continue;
            }
            fs::copy(file, to.join(&name))?;
            if name != plain {
                finish(Command::new("xz").arg("-d").arg(to.join(&name)))?;
            }
            order.push(plain);
        }
    }
    ensure!(
        order.iter().any(|name| name == "wireguard.ko"),
        "the kernel package has no WireGuard module"
    );
    fs::write(to.join("order"), order.join("\n"))?;
    Ok(())
}

/// busybox (static), and `wg` with its libraries.
fn programs(root: &Path) -> Result<()> {
    let busybox = tools::find("busybox").context("busybox")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", root.join("bin/sh"))?;
    let wg = tools::find("wg").context("wg")?;
    fs::copy(&wg, root.join("bin/wg"))?;
    let libraries: BTreeSet<PathBuf> = finish(Command::new("ldd").arg(&wg))?
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    for library in libraries {
        let inside = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("library path")?)?;
        fs::copy(&library, inside)?;
    }
    Ok(())
}

fn pack(root: &Path, to: &Path) -> Result<()> {
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names)?;
    let mut command = Command::new("cpio");
    command
        .args(["--create", "--format=newc", "--owner=0:0", "--quiet", "-F"])
        .arg(fs::canonicalize(to.parent().context("no directory")?)?.join("initramfs.cpio"))
        .current_dir(root);
    finish_with_input(&mut command, names.join("\n").as_bytes()).map(drop)
}

fn list(root: &Path, under: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(under))?.flatten() {
        let name = under.join(entry.file_name());
        names.push(name.to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}

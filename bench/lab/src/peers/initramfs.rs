//! The distribution's kernel and a small root for it, made from packages that are not installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::fetch::{Apt, cached, unpack};
use super::{Implementation, Prepared};
use crate::netns::{finish, finish_with_input};
use crate::tools;

/// What goes into a root beside busybox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents<'a> {
    /// Modules to load, with what they depend on.
    pub(super) modules: &'a [&'a str],
    /// Programs, and where they are inside. busybox takes its own for what is in `/bin`.
    pub(super) programs: &'a [(&'a str, &'a str)],
}

const INTEROP: Contents<'_> = Contents {
    modules: &["virtio_pci", "virtio_net", "wireguard"],
    programs: &[("wg", "bin/wg")],
};

/// The programs that make a kernel and its root.
pub(super) const TOOLS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("depmod", "kmod"),
    ("cpio", "cpio"),
    ("busybox", "busybox-static"),
    ("wg", "wireguard-tools"),
    ("xz", "xz-utils"),
];

/// Reads commands from the second serial line, one a line: an id, the length of id and text, shell
/// text. An emulated line loses characters when the guest is slow: what has not the length it says
/// is asked for `@again`, else `@ID+` says that it is run. Answers each line of output as
/// `@ID:text` and the end as `@ID=status`.
const INIT: &str = r#"#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /run /var
ln -s /run /var/run
for module in $(cat /modules/order); do insmod /modules/$module; done
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
for device in /sys/class/net/*; do echo 0 > /proc/sys/net/ipv6/conf/${device##*/}/accept_dad; done
ip link set lo up
set -o pipefail
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
stty raw -echo
echo "@ready=$(uname -r)"
while read -r id len text; do
    if [ "$((${#id} + ${#text}))" != "$len" ]; then
        echo "@again"
        continue
    fi
    echo "@$id+"
    (eval "$text") < /dev/null 2>&1 | sed "s/^/@$id:/"
    echo "@$id=$?"
done
poweroff -f
"#;

/// Fetches the kernel package and builds the initramfs; cached.
pub(super) fn prepare(cache: &Path) -> Result<Prepared> {
    tools::need(&TOOLS)?;
    let directory = cached(cache, "linux-2", |new| {
        let apt = Apt::configured(new)?;
        let file = apt.download_newest(|| kernel_package(&apt, "linux-image-amd64"))?;
        build(new, &file, &INTEROP)?;
        apt.remove()
    })?;
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

/// Makes kernel, initramfs and `VERSION` in `new` from a kernel's package.
pub(super) fn build(new: &Path, package: &Path, contents: &Contents<'_>) -> Result<()> {
    let unpacked = new.join("package");
    let version = unpack(package, &unpacked)?;
    if !unpacked.join("lib").exists() {
        // Since Debian 13 modules are in /usr.
        std::os::unix::fs::symlink("usr/lib", unpacked.join("lib"))?;
    }
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
    modules(&unpacked, &release, contents.modules, &root.join("modules"))?;
    let busybox = tools::find("busybox").context("busybox")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", root.join("bin/sh"))?;
    for (name, inside) in contents.programs {
        let found = tools::find(name).with_context(|| format!("no {name}"))?;
        program(&root, &found, inside)?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    pack(&root, &new.join("initramfs.cpio"))?;
    fs::remove_dir_all(&unpacked)?;
    fs::remove_dir_all(&root)?;
    fs::write(new.join("VERSION"), format!("{release} ({version})"))?;
    Ok(())
}

/// `linux-image-amd64` and its like are empty and depend on the package of the current kernel.
pub(super) fn kernel_package(apt: &Apt, name: &str) -> Result<String> {
    let text = apt.cache(&["depends", name])?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no {name} (apt-get update?)"))
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
fn modules(package: &Path, release: &str, wanted: &[&str], to: &Path) -> Result<()> {
    let mut order = Vec::new();
    for module in wanted {
        // Fails if there is no such module and it is not built in either.
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
    fs::write(to.join("order"), order.join("\n"))?;
    Ok(())
}

/// A program with its libraries.
pub(super) fn program(root: &Path, program: &Path, inside: &str) -> Result<()> {
    let inside = root.join(inside);
    fs::create_dir_all(inside.parent().context("program path")?)?;
    fs::copy(program, inside).with_context(|| format!("{}", program.display()))?;
    let libraries: BTreeSet<PathBuf> = finish(Command::new("ldd").arg(program))?
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

/// Packs what is in `root`. The kernel unpacks archives that stand one behind the other.
pub(super) fn pack(root: &Path, to: &Path) -> Result<()> {
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names)?;
    let mut command = Command::new("cpio");
    command
        .args(["--create", "--format=newc", "--owner=0:0", "--quiet", "-F"])
        .arg(std::path::absolute(to)?)
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

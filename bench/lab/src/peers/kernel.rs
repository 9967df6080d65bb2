//! Kernels of Debian's releases, with a root that ringtun can run in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::fetch::{Apt, cached};
use super::initramfs::{self, Contents};
use crate::registry::Directory;
use crate::tools;

/// The flavour for virtual machines: the same code with fewer drivers. It has AF_XDP, the BPF JIT,
/// BTF, veth, virtio_net and TUN.
const PACKAGE: &str = "linux-image-cloud-amd64";

const CONTENTS: Contents<'_> = Contents {
    modules: &["virtio_pci", "virtio_net", "veth", "tun"],
    // busybox's `ip` knows neither namespaces nor veth.
    programs: &[("wg", "bin/wg"), ("ip", "usr/sbin/ip")],
};

/// A series of the kernel, and the release of Debian that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its number.
    pub name: &'static str,
    suite: &'static str,
}

impl Series {
    /// All that are tried.
    pub const ALL: [Series; 2] = [
        Series {
            name: "6.1",
            suite: "bookworm",
        },
        Series {
            name: "6.12",
            suite: "trixie",
        },
    ];

    /// The series of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Series> {
        let names = Series::ALL.map(|series| series.name).join(", ");
        let mut all = Series::ALL.into_iter();
        all.find(|series| series.name == name)
            .with_context(|| format!("no kernel {name}: there are {names}"))
    }

    /// Gets the kernel's package into `cache`, and makes its root there.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn prepare(self, cache: &Path) -> Result<Kernel> {
        tools::need(&initramfs::TOOLS)?;
        tools::need(&[("ip", "iproute2")])?;
        let directory = cached(cache, &format!("kernel-{}-2", self.name), |new| {
            let apt = Apt::suite(new, self.suite)?;
            let package = initramfs::kernel_package(&apt, PACKAGE)?;
            initramfs::build(new, &apt.download(&package)?, &CONTENTS)?;
            apt.remove()
        })?;
        Ok(Kernel {
            version: fs::read_to_string(directory.join("VERSION"))?,
            image: directory.join("vmlinuz"),
        })
    }
}

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release, and the version of its package.
    pub version: String,
    /// The kernel itself.
    pub image: PathBuf,
}

impl Kernel {
    /// Its root with `ringtun` in it, in `directory`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn with_ringtun(&self, ringtun: &Path, directory: &Directory) -> Result<PathBuf> {
        let root = directory.path().join("root");
        initramfs::program(&root, ringtun, "bin/ringtun")?;
        let more = directory.path().join("more.cpio");
        initramfs::pack(&root, &more)?;
        let whole = directory.path().join("initramfs.cpio");
        let mut file = File::create(&whole)?;
        for part in [initramfs::beside(&self.image), more] {
            io::copy(&mut File::open(part)?, &mut file)?;
        }
        Ok(whole)
    }
}

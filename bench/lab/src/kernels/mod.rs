//! ringtun on the kernels of Debian's releases, each booted in QEMU without KVM.
//!
//! On each kernel: two gateways in namespaces of the guest, joined by a veth; then one gateway on
//! the guest's virtio_net and one on the tap device at its other end. All of them with `--io xdp`,
//! over IPv4 and over IPv6: echoes of both families, and a transfer that is compared, during which
//! the kernel's own counters say that the packets passed the UDP sockets by.
//!
//! * [`gateway`]: one ringtun in the guest.
//! * `forward`: a host behind it, past its kernel.
//! * [`inside`]: two of them, veth between.
//! * [`outside`]: one of them, virtio_net, and one at the other end of it.
//! * [`traffic`]: how packets went, by what counted them.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::peers::guest::{Boot, Guest};
use crate::peers::kernel::{Kernel, Series};
use crate::peers::{Implementation, Prepared};
use crate::registry::{self, Directory};
use crate::tools;

mod forward;
mod gateway;
mod inside;
mod outside;
mod traffic;

/// MiB of memory; the root takes 60.
const MEMORY: u32 = 512;
/// QEMU yields to whatever else the machine does.
const NICE: u8 = 10;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// On which kernels.
    pub series: Vec<Series>,
    /// The ringtun binary.
    pub ringtun: PathBuf,
    /// Where fetched kernels are kept.
    pub cache: PathBuf,
}

/// Tries each kernel; prints a line for each thing seen, and one that sums it up.
///
/// # Errors
/// A kernel cannot be had or does not boot, or ringtun fails on it (all are tried first).
pub fn run(options: &Options) -> Result<()> {
    registry::reap()?;
    tools::need(&[
        ("wg", "wireguard-tools"),
        ("ping", "iputils-ping"),
        ("ip", "iproute2"),
    ])?;
    let begin = Instant::now();
    let ringtun = Implementation::Ringtun(options.ringtun.clone()).prepare(&options.cache)?;
    let mut failed = Vec::new();
    for series in &options.series {
        if let Err(error) = one(*series, &ringtun, options) {
            eprintln!("{} FAIL {error:#}", series.name);
            failed.push(series.name);
        }
    }
    println!(
        "kernels: ringtun {} passed on {} of {} in {:.0} s",
        ringtun.version,
        options.series.len() - failed.len(),
        options.series.len(),
        begin.elapsed().as_secs_f64()
    );
    ensure!(failed.is_empty(), "failed on {}", failed.join(", "));
    Ok(())
}

fn one(series: Series, ringtun: &Prepared, options: &Options) -> Result<()> {
    let kernel = series.prepare(&options.cache)?;
    println!("{}: {}", series.name, kernel.version);
    let begin = Instant::now();
    let guest = boot(&kernel, ringtun)?;
    let say = |text: &str| {
        let seconds = begin.elapsed().as_secs_f64();
        println!("{:<5} [{seconds:>5.1} s] {text}", series.name);
    };
    say(&format!("booted: uname -r: {}", guest.release));
    inside::run(&guest, &say)
        .and_then(|()| outside::run(&guest, ringtun, &say))
        .with_context(|| {
            let log = guest.run("dmesg | tail -n 30").unwrap_or_default();
            format!("the guest's kernel says at last:\n{log}")
        })
}

fn boot(kernel: &Kernel, ringtun: &Prepared) -> Result<Guest> {
    let directory = Directory::new()?;
    let initramfs = kernel.with_ringtun(&ringtun.program, &directory)?;
    Guest::boot_with(&Boot {
        kernel: &kernel.image,
        initramfs: &initramfs,
        memory: MEMORY,
        bridge: false,
        nice: NICE,
    })
}

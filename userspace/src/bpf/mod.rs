//! Load and attach the XDP programs; typed map handles.
//!
//! * [`wan`]: the program for WAN interfaces, its counters and its tables.
//! * [`lan`]: the program for LAN interfaces, its counters and its tables.
//! * [`steer`]: tunnels of others, spread over CPUs.
//! * [`cards`]: network cards and AF_XDP sockets, of either.
//! * [`counts`]: what they counted.
//! * [`notices`]: what they say in words.
//! * [`ring`]: the program that takes every frame into AF_XDP sockets.
//! * [`link`]: what keeps a program on an interface.
//! * [`testrun`]: programs run without any interface.
//! * `object`: what the handles of all programs have in common.
//! * `seats`: hash maps with a small table in front.
//! * `pod`: values of `ringtun-common` in maps.

pub mod cards;
pub mod counts;
pub mod lan;
pub mod link;
pub mod notices;
mod object;
mod pod;
pub mod ring;
mod seats;
pub mod steer;
pub mod testrun;
pub mod wan;

pub use cards::{CardProgram, Cards};
pub use counts::Counts;
pub use lan::LanProgram;
pub use link::{Link, Mode};
pub use notices::{FollowedNotices, Notices};
pub use ring::RingProgram;
pub use testrun::PassProgram;
pub use wan::WanProgram;

use ringtun_common::steer::TARGETS_MAX;
use std::io;

/// The BPF object that the build embedded; `None` in a build without it.
#[must_use]
pub fn embedded() -> Option<&'static [u8]> {
    #[cfg(ringtun_bpf)]
    {
        Some(aya::include_bytes_aligned!(concat!(
            env!("OUT_DIR"),
            "/ringtun.bpf.o"
        )))
    }
    #[cfg(not(ringtun_bpf))]
    {
        None
    }
}

/// What can go wrong with a BPF program.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The build has no BPF object.
    #[error(
        "this build of ringtun has no XDP programs; build it with `cargo xtask build`, or use `--io udp`"
    )]
    NotEmbedded,
    /// The object has no program or map of this name.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// The kernel refused the object.
    #[error("the kernel did not load the BPF object: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused the program; the text is the verifier's.
    #[error("the kernel did not load the XDP program: {0}")]
    Program(#[from] aya::programs::ProgramError),
    /// A map could not be read.
    #[error("cannot read a BPF map: {0}")]
    Map(#[from] aya::maps::MapError),
    /// The programs' lines cannot be read.
    #[error("cannot read what the XDP programs log: {0}")]
    Log(#[from] aya_log::Error),
    /// What the machine has of CPUs could not be read.
    #[error("cannot tell how many CPUs there are: {0}")]
    Cpus(io::Error),
    /// The kernel gives no queue for a CPU.
    #[error("cannot steer to CPU {cpu}: {source}; `lscpu --extended` shows which CPUs are online")]
    Cpu {
        /// The CPU.
        cpu: u32,
        /// The kernel's answer.
        source: aya::maps::xdp::XdpMapError,
    },
    /// So many CPUs cannot be steered to.
    #[error("a group is steered over 1 to {max} CPUs, not {0}", max = TARGETS_MAX)]
    Targets(usize),
    /// Another XDP program is attached to the interface.
    #[error(
        "interface {ifindex} carries another XDP program; `ip link` and `bpftool net` show whose"
    )]
    Busy {
        /// Index of the interface.
        ifindex: u32,
    },
    /// The program cannot be attached.
    #[error("cannot attach the XDP program to interface {ifindex} in {mode} mode: {source}")]
    Attach {
        /// Index of the interface.
        ifindex: u32,
        /// The mode that was asked for.
        mode: Mode,
        /// The kernel's answer.
        source: io::Error,
    },
}

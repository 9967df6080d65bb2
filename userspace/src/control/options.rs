//! What a daemon is told when it starts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use ringtun_common::steer::{Group, TARGETS_MAX};

use super::names::InterfaceName;
use super::uapi::socket::DIRECTORY;
use crate::bpf::steer::parse_list;
use crate::datapath::mss::MssClamp;
use crate::metrics::{MetricsListen, Series};
use crate::xsk::{BusyPoll, RingSizes};

/// Most workers of a process; more queues than this no machine of today has
/// CPUs for, and a TUN device takes 256.
pub const MAX_WORKERS: usize = 64;

/// How outer packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// The fastest that works.
    #[default]
    Auto,
    /// Through AF_XDP, on every network card that takes the program.
    Xdp,
    /// Over UDP sockets.
    Udp,
}

impl IoMode {
    /// As on the command line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Udp => "udp",
        }
    }
}

impl FromStr for IoMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Auto, Self::Xdp, Self::Udp];
        all.into_iter()
            .find(|mode| mode.label() == text)
            .ok_or("wants auto, xdp or udp")
    }
}

/// Tunnels of others, and the CPUs that see to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steer {
    /// Which tunnels.
    pub group: Group,
    /// The CPUs, at least one.
    pub cpus: Vec<u32>,
}

impl FromStr for Steer {
    type Err = String;

    /// From `GROUP=CPUS`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (label, cpus) = text
            .split_once('=')
            .ok_or("wants GROUP=CPUS, like esp=0-1")?;
        let mut groups = Group::ALL.iter().copied();
        let group = groups.find(|group| group.label() == label).ok_or_else(|| {
            let known: Vec<_> = Group::ALL.iter().map(|group| group.label()).collect();
            format!("no group `{label}`: there are {}", known.join(", "))
        })?;
        let cpus = parse_list(cpus).ok_or_else(|| {
            format!("`{cpus}` is no list of 1 to {TARGETS_MAX} CPUs, like 0-3 or 1,3")
        })?;
        Ok(Self { group, cpus })
    }
}

/// How network cards are used.
#[derive(Clone, Debug)]
pub struct XdpOptions {
    /// Slots of the rings of each queue.
    pub rings: RingSizes,
    /// Poll the device in the workers' calls instead of waiting for interrupts.
    pub busy_poll: Option<BusyPoll>,
    /// Generic mode even where the driver has native XDP.
    pub generic: bool,
    /// Interfaces with clients whose TCP connections are clamped.
    pub lan: Vec<InterfaceName>,
    /// Packets between those interfaces and the tunnels go past the kernel's stack.
    pub fast_forward: bool,
    /// Interfaces that carry the program though no peer leads to them.
    pub wan: Vec<InterfaceName>,
    /// Tunnels of others that are spread over CPUs, each group once.
    pub steer: Vec<Steer>,
    /// Where processes tell each other whose a card is.
    pub nics_directory: PathBuf,
}

impl Default for XdpOptions {
    fn default() -> Self {
        Self {
            rings: RingSizes::default(),
            busy_poll: None,
            generic: false,
            lan: Vec::new(),
            fast_forward: false,
            wan: Vec::new(),
            steer: Vec::new(),
            nics_directory: PathBuf::from(super::nics::owner::DIRECTORY),
        }
    }
}

/// The options of `ringtun run`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The devices, each once.
    pub names: Vec<InterfaceName>,
    /// How outer packets travel.
    pub io: IoMode,
    /// Devices for which that is otherwise.
    pub io_otherwise: Vec<(InterfaceName, IoMode)>,
    /// How network cards are used.
    pub xdp: XdpOptions,
    /// What TCP SYNs are lowered to.
    pub mss: MssClamp,
    /// Worker threads, at most [`MAX_WORKERS`]; `None` suits the machine.
    pub workers: Option<NonZeroUsize>,
    /// Where metrics are served.
    pub metrics: MetricsListen,
    /// Which series.
    pub series: Series,
    /// Where UAPI sockets are made.
    pub uapi_directory: PathBuf,
}

impl RunOptions {
    /// The defaults for these devices.
    #[must_use]
    pub fn new(names: Vec<InterfaceName>) -> Self {
        Self {
            names,
            io: IoMode::default(),
            io_otherwise: Vec::new(),
            xdp: XdpOptions::default(),
            mss: MssClamp::default(),
            workers: None,
            metrics: MetricsListen::default(),
            series: Series::default(),
            uapi_directory: PathBuf::from(DIRECTORY),
        }
    }

    /// How outer packets of a device travel.
    #[must_use]
    pub fn io_of(&self, name: &InterfaceName) -> IoMode {
        let mut otherwise = self.io_otherwise.iter();
        otherwise
            .find(|(other, _)| other == name)
            .map_or(self.io, |(_, io)| *io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_its_cpus_are_read_and_what_is_wrong_is_said() {
        let steer: Steer = "natt-esp=0-1,4".parse().unwrap();
        assert_eq!(steer.group, Group::NatTEsp);
        assert_eq!(steer.cpus, [0, 1, 4]);
        for (wrong, says) in [
            ("esp", "GROUP=CPUS"),
            (
                "ipsec=0",
                "there are esp, natt-esp, gre, wireguard, openvpn",
            ),
            ("esp=", "1 to 64 CPUs"),
            ("esp=1-0", "1 to 64 CPUs"),
            ("esp=0-64", "1 to 64 CPUs"),
        ] {
            let error = wrong.parse::<Steer>().unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}

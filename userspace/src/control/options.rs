//! What a daemon is told when it starts.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::names::InterfaceName;
use super::uapi::socket::DIRECTORY;
use crate::datapath::mss::MssClamp;
use crate::metrics::MetricsListen;

/// Most workers of a process; more queues than this no machine of today has
/// CPUs for, and a TUN device takes 256.
pub const MAX_WORKERS: usize = 64;

/// How outer packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// The fastest that works.
    #[default]
    Auto,
    /// Over UDP sockets.
    Udp,
}

impl IoMode {
    /// As on the command line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Udp => "udp",
        }
    }
}

/// The options of `ringtun run`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The devices, at least one, each once.
    pub names: Vec<InterfaceName>,
    /// How outer packets travel.
    pub io: IoMode,
    /// What TCP SYNs are lowered to.
    pub mss: MssClamp,
    /// Worker threads, at most [`MAX_WORKERS`]; `None` suits the machine.
    pub workers: Option<NonZeroUsize>,
    /// Where metrics are served.
    pub metrics: MetricsListen,
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
            mss: MssClamp::default(),
            workers: None,
            metrics: MetricsListen::default(),
            uapi_directory: PathBuf::from(DIRECTORY),
        }
    }
}

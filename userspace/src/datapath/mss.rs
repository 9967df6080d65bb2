//! What a device does about the maximum segment size in TCP SYNs.

use ringtun_common::mss::{self, Limits, Outcome};

use super::stats::WorkerStats;

/// What the option is lowered to, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssClamp {
    /// To what fits the device's MTU of the moment.
    #[default]
    Mtu,
    /// To this many bytes.
    Fixed(u16),
    /// Not at all.
    Off,
}

impl MssClamp {
    /// The limits for a device of this MTU, bytes.
    #[must_use]
    pub fn limits(self, mtu: usize) -> Option<Limits> {
        match self {
            Self::Mtu => Some(Limits::of_mtu(mtu)),
            Self::Fixed(mss) => Some(Limits::fixed(mss)),
            Self::Off => None,
        }
    }
}

/// Clamps one inner packet and counts that.
#[inline]
pub(super) fn clamp(packet: &mut [u8], limits: Option<&Limits>, stats: &WorkerStats) {
    if let Some(limits) = limits
        && mss::clamp(packet, limits) == Outcome::Lowered
    {
        stats.mss_clamped.add(1);
    }
}

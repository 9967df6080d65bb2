//! Steering: tunnels that the kernel terminates or forwards are spread over CPUs.
//!
//! A network card spreads packets by addresses and ports, of which a tunnel has
//! one set: all of it lands on one CPU. Here the key counts that tells apart the
//! tunnels between two hosts ([`Packet::key`]), and equal keys go to the same
//! CPU, so that a tunnel's packets stay in their order.

use crate::class::Class;
use crate::hash::{MULTIPLIER, halves, mix};
use crate::labelled::labelled;
use crate::packet::Packet;

/// Name of the CPUMAP: the CPUs that packets are steered to.
pub const CPUS_MAP: &str = "CPUS";
/// Name of the array of [`Steering`]s, indexed by [`Group`].
pub const STEERING_MAP: &str = "STEERING";
/// Name of the per-CPU array of [`Counter`](crate::tables::Counter)s, indexed by
/// the CPU that packets were steered to.
pub const STEERED_MAP: &str = "STEERED";

/// CPUs of one group.
pub const TARGETS_MAX: usize = 64;

labelled! {
    /// Tunnels that are steered alike.
    Group {
        /// ESP, by SPI.
        Esp = "esp",
        /// ESP in UDP, by SPI.
        NatTEsp = "natt-esp",
        /// GRE, by key or Call ID, or by the flow inside where there is neither.
        Gre = "gre",
        /// WireGuard that is not ours, by receiver index.
        WireGuard = "wireguard",
        /// OpenVPN over UDP, by peer id.
        OpenVpn = "openvpn",
    }
}

impl Group {
    /// The group that packets of `class` belong to. What sets tunnels up, but for
    /// that of WireGuard and OpenVPN, is little and stays where it arrives.
    #[must_use]
    #[inline]
    pub const fn of(class: Class) -> Option<Self> {
        match class {
            Class::Esp => Some(Self::Esp),
            Class::NatTEsp => Some(Self::NatTEsp),
            Class::GreV0 | Class::GreV1 => Some(Self::Gre),
            _ if class.is_wireguard() => Some(Self::WireGuard),
            _ if class.is_openvpn() => Some(Self::OpenVpn),
            _ => None,
        }
    }
}

/// Where the packets of a group go.
///
/// ```text
/// number of CPUs (4) | their numbers (64 × 4)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Steering {
    len: u32,
    cpus: [u32; TARGETS_MAX],
}

const _: () = assert!(size_of::<Steering>() == 4 + 4 * TARGETS_MAX);

impl Steering {
    /// Packets stay where they arrive.
    pub const OFF: Self = Self {
        len: 0,
        cpus: [0; TARGETS_MAX],
    };

    /// Over these CPUs; one that is named twice gets twice as much. `None` if
    /// there are more than [`TARGETS_MAX`].
    #[must_use]
    pub fn over(cpus: &[u32]) -> Option<Self> {
        let mut this = Self::OFF;
        this.cpus.get_mut(..cpus.len())?.copy_from_slice(cpus);
        // Not more than 64.
        this.len = cpus.len() as u32;
        Some(this)
    }

    /// The CPUs.
    #[must_use]
    pub fn cpus(&self) -> &[u32] {
        self.cpus.get(..self.len as usize).unwrap_or(&[])
    }

    /// The CPU for `packet`; `None` if it stays where it is.
    #[must_use]
    #[inline(always)]
    pub fn cpu(&self, packet: &Packet) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        // A fair share of all hashes for each, without a division.
        let place = (u64::from(hash(packet)) * u64::from(self.len)) >> u32::BITS;
        // What is in the map may be anything, and the verifier has to see this.
        if place >= TARGETS_MAX as u64 {
            return None;
        }
        self.cpus.get(place as usize).copied()
    }
}

/// The same number for all packets of a tunnel. Two hosts choose their keys on
/// their own, so it depends on the addresses too; on the ports only if there is no
/// key, as a NAT may change them.
#[must_use]
#[inline(always)]
pub fn hash(packet: &Packet) -> u32 {
    let word = if packet.key == 0 {
        u64::from(packet.source_port) << u32::BITS | u64::from(packet.destination_port) << 48
    } else {
        u64::from(packet.key)
    };
    let [a, b] = halves(&packet.network.source);
    let [c, d] = halves(&packet.network.destination);
    let mut hash = MULTIPLIER;
    for word in [a, b, c, d, word] {
        hash = mix(hash, word);
    }
    // A multiplication carries upwards only: the high half depends on all of it.
    (hash.wrapping_mul(MULTIPLIER) >> u32::BITS) as u32
}

#[cfg(test)]
mod tests;

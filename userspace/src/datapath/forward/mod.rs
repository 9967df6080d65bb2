//! Past the kernel's stack: packets between the LAN side's network cards and the
//! tunnels.
//!
//! ```text
//! into a tunnel    LAN ring ─ Packet ─ hop limit ─▶ as if read from the TUN device
//! out of a tunnel  opened ─▶ Destinations ─ there is a next hop ─▶ LAN ring
//!                                         └ none, or a packet that the kernel has
//!                                           to look at ─▶ TUN device
//! ```
//!
//! Into a tunnel the XDP program has asked the kernel's routing tables for each
//! packet. Out of it control asks them for each destination, when a worker wants
//! to know, and keeps the answer true; until there is one the kernel forwards,
//! which also makes it find out the neighbour's address. The host's firewall and
//! its connection tracking see none of these packets, nor does `rp_filter`.
//!
//! * [`hop`]: a next hop: the Ethernet header and what it takes.
//! * [`packet`]: a packet on its way through this host.
//! * [`destinations`]: what is known, and who asks.

pub mod destinations;
pub mod hop;
pub mod packet;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};

pub use destinations::{Asked, DESTINATIONS_MAX, Destinations};
pub use hop::NextHop;

/// One device's part, shared by control and workers.
#[derive(Debug, Default)]
pub struct Forwarding {
    on: AtomicBool,
    destinations: ArcSwap<Destinations>,
}

impl Forwarding {
    /// Whether packets go past the kernel's stack.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// From now on they do, or do not.
    pub fn set(&self, on: bool) {
        self.on.store(on, Relaxed);
    }

    /// What is known now of where packets out of the tunnel go.
    #[must_use]
    pub fn destinations(&self) -> Guard<Arc<Destinations>> {
        self.destinations.load()
    }

    /// Control knows better.
    pub fn publish(&self, destinations: Destinations) {
        self.destinations.store(Arc::new(destinations));
    }
}

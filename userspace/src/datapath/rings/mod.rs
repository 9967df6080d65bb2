//! AF_XDP in a worker: the rings it owns, and the ways to rings of others.
//!
//! ```text
//! receive   ring ─ frame ─ Arrival ─▶ copied behind each other into a frame of the pool
//!           ─▶ as a batch of a socket
//! transmit  run ─ its peer's Exit ─▶ own ring: headers in front, copied into the UMEM
//!                                 ─▶ ring of another worker: relayed whole
//!                                 ─▶ none: the socket
//! ```
//!
//! * [`ring`]: one queue of a network card.
//! * [`arrival`]: what a received frame says.
//! * [`relay`]: runs handed to the worker that has the ring.
//! * [`stats`]: counters of a ring.

pub mod arrival;
pub mod relay;
pub mod ring;
pub mod stats;

use std::sync::Arc;

use crate::tunnel::time::BootTime;

pub use relay::{Doorbell, RelayInbox, Relayed};
pub use ring::Ring;
pub use stats::{RingStats, RingTotals};

/// How a worker reaches the rings of one network card.
#[derive(Debug)]
pub enum Way {
    /// By a queue of its own.
    Own(Box<Ring>),
    /// By the worker behind this inbox.
    Relay {
        /// The interface.
        ifindex: u32,
        /// Where runs go.
        to: Arc<RelayInbox>,
    },
}

impl Way {
    /// The interface it leads to.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        match self {
            Self::Own(ring) => ring.ifindex(),
            Self::Relay { ifindex, .. } => *ifindex,
        }
    }
}

/// All ways of one worker.
#[derive(Debug, Default)]
pub struct Rings {
    ways: Vec<Way>,
    /// A run that was handed over and found no room yet.
    stuck: Option<Relayed>,
}

impl Rings {
    /// Adds a way; returns the descriptor to wait on.
    pub fn add(&mut self, way: Way) -> Option<i32> {
        let fd = match &way {
            Way::Own(ring) => ring.raw_fd(),
            Way::Relay { .. } => None,
        };
        self.ways.push(way);
        fd
    }

    /// Takes out all ways to a network card.
    pub fn remove(&mut self, ifindex: u32) -> impl Iterator<Item = Way> {
        let of = move |way: &mut Way| way.ifindex() == ifindex;
        self.ways.extract_if(.., of).collect::<Vec<_>>().into_iter()
    }

    /// The way by which packets leave to a network card.
    #[must_use]
    pub fn way(&mut self, ifindex: u32) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.ifindex() == ifindex)
    }

    /// The worker's own rings.
    pub fn own(&mut self) -> impl Iterator<Item = &mut Ring> {
        self.ways.iter_mut().filter_map(|way| match way {
            Way::Own(ring) => Some(&mut **ring),
            Way::Relay { .. } => None,
        })
    }

    /// The worker's own ring number `queue` of a network card.
    pub fn ring(&mut self, ifindex: u32, queue: u32) -> Option<&mut Ring> {
        self.own()
            .find(|ring| (ring.ifindex(), ring.queue()) == (ifindex, queue))
    }

    /// Calls the kernel for all that was put into transmit rings.
    pub fn kick(&mut self, now: BootTime) {
        for ring in self.own() {
            ring.kick(now);
        }
    }

    /// Whether a ring may have something to receive.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        self.own().any(|ring| ring.is_ready())
    }

    /// Whether something waits for room or for another call of the kernel.
    #[must_use]
    pub fn is_waiting(&mut self) -> bool {
        self.stuck.is_some() || self.own().any(|ring| ring.is_pending())
    }

    /// The next run that another worker handed over.
    pub fn next_relayed(&mut self, inbox: &RelayInbox) -> Option<Relayed> {
        self.stuck.take().or_else(|| inbox.pop())
    }

    /// It found no room: it is the next one again.
    pub fn put_back(&mut self, relayed: Relayed) {
        debug_assert!(self.stuck.is_none(), "one at a time");
        self.stuck = Some(relayed);
    }
}

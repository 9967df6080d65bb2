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
use std::time::Duration;

use super::port::Port;
use super::runs::Outside;
use crate::tunnel::time::BootTime;

pub use relay::{Doorbell, Opened, RelayInbox, Relayed};
pub use ring::Ring;
pub use stats::{RingStats, RingTotals};

/// How long a worker sleeps at most while something waits for room.
pub const ROOM_EVERY: Duration = Duration::from_millis(1);
/// Runs of other workers that one turn sends.
pub const RELAYED_PER_TURN: usize = 16;

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
    /// Runs handed over to other workers.
    handed_over: u64,
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

    /// Where packets go that leave by any of these cards, if this worker has not a
    /// ring of each.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Arc<RelayInbox>> {
        self.ways.iter().find_map(|way| match way {
            Way::Own(_) => None,
            Way::Relay { to, .. } => Some(to),
        })
    }

    /// The worker's own ring of a network card.
    pub fn own_of(&mut self, ifindex: u32) -> Option<&mut Ring> {
        self.own().find(|ring| ring.ifindex() == ifindex)
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

    /// Hands a run over to the worker behind `to`.
    ///
    /// # Errors
    /// The run, when as many wait as may.
    #[expect(
        clippy::result_large_err,
        reason = "the run goes back where it came from; a box would be an allocation per run"
    )]
    pub fn hand_over(&mut self, to: &RelayInbox, relayed: Relayed) -> Result<(), Relayed> {
        to.push(relayed)?;
        self.handed_over += 1;
        Ok(())
    }

    /// What went out so far, in whatever units: it tells whether somebody found
    /// room.
    pub fn sent(&mut self) -> u64 {
        let rings = self.own().map(|ring| ring.stats().tx_packets.get());
        rings.sum::<u64>() + self.handed_over
    }

    /// Looks at all rings once more before the worker sleeps.
    pub fn settle(&mut self, now: BootTime) {
        for ring in self.own() {
            ring.settle(now);
        }
    }

    /// How long the worker may sleep at most; none: for ever. Not every driver
    /// tells of room in its ring.
    #[must_use]
    pub fn timeout(&mut self, now: BootTime) -> Option<Duration> {
        let stuck = self.stuck.is_some().then_some(ROOM_EVERY);
        let kicks = self.own().filter_map(|ring| ring.next_kick(now));
        kicks.map(|in_| in_.max(ROOM_EVERY)).chain(stuck).min()
    }

    /// Whether a run that another worker handed over waits for room: those behind
    /// it wait as well.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Sends what other workers sealed for the rings of this one, for whichever of
    /// `ports` it is; at most [`RELAYED_PER_TURN`] runs.
    pub fn serve_inbox(
        &mut self,
        inbox: &RelayInbox,
        ports: &mut [Option<Box<Port>>],
        now: BootTime,
    ) {
        for _ in 0..RELAYED_PER_TURN {
            let Some(relayed) = self.stuck.take().or_else(|| inbox.pop()) else {
                return;
            };
            let tunnel = Arc::clone(&relayed.tunnel);
            let mut ports = ports.iter().flatten();
            let Some(port) = ports.find(|port| Arc::ptr_eq(&port.tunnel, &tunnel)) else {
                relayed.drop_counted();
                continue;
            };
            let mut outside = Outside {
                tunnel: &tunnel,
                sockets: port.sockets.as_ref(),
                rings: self,
                now,
            };
            if let Some(rest) = relayed.send(&mut outside, &port.stats) {
                self.stuck = Some(rest);
                return;
            }
        }
    }
}

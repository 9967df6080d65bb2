//! Workers that open packets for each other.
//!
//! A tunnel is one flow outside: all of its packets come to one worker, by one
//! socket or one queue of a network card. Where that has more than it can open at
//! once, those that have nothing of their own to do take frames off it, whole. The
//! peer's lane keeps the order: who opened what, and when it was done, does not show.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::ArrayQueue;

use super::frames::Frame;
use super::inbound::Job;
use super::lane::{Ticket, Turn};
use super::port::Tunnel;
use super::rings::Doorbell;
use super::stats::WorkerStats;
use crate::drops::DropReason;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::keypair::Keypair;
use crate::tunnel::messages::DATA_HEADER_LEN;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::Ecn;

/// Frames that may wait for one helper: one that it works on comes behind another
/// that is on its way.
pub(super) const WAITING_MAX: usize = 2;
/// Workers from which on they help each other. Of two, the other one's processor has
/// the rest of the machine to itself, and a tunnel at full load was slower for it.
const WORKERS_MIN: usize = 3;
/// Bytes that are worth a helper: to open them takes several times as long as to
/// wake a thread.
const WORTH: usize = 16 * 1024;

/// Sealed packets of one keypair in a frame, and their place in the peer's lane.
#[derive(Debug)]
pub struct Sealed {
    pub(super) frame: Frame,
    /// Bytes of the packets.
    pub(super) bytes: usize,
    pub(super) keypair: Arc<Keypair>,
    pub(super) cell: Arc<PeerCell>,
    pub(super) ticket: Ticket<Job>,
    pub(super) from: Endpoint,
    pub(super) ecn: Ecn,
}

impl Sealed {
    /// Opens the packets in place and hands them in.
    #[must_use = "whoever gets the turn must deliver"]
    pub(super) fn open(mut self, stats: &WorkerStats, now: BootTime) -> Option<Turn<Job>> {
        let (bytes, packets) = self.frame.parts_mut();
        let together = packets.len() as u64;
        stats.open_batch.observe(together);
        let clock = stats.open_time.start();
        packets.retain_mut(|packet| {
            let sealed = &mut bytes[packet.at..packet.at + packet.len];
            match self.keypair.open(now, sealed) {
                Ok(opened) => {
                    packet.at += DATA_HEADER_LEN;
                    packet.len = opened.len;
                    packet.counter = opened.counter;
                    true
                }
                Err(reason) => {
                    stats.drops.count(reason);
                    false
                }
            }
        });
        stats.open_time.stop(clock, together);
        if packets.is_empty() {
            return self.ticket.skip();
        }
        self.ticket.complete(Job {
            frame: self.frame,
            keypair: self.keypair,
            cell: self.cell,
            from: self.from,
            ecn: self.ecn,
        })
    }
}

/// A frame that another worker received, and for which device.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sealed: Sealed,
    pub(super) tunnel: Arc<Tunnel>,
}

impl Asked {
    /// Counts the packets as lost: the device has no queue here.
    pub(super) fn drop_counted(self) {
        let packets = self.sealed.frame.packets().len() as u64;
        self.tunnel.drops.add(DropReason::TunError, packets);
    }
}

#[derive(Debug)]
struct Member {
    asked: ArrayQueue<Asked>,
    bell: OnceLock<Arc<Doorbell>>,
    /// It has nothing of its own to do.
    free: AtomicBool,
}

/// All workers.
#[derive(Debug)]
pub struct Team(Box<[Member]>);

impl Team {
    /// A team of so many, who join one by one.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        let member = |_| Member {
            asked: ArrayQueue::new(WAITING_MAX),
            bell: OnceLock::new(),
            free: AtomicBool::new(false),
        };
        Arc::new(Self((0..workers).map(member).collect()))
    }
}

/// A worker's place in its team.
#[derive(Debug)]
pub struct Membership {
    team: Arc<Team>,
    index: usize,
}

impl Membership {
    /// Of worker number `index`, who wakes up by this bell.
    #[must_use]
    pub fn new(team: &Arc<Team>, index: usize, bell: &Arc<Doorbell>) -> Self {
        if let Some(member) = team.0.get(index) {
            let _ = member.bell.set(Arc::clone(bell));
        }
        Self {
            team: Arc::clone(team),
            index,
        }
    }

    /// Whether this worker takes frames of others from now on.
    pub fn set_free(&self, free: bool) {
        if let Some(me) = self.team.0.get(self.index) {
            me.free.store(free, Relaxed);
        }
    }

    /// Gives the frame to the member who is free and has the least to do.
    ///
    /// # Errors
    /// The frame, if it is not worth it or nobody takes it.
    #[expect(
        clippy::result_large_err,
        reason = "the frame goes back where it came from; a box would be an allocation"
    )]
    pub(super) fn ask(&self, sealed: Sealed, tunnel: &Arc<Tunnel>) -> Result<(), Sealed> {
        if sealed.bytes < WORTH || self.team.0.len() < WORKERS_MIN {
            return Err(sealed);
        }
        let others = self.team.0.iter().enumerate();
        let helper = others
            .filter(|(at, member)| *at != self.index && member.free.load(Relaxed))
            .map(|(_, member)| member)
            .min_by_key(|member| member.asked.len());
        let Some((helper, bell)) = helper.and_then(|helper| Some((helper, helper.bell.get()?)))
        else {
            return Err(sealed);
        };
        let tunnel = Arc::clone(tunnel);
        helper
            .asked
            .push(Asked { sealed, tunnel })
            .map_err(|refused| refused.sealed)?;
        if let Err(error) = bell.ring() {
            tracing::error!(event = "worker_not_woken", %error, "cannot wake a worker");
        }
        Ok(())
    }

    /// Whether nobody asks this worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let me = self.team.0.get(self.index);
        me.is_none_or(|me| me.asked.is_empty())
    }

    /// The frame that waits longest for this worker.
    pub(super) fn next(&self) -> Option<Asked> {
        self.team.0.get(self.index)?.asked.pop()
    }
}

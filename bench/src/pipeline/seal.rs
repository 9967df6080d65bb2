//! A worker's way out: read by read from a TUN device into runs of sealed packets.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::offload::VNET_LEN;
use ringtun::datapath::port::Tunnel;
use ringtun::datapath::runs::Runs;
use ringtun::datapath::sealer::{Batch, Sealer};
use ringtun::datapath::stats::WorkerStats;
use ringtun::datapath::worker::FRAMES;
use ringtun::drops::DropReason;
use ringtun::net::clock;
use ringtun::tunnel::messages::DataHeader;
use ringtun::tunnel::owners::Owners;

use super::packets::{self, of_pass};
use crate::pass::Part;
use crate::wireguard::Session;

/// Reads of a TUN queue before a worker sends what it sealed.
const READS_PER_ROUND: usize = 16;

/// What the threads of one pass sealed, to be looked at afterwards: thread, then datagrams with
/// the bytes of each packet, in the order in which they leave.
type Sealed = Arc<Mutex<Vec<(usize, Vec<u8>, usize)>>>;

/// One worker that seals.
pub struct Seal {
    tunnel: Arc<Tunnel>,
    stats: Arc<WorkerStats>,
    frames: Arc<FramePool>,
    runs: Runs,
    read: Vec<u8>,
    thread: usize,
    packets: usize,
    number: u64,
    /// Of the last packet that left.
    counter: Option<u64>,
    checks: Checks,
}

/// What the first pass sealed, and what is asserted in all of them.
#[derive(Clone, Default)]
pub struct Checks {
    first: Sealed,
    failed: Arc<Mutex<Option<String>>>,
    stats: Vec<Arc<WorkerStats>>,
}

impl Seal {
    /// Worker number `thread`, for packets of `size` bytes to peer number `peer`.
    pub fn new(tunnel: &Arc<Tunnel>, size: usize, peer: usize, thread: usize) -> Seal {
        let packet = packets::packet(size, packets::GATEWAY, packets::inner(peer), thread);
        Seal {
            tunnel: Arc::clone(tunnel),
            stats: Arc::default(),
            frames: FramePool::new(FRAMES),
            runs: Runs::default(),
            read: packets::read(&packet),
            thread,
            packets: of_pass(size),
            number: 0,
            counter: None,
            checks: Checks::default(),
        }
    }

    /// One round of a worker.
    fn round(&mut self, reads: usize) {
        let now = clock::boot();
        let snapshot = self.tunnel.shared.snapshot();
        let owners = Owners::new(&snapshot);
        let mut sealer = Sealer::new(Batch {
            tunnel: &self.tunnel,
            owners: &owners,
            stats: &self.stats,
            frames: &self.frames,
            now,
        });
        for _ in 0..reads {
            packets::set_number(&mut self.read[VNET_LEN..], self.number);
            self.number += 1;
            sealer.seal(&mut self.read, &mut self.runs);
        }
        let is_first = self.number <= self.packets as u64;
        let (counter, checks, thread) = (&mut self.counter, &self.checks, self.thread);
        self.runs.take(|_, _, bytes, segment| {
            black_box(bytes);
            for packet in bytes.chunks(segment) {
                let this = DataHeader::read(packet).map(|header| header.counter);
                if this <= *counter {
                    checks.fail("counters do not go up");
                }
                *counter = this;
            }
            if is_first {
                checks.keep(thread, bytes, segment);
            }
        });
    }
}

impl Part for Seal {
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn run(&mut self) {
        let mut left = self.packets;
        while left > 0 {
            let reads = left.min(READS_PER_ROUND);
            self.round(reads);
            left -= reads;
        }
    }
}

impl Checks {
    /// Looks at what these workers do from now on.
    pub fn of(workers: &mut [Seal]) -> Checks {
        let checks = Checks {
            stats: workers.iter().map(|w| Arc::clone(&w.stats)).collect(),
            ..Checks::default()
        };
        for worker in workers {
            worker.checks = checks.clone();
        }
        checks
    }

    fn keep(&self, thread: usize, bytes: &[u8], segment: usize) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.push((thread, bytes.to_vec(), segment));
    }

    fn fail(&self, why: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert_with(|| why.to_owned());
    }

    /// Opens what the first pass sealed: each packet once, under a counter of its own, and each
    /// thread's in their order. `peer_of` gives the peer of each thread.
    pub fn conclude(
        &self,
        size: usize,
        sessions: &[Arc<Session>],
        peer_of: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(failed.is_none(), "{failed:?}");
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counters: Vec<Vec<u64>> = vec![Vec::new(); sessions.len()];
        let mut next = vec![0; self.stats.len()];
        for (thread, bytes, segment) in &*first {
            let peer = peer_of(*thread);
            for packet in bytes.clone().chunks_mut(*segment) {
                let (counter, text) = sessions[peer].open(packet)?;
                counters[peer].push(counter);
                let (owner, number) = packets::numbered(text)?;
                ensure!(
                    owner == *thread,
                    "a packet of thread {owner}, sent by {thread}"
                );
                ensure!(
                    number == next[owner],
                    "{number} in place of {}",
                    next[owner]
                );
                next[owner] += 1;
            }
        }
        let all = next.iter().all(|next| *next == of_pass(size) as u64);
        ensure!(all, "packets of each thread: {next:?}");
        for counters in &mut counters {
            let sealed = counters.len();
            counters.sort_unstable();
            counters.dedup();
            ensure!(counters.len() == sealed, "a counter was used twice");
        }
        for stats in &self.stats {
            let lost = DropReason::ALL.iter().find(|r| stats.drops.get(**r) > 0);
            ensure!(lost.is_none(), "packets were dropped: {lost:?}");
        }
        first.first().context("nothing was sealed").map(drop)
    }
}

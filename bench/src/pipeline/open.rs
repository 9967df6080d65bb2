//! A worker's way in: datagrams sorted, opened, put in order, checked, delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ringtun::datapath::frames::{Frame, FramePool};
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::{Datagram, Inbound, Job};
use ringtun::datapath::port::Tunnel;
use ringtun::datapath::stats::WorkerStats;
use ringtun::datapath::worker::FRAMES;
use ringtun::drops::DropReason;
use ringtun::net::clock;
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::messages::DATA_HEADER_LEN;
use ringtun::tunnel::transport::Ecn;

use super::Connected;
use super::packets::{self, DATAGRAMS, of_datagram, of_pass, sealed};
use crate::pass::Part;
use crate::wireguard::Session;

/// One worker that opens what its own queue of a network card received.
pub struct Open {
    tunnel: Arc<Tunnel>,
    stats: Arc<WorkerStats>,
    frames: Arc<FramePool>,
    inbound: Inbound,
    received: Vec<Frame>,
    datagram: Datagram,
    session: Arc<Session>,
    packet: Vec<u8>,
    number: u64,
    delivered: Arc<Delivered>,
}

/// What was delivered, by any thread: of each thread's packets, which is to come next.
#[derive(Default)]
struct Delivered {
    next: [AtomicU64; 2],
    disordered: AtomicBool,
}

/// What is asserted in all passes.
pub struct Checks {
    delivered: Arc<Delivered>,
    workers: Vec<(Arc<WorkerStats>, Arc<FramePool>)>,
}

impl Open {
    /// Worker number `thread`, for packets of `size` bytes of peer number `peer`.
    pub fn new(
        tunnel: &Arc<Tunnel>,
        size: usize,
        (peer, far): (usize, &Connected),
        thread: usize,
    ) -> Open {
        let frames = FramePool::new(FRAMES);
        let len = of_datagram(size) * sealed(size);
        Open {
            tunnel: Arc::clone(tunnel),
            stats: Arc::default(),
            inbound: Inbound::new(Arc::clone(&frames), Queues::new(1)),
            frames,
            received: Vec::with_capacity(DATAGRAMS),
            datagram: Datagram {
                from: Endpoint::new(far.address),
                ecn: Ecn::NotEct,
                len,
                segment: sealed(size),
            },
            session: Arc::clone(&far.session),
            packet: packets::packet(size, packets::inner(peer), packets::GATEWAY, thread),
            number: 0,
            delivered: Arc::default(),
        }
    }
}

#[cfg(test)]
impl Open {
    /// As a network that does not keep order.
    pub fn swap_two_datagrams(&mut self) {
        self.received.swap(0, 1);
    }
}

impl Part for Open {
    /// What the kernel does: fills frames.
    fn prepare(&mut self) -> Result<()> {
        let Datagram { len, segment, .. } = self.datagram;
        for _ in 0..DATAGRAMS {
            let mut frame = self.frames.take().context("a frame was lost")?;
            // One datagram after the other, as both threads' come in.
            let first = self.session.reserve((len / segment) as u64);
            let packets = frame.bytes_mut()[..len].chunks_exact_mut(segment);
            for (counter, sealed) in (first..).zip(packets) {
                let text = &mut sealed[DATA_HEADER_LEN..][..self.packet.len()];
                text.copy_from_slice(&self.packet);
                packets::set_number(text, self.number);
                self.session.seal(counter, sealed);
                self.number += 1;
            }
            self.received.push(frame);
        }
        Ok(())
    }

    fn run(&mut self) {
        let now = clock::boot();
        for frame in self.received.drain(..) {
            let (tunnel, stats) = (&self.tunnel, &self.stats);
            self.inbound.sort(tunnel, stats, frame, &self.datagram, now);
        }
        let delivered = &self.delivered;
        let take = |jobs: &mut Vec<Job>| jobs.iter().for_each(|job| delivered.take(job));
        while !self.inbound.deliver(&self.tunnel, &self.stats, now, take) {}
    }
}

impl Delivered {
    /// One batch of a peer. Only the thread that has the peer's turn is here, so that loads and
    /// stores do.
    fn take(&self, job: &Job) {
        let mut packets = job.packets().map(packets::numbered);
        let Some(Ok((thread, first))) = packets.next() else {
            return self.disordered.store(true, Relaxed);
        };
        let mut next = first + 1;
        let mut in_order = first == self.next[thread].load(Relaxed);
        for packet in packets {
            in_order &= packet.is_ok_and(|packet| packet == (thread, next));
            next += 1;
        }
        if !in_order {
            self.disordered.store(true, Relaxed);
        }
        self.next[thread].store(next, Relaxed);
    }
}

impl Checks {
    /// Looks at what these workers do from now on.
    pub fn of(workers: &mut [Open]) -> Checks {
        let delivered = Arc::new(Delivered::default());
        for worker in &mut *workers {
            worker.delivered = Arc::clone(&delivered);
        }
        let workers = workers
            .iter()
            .map(|w| (Arc::clone(&w.stats), Arc::clone(&w.frames)));
        Checks {
            delivered,
            workers: workers.collect(),
        }
    }

    /// In all passes: each packet delivered once, each thread's in their order, no frame lost.
    pub fn conclude(&self, size: usize, passes: usize) -> Result<()> {
        let disordered = self.delivered.disordered.load(Relaxed);
        ensure!(
            !disordered,
            "packets were not delivered in the order of their arrival"
        );
        let expected = (passes * of_pass(size)) as u64;
        for (thread, (stats, frames)) in self.workers.iter().enumerate() {
            let lost = DropReason::ALL.iter().find(|r| stats.drops.get(**r) > 0);
            ensure!(lost.is_none(), "packets were dropped: {lost:?}");
            let delivered = self.delivered.next[thread].load(Relaxed);
            ensure!(
                delivered == expected,
                "{delivered} packets of thread {thread} were delivered, not {expected}"
            );
            let outstanding = frames.outstanding();
            ensure!(outstanding == 0, "{outstanding} frames were lost");
        }
        Ok(())
    }
}

//! What came in, sorted by whom it concerns, and opened: here, or by another worker.

use std::sync::Arc;

use super::frames::{Frame, FramePool, Packet};
use super::handshakes::{Incoming, Queues};
use super::inbound::Job;
use super::lane::{Ticket, Turn};
use super::path::Path;
use super::port::Tunnel;
use super::stats::WorkerStats;
use super::team::{Membership, Sealed};
use crate::drops::DropReason;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::keypair::Keypair;
use crate::tunnel::messages::Message;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::Ecn;

/// One datagram, or several of one size that the kernel coalesced.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Who sent it, and which of our addresses was spoken to.
    pub from: Endpoint,
    /// The congestion mark of the outer header.
    pub ecn: Ecn,
    /// Bytes in the frame.
    pub len: usize,
    /// Bytes of each packet but the last, which may be shorter; not zero.
    pub segment: usize,
}

/// How a frame's bytes are divided into packets.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    /// `len` bytes, each packet of `segment`, the last perhaps shorter.
    Equal { len: usize, segment: usize },
    /// Each ends where it is told here, in ascending order.
    Each(&'a [usize]),
}

impl Parts<'_> {
    fn is_empty(self) -> bool {
        matches!(self, Self::Equal { len: 0, .. } | Self::Each([]))
    }

    /// The end of packet number `n`, which begins at `at`.
    fn end(self, n: usize, at: usize) -> Option<usize> {
        match self {
            Self::Equal { len, segment } => (at < len).then(|| (at + segment).min(len)),
            Self::Each(ends) => ends.get(n).copied(),
        }
    }
}

/// Packets in their frame, and all that sorting them takes.
pub(super) struct Arrival<'a> {
    pub(super) tunnel: &'a Arc<Tunnel>,
    pub(super) stats: &'a WorkerStats,
    pub(super) from: Endpoint,
    pub(super) ecn: Ecn,
    pub(super) parts: Parts<'a>,
    pub(super) now: BootTime,
    /// Who may open it in place of this worker; none while that keeps up.
    pub(super) team: Option<&'a Membership>,
}

impl Arrival<'_> {
    /// Sorts the frame's packets: handshake messages to their queue, data into
    /// jobs by keypair. Almost always that is one job, in the frame itself. Packets
    /// of another keypair (a rekey in the middle, or somebody's mischief) are copied
    /// to a frame of their own, so that the work stays linear in the bytes.
    pub(super) fn sort(
        &self,
        mut frame: Frame,
        frames: &Arc<FramePool>,
        queues: &Queues,
        turns: &mut Vec<Turn<Job>>,
    ) {
        let mut home: Option<Run> = None;
        let mut guest: Option<(Frame, usize, Run)> = None;
        let (mut number, mut at) = (0, 0);
        if self.parts.is_empty() {
            self.stats.drops.count(DropReason::Malformed);
        }
        while let Some(end) = self.parts.end(number, at) {
            number += 1;
            let (bytes, packets) = frame.parts_mut();
            let packet = &mut bytes[at..end];
            at = end;
            let index = match Message::parse(packet) {
                Ok(Message::Data(header)) => header.receiver,
                Ok(_) => {
                    self.handshake(packet, queues);
                    continue;
                }
                Err(reason) => {
                    self.stats.drops.count(reason);
                    continue;
                }
            };
            self.stats.outer_rx_packets.add(1);
            self.stats.outer_rx_bytes.add(packet.len() as u64);
            if let Some(run) = home.as_mut().filter(|r| r.is_for(index)) {
                run.add(packet.len(), at - packet.len(), packets);
                continue;
            }
            if home.is_none() {
                home = self.enter(index);
                if let Some(run) = &mut home {
                    run.add(packet.len(), at - packet.len(), packets);
                }
                continue;
            }
            if !guest.as_ref().is_some_and(|(_, _, r)| r.is_for(index)) {
                self.finish_guest(guest.take(), turns);
                guest = self.enter(index).and_then(|run| {
                    let Some(frame) = frames.take() else {
                        self.stats.drops.count(DropReason::NoFrame);
                        turns.extend(run.ticket.skip());
                        return None;
                    };
                    Some((frame, 0, run))
                });
            }
            if let Some((frame, used, run)) = &mut guest {
                let (bytes, packets) = frame.parts_mut();
                let copy = &mut bytes[*used..*used + packet.len()];
                copy.copy_from_slice(packet);
                run.add(packet.len(), *used, packets);
                *used += packet.len();
            }
        }
        if let Some(run) = home {
            turns.extend(run.finish(self, frame));
        }
        self.finish_guest(guest, turns);
    }

    fn finish_guest(&self, guest: Option<(Frame, usize, Run)>, turns: &mut Vec<Turn<Job>>) {
        if let Some((frame, _, run)) = guest {
            turns.extend(run.finish(self, frame));
        }
    }

    fn handshake(&self, message: &[u8], queues: &Queues) {
        match Incoming::new(self.tunnel, self.from, message) {
            Some(incoming) => queues.receive(incoming, &self.stats.drops),
            None => self.stats.drops.count(DropReason::Malformed),
        }
    }

    /// A place in the lane of the peer that holds `index`, or counts why not.
    fn enter(&self, index: u32) -> Option<Run> {
        let Some(keypair) = self.tunnel.shared.session(index) else {
            self.stats.drops.count(DropReason::UnknownIndex);
            return None;
        };
        let Some(cell) = keypair.peer() else {
            self.stats.drops.count(DropReason::UnknownIndex);
            return None;
        };
        let Some(ticket) = Path::of(&cell).lane.enter() else {
            self.stats.drops.count(DropReason::LaneFull);
            return None;
        };
        Some(Run {
            keypair,
            cell,
            ticket,
            bytes: 0,
        })
    }
}

/// The packets of one keypair within one arrival.
struct Run {
    keypair: Arc<Keypair>,
    cell: Arc<PeerCell>,
    ticket: Ticket<Job>,
    bytes: usize,
}

impl Run {
    fn is_for(&self, index: u32) -> bool {
        self.keypair.local_index() == index
    }

    /// Notes where a packet lies.
    fn add(&mut self, len: usize, at: usize, packets: &mut Vec<Packet>) {
        self.bytes += len;
        packets.push(Packet {
            at,
            len,
            counter: 0,
        });
    }

    fn finish(self, arrival: &Arrival<'_>, frame: Frame) -> Option<Turn<Job>> {
        let mut sealed = Sealed {
            frame,
            bytes: self.bytes,
            keypair: self.keypair,
            cell: self.cell,
            ticket: self.ticket,
            from: arrival.from,
            ecn: arrival.ecn,
        };
        if let Some(team) = arrival.team {
            match team.ask(sealed, arrival.tunnel) {
                Ok(()) => return None,
                Err(back) => sealed = back,
            }
        }
        sealed.open(arrival.stats, arrival.now)
    }
}

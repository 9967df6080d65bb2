//! Packets of one batch, for whichever peers: segmented, sealed and put into runs.

use std::sync::Arc;

use super::flow::{Closed, Flow};
use super::forward;
use super::frames::FramePool;
use super::histogram::BatchTimes;
use super::mss;
use super::offload::Segmenter;
use super::port::Tunnel;
use super::runs::Runs;
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Open, Side, Size, Who};
use crate::crypto::aead::TAG_LEN;
use crate::drops::DropReason;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::keypair::padded_len;
use crate::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN};
use crate::tunnel::owners::Owners;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::{Amount, Ecn};

/// What sealing needs to know, for one batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The device.
    pub tunnel: &'a Tunnel,
    /// Whose addresses are, by its configuration of this moment.
    pub owners: &'a Owners<'a>,
    /// Where to count.
    pub stats: &'a WorkerStats,
    /// Where sealed packets go.
    pub frames: &'a Arc<FramePool>,
    /// The time of the batch.
    pub now: BootTime,
}

/// Seals the packets of one batch. What was sealed for a peer is stamped and counted
/// when the next packet is another peer's, or by [`Self::report`].
#[derive(Debug)]
pub struct Sealer<'a> {
    batch: Batch<'a>,
    /// To the peer of the last packet.
    flow: Option<Flow<'a>>,
}

impl<'a> Sealer<'a> {
    /// Nothing is sealed yet.
    #[must_use]
    pub const fn new(batch: Batch<'a>) -> Self {
        Self { batch, flow: None }
    }

    /// Stamps and counts what was sealed. Before it is sent: an answer may be here, on
    /// another worker, before the call that sends is over, and a stamp behind it would
    /// say that it is still awaited.
    pub fn report(&mut self) {
        self.flow = None;
    }

    /// Seals what one read of the TUN device gave, vnet header first, into runs.
    pub fn seal(&mut self, read: &mut [u8], runs: &mut Runs) {
        let stats = self.batch.stats;
        match Segmenter::new(read) {
            Ok(segments) => {
                stats.seal_batch.observe(segments.remaining() as u64);
                self.seal_segments(segments, runs, Some(&stats.seal_time));
            }
            Err(reason) => stats.drops.count(reason),
        }
    }

    /// Seals one packet that came past the TUN device, into a run.
    pub fn seal_forwarded(&mut self, packet: &mut [u8], runs: &mut Runs) {
        let stats = self.batch.stats;
        let header = forward::packet::vnet_header(packet);
        match Segmenter::with_header(&header, packet) {
            Ok(segments) => {
                stats.forwarded_tx_packets.add(1);
                // Nothing is timed here: this is called for each packet.
                self.seal_segments(segments, runs, None);
            }
            Err(reason) => stats.drops.count(reason),
        }
    }

    fn seal_segments(
        &mut self,
        mut segments: Segmenter<'_>,
        runs: &mut Runs,
        times: Option<&BatchTimes>,
    ) {
        let batch = self.batch;
        let drops = &batch.stats.drops;
        if let Some(packet) = segments.single_mut() {
            mss::clamp(packet, batch.tunnel.mss_limits().as_ref(), batch.stats);
        }
        let packets = segments.remaining() as u64;
        batch.stats.inner_tx_packets.add(packets);
        let Some(cell) = batch.owners.of_destination(segments.packet()) else {
            tap_rest(batch.tap(Who::Nobody, &segments), &mut segments);
            return drops.add(DropReason::NoPeerForDestination, packets);
        };
        let flow = match self.flow_to(cell) {
            Ok(flow) => flow,
            Err(Closed::NoEndpoint) => {
                tap_rest(batch.tap(Who::Peer(cell), &segments), &mut segments);
                return drops.add(DropReason::NoEndpoint, packets);
            }
            Err(Closed::NoKey) => return batch.stage(cell, &mut segments),
        };
        if !cell.staged.is_empty() && !batch.flush_staged(flow, runs) {
            return batch.stage(cell, &mut segments);
        }
        let Ok(mut counter) = flow.counters(packets) else {
            self.flow = None;
            return batch.stage(cell, &mut segments);
        };
        let (to, keypair) = (flow.to(), flow.keypair());
        let ecn = Ecn::of_packet(segments.packet());
        let mtu = batch.tunnel.mtu();
        let mut outer = Amount::default();
        let clock = times.and_then(BatchTimes::start);
        let mut tap = batch.tap(Who::Peer(cell), &segments);
        while let Some(len) = segments.next_len() {
            let sealed = padded_len(len, mtu) + KEEPALIVE_LEN;
            let Some(slot) = runs.slot(batch.frames, cell, &to, ecn, sealed) else {
                drops.add(DropReason::NoFrame, segments.remaining() as u64);
                tap_rest(tap.take(), &mut segments);
                break;
            };
            if segments.write_next(&mut slot[DATA_HEADER_LEN..]).is_none() {
                unreachable!("a segment is as long as it said");
            }
            if let Some(tap) = &mut tap {
                tap.push(&slot[DATA_HEADER_LEN..][..len]);
            }
            slot[DATA_HEADER_LEN + len..sealed - TAG_LEN].fill(0);
            keypair.seal(counter, slot);
            counter += 1;
            outer.add(sealed as u64);
        }
        if let Some(times) = times {
            times.stop(clock, outer.packets);
        }
        flow.sealed(outer);
    }

    /// The flow to this peer: that of the last packet, mostly.
    #[inline]
    fn flow_to(&mut self, cell: &'a Arc<PeerCell>) -> Result<&mut Flow<'a>, Closed> {
        let same = self
            .flow
            .as_ref()
            .is_some_and(|flow| Arc::ptr_eq(flow.cell(), cell));
        if !same {
            self.report();
            self.flow = Some(Flow::open(cell, self.batch.now)?);
        }
        self.flow.as_mut().ok_or(Closed::NoKey)
    }
}

impl Batch<'_> {
    /// For what was read from the TUN device and is still to be cut.
    fn tap(&self, who: Who<'_>, segments: &Segmenter<'_>) -> Option<Open> {
        let about = || {
            let packets = segments.remaining();
            // Each segment has headers of its own, mostly of IPv6 and TCP at most.
            let bytes = segments.packet().len() + packets.saturating_sub(1) * 80;
            (Link::Ip, Size { packets, bytes })
        };
        let taps = &self.tunnel.taps;
        taps.open(Side::Inner, Direction::Out, who, about)
    }

    /// Keeps packets until the peer's handshake is done. Off the fast path: this
    /// allocates, at most 128 packets per peer.
    fn stage(&self, cell: &Arc<PeerCell>, segments: &mut Segmenter<'_>) {
        let mut tap = self.tap(Who::Peer(cell), segments);
        while let Some(len) = segments.next_len() {
            let mut packet = vec![0; len].into_boxed_slice();
            if segments.write_next(&mut packet).is_none() {
                break;
            }
            if let Some(tap) = &mut tap {
                tap.push(&packet);
            }
            if cell.stage(packet).is_some() {
                self.stats.drops.count(DropReason::StagedOverflow);
            }
        }
        cell.want_handshake(self.now);
        // Control marks a removed peer before it takes what is staged there: one
        // of the two sees these packets.
        if cell.is_removed() {
            let lost = cell.take_staged().len() as u64;
            self.stats.drops.add(DropReason::StagedPurged, lost);
        }
    }

    /// Seals what waited for the handshake, ahead of what came later. False if
    /// not all of it found room among the runs; the rest waits on, for control.
    fn flush_staged(&self, flow: &mut Flow<'_>, runs: &mut Runs) -> bool {
        let mtu = self.tunnel.mtu();
        let drops = &self.stats.drops;
        let (cell, to) = (flow.cell(), flow.to());
        let mut outer = Amount::default();
        let mut waiting = cell.take_staged();
        while let Some(packet) = waiting.pop_front() {
            let sealed = padded_len(packet.len(), mtu) + KEEPALIVE_LEN;
            let ecn = Ecn::of_packet(&packet);
            let counter = match flow.counters(1) {
                Ok(counter) => counter,
                Err(error) => {
                    drops.count(error.into());
                    continue;
                }
            };
            let Some(slot) = runs.slot(self.frames, cell, &to, ecn, sealed) else {
                waiting.push_front(packet);
                break;
            };
            let (text, padding) =
                slot[DATA_HEADER_LEN..sealed - TAG_LEN].split_at_mut(packet.len());
            text.copy_from_slice(&packet);
            padding.fill(0);
            flow.keypair().seal(counter, slot);
            outer.add(sealed as u64);
        }
        flow.sealed(outer);
        let all = waiting.is_empty();
        for packet in waiting {
            if cell.stage(packet).is_some() {
                drops.count(DropReason::StagedOverflow);
            }
        }
        all
    }
}

/// Copies what goes no further, too: a capture shows why.
fn tap_rest(tap: Option<Open>, segments: &mut Segmenter<'_>) {
    let Some(mut tap) = tap else { return };
    let mut packet = Vec::new();
    while let Some(len) = segments.next_len() {
        packet.resize(len, 0);
        if segments.write_next(&mut packet).is_none() {
            return;
        }
        tap.push(&packet);
    }
}

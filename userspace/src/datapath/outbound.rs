//! From the TUN device to the outer side: route, segment, seal, send.

use std::sync::Arc;

use super::forward;
use super::frames::{FRAME_LEN, FramePool};
use super::histogram::BatchTimes;
use super::mss;
use super::offload::Segmenter;
use super::port::{Port, Tunnel};
use super::rings::{Ring, Rings};
use super::runs::{Blocked, Runs};
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Open, Side, Size, Who};
use crate::crypto::aead::TAG_LEN;
use crate::drops::DropReason;
use crate::net::tun;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::keypair::{Keypair, SealError, padded_len};
use crate::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN};
use crate::tunnel::owners::Owners;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::{self, Amount, Ecn};
use crate::xsk::Frame;

/// Reads from one TUN queue before the other sources get their turn.
const READS_PER_ROUND: usize = 16;

/// A worker's outbound side. Runs that met a full send buffer stay with their
/// port; everything else is scratch.
#[derive(Debug)]
pub struct Outbound {
    frames: Arc<FramePool>,
    read: Box<[u8]>,
}

impl Outbound {
    /// An outbound side that seals into frames of this pool.
    #[must_use]
    pub fn new(frames: Arc<FramePool>) -> Self {
        Self {
            frames,
            read: vec![0; FRAME_LEN].into_boxed_slice(),
        }
    }

    /// Serves the port's TUN queue once: at most [`READS_PER_ROUND`] reads. What
    /// went to a ring leaves with its next [`kick`](Rings::kick).
    pub fn serve(&mut self, port: &mut Port, rings: &mut Rings, now: BootTime) {
        if port.blocked == Blocked::Ring {
            port.blocked = Blocked::No;
        }
        if !port.runs.is_empty() && port.blocked == Blocked::No {
            port.send_runs(rings, now);
        }
        if !port.tun_ready || port.blocked != Blocked::No {
            return;
        }
        let (tunnel, stats) = (Arc::clone(&port.tunnel), Arc::clone(&port.stats));
        let snapshot = tunnel.shared.snapshot();
        let owners = Owners::new(&snapshot);
        let sealer = Sealer {
            tunnel: &tunnel,
            owners: &owners,
            stats: &stats,
            frames: &self.frames,
            now,
        };
        for _ in 0..READS_PER_ROUND {
            match port.tun.read(&mut self.read) {
                Ok(Some(len)) => {
                    port.stats.tun_reads.add(1);
                    let packet = &mut self.read[..len];
                    sealer.seal(packet, &mut port.runs);
                }
                Ok(None) => {
                    port.tun_ready = false;
                    break;
                }
                Err(error) if tun::is_gone(&error) => {
                    port.gone = true;
                    break;
                }
                Err(error) => {
                    tracing::warn!(event = "tun_read_failed", %error, device = tunnel.name, "reading the TUN device");
                    port.tun_ready = false;
                    break;
                }
            }
            if port.runs.is_filling() {
                port.send_runs(rings, now);
                if port.blocked != Blocked::No {
                    return;
                }
            }
        }
        port.send_runs(rings, now);
    }

    /// Serves a LAN ring once: at most [`BATCH`](super::rings::ring::BATCH) packets,
    /// for whichever of the worker's devices they are. False if there is no room
    /// outside and they have to wait in the ring.
    pub fn serve_lan(
        &mut self,
        ring: &mut Ring,
        ports: &mut [Option<Box<Port>>],
        rings: &mut Rings,
        now: BootTime,
    ) -> bool {
        if ports.iter().flatten().any(|port| port.holds_clients()) {
            return false;
        }
        let mut frames = ring.receive();
        let bytes: usize = frames.iter().map(|frame| frame.packet().len()).sum();
        let mut batch = frames.as_mut_slice();
        while !batch.is_empty() {
            let device = device_of(&batch[0], ports);
            let taken = match device.and_then(|at| ports[at].as_deref_mut()) {
                Some(port) => self.seal_frames(batch, port, rings, now),
                None => 0,
            };
            if taken == 0 {
                ring.stats().stray.add(1);
            }
            batch = &mut batch[taken.max(1)..];
        }
        frames.drain(..).for_each(|frame| ring.free(frame));
        ring.stats().rx_bytes.add(bytes as u64);
        ring.refill(frames, now);
        for port in ports.iter_mut().flatten() {
            if !port.runs.is_empty() && port.blocked == Blocked::No {
                port.send_runs(rings, now);
            }
        }
        true
    }

    /// Seals the packets of these frames, as long as they are for a peer of the
    /// device; how many.
    fn seal_frames(
        &self,
        batch: &mut [Frame],
        port: &mut Port,
        rings: &mut Rings,
        now: BootTime,
    ) -> usize {
        let (tunnel, stats) = (Arc::clone(&port.tunnel), Arc::clone(&port.stats));
        let snapshot = tunnel.shared.snapshot();
        let owners = Owners::new(&snapshot);
        let sealer = Sealer {
            tunnel: &tunnel,
            owners: &owners,
            stats: &stats,
            frames: &self.frames,
            now,
        };
        for (at, frame) in batch.iter_mut().enumerate() {
            let Some(range) = forward::packet::find(frame.packet()) else {
                return at;
            };
            let packet = &mut frame.packet_mut()[range];
            if owners.of_destination(packet).is_none() {
                return at;
            }
            forward::packet::lower_hop_limit(packet);
            sealer.seal_forwarded(packet, &mut port.runs);
            if port.runs.is_filling() && port.blocked == Blocked::No {
                port.send_runs(rings, now);
            }
        }
        batch.len()
    }
}

/// The device that has a peer for the packet in this frame, by its place.
fn device_of(frame: &Frame, ports: &[Option<Box<Port>>]) -> Option<usize> {
    let range = forward::packet::find(frame.packet())?;
    let packet = &frame.packet()[range];
    ports.iter().position(|port| {
        port.as_ref().is_some_and(|port| {
            let snapshot = port.tunnel.shared.snapshot();
            Owners::new(&snapshot).of_destination(packet).is_some()
        })
    })
}

/// What sealing needs to know, for one batch.
#[derive(Clone, Copy, Debug)]
pub struct Sealer<'a> {
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

impl Sealer<'_> {
    /// Seals what one read of the TUN device gave, vnet header first, into runs.
    pub fn seal(&self, read: &mut [u8], runs: &mut Runs) {
        match Segmenter::new(read) {
            Ok(segments) => {
                self.stats.seal_batch.observe(segments.remaining() as u64);
                self.seal_segments(segments, runs, Some(&self.stats.seal_time));
            }
            Err(reason) => self.stats.drops.count(reason),
        }
    }

    /// Seals one packet that came past the TUN device, into a run.
    pub fn seal_forwarded(&self, packet: &mut [u8], runs: &mut Runs) {
        let header = forward::packet::vnet_header(packet);
        match Segmenter::with_header(&header, packet) {
            Ok(segments) => {
                self.stats.forwarded_tx_packets.add(1);
                // Nothing is timed here: this is called for each packet.
                self.seal_segments(segments, runs, None);
            }
            Err(reason) => self.stats.drops.count(reason),
        }
    }

    fn seal_segments(
        &self,
        mut segments: Segmenter<'_>,
        runs: &mut Runs,
        times: Option<&BatchTimes>,
    ) {
        let drops = &self.stats.drops;
        if let Some(packet) = segments.single_mut() {
            mss::clamp(packet, self.tunnel.mss_limits().as_ref(), self.stats);
        }
        let packets = segments.remaining() as u64;
        self.stats.inner_tx_packets.add(packets);
        let Some(cell) = self.owners.of_destination(segments.packet()) else {
            tap_rest(self.tap(Who::Nobody, &segments), &mut segments);
            return drops.add(DropReason::NoPeerForDestination, packets);
        };
        let Some(to) = cell.endpoint.get() else {
            tap_rest(self.tap(Who::Peer(cell), &segments), &mut segments);
            return drops.add(DropReason::NoEndpoint, packets);
        };
        let keypair = cell.current();
        let counter = keypair
            .as_ref()
            .and_then(|k| k.reserve(self.now, packets).ok());
        let (Some(keypair), Some(mut counter)) = (keypair.as_ref(), counter) else {
            return self.stage(cell, &mut segments);
        };
        if !cell.staged.is_empty() && !self.flush_staged(cell, &to, keypair, runs) {
            return self.stage(cell, &mut segments);
        }
        let ecn = Ecn::of_packet(segments.packet());
        let mtu = self.tunnel.mtu();
        let mut outer = Amount::default();
        let clock = times.and_then(BatchTimes::start);
        let mut tap = self.tap(Who::Peer(cell), &segments);
        while let Some(len) = segments.next_len() {
            let sealed = padded_len(len, mtu) + KEEPALIVE_LEN;
            let Some(slot) = runs.slot(self.frames, cell, &to, ecn, sealed) else {
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
        if outer.packets > 0 {
            transport::sent(cell, keypair, self.now, outer, true);
        }
    }

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
    fn flush_staged(
        &self,
        cell: &Arc<PeerCell>,
        to: &Endpoint,
        keypair: &Keypair,
        runs: &mut Runs,
    ) -> bool {
        let mtu = self.tunnel.mtu();
        let drops = &self.stats.drops;
        let mut outer = Amount::default();
        let mut waiting = cell.take_staged();
        while let Some(packet) = waiting.pop_front() {
            let sealed = padded_len(packet.len(), mtu) + KEEPALIVE_LEN;
            let ecn = Ecn::of_packet(&packet);
            let counter = match keypair.reserve(self.now, 1) {
                Ok(counter) => counter,
                Err(SealError::Expired) => {
                    drops.count(DropReason::KeyExpired);
                    continue;
                }
                Err(SealError::NonceLimit) => {
                    drops.count(DropReason::NonceLimit);
                    continue;
                }
            };
            let Some(slot) = runs.slot(self.frames, cell, to, ecn, sealed) else {
                waiting.push_front(packet);
                break;
            };
            let (text, padding) =
                slot[DATA_HEADER_LEN..sealed - TAG_LEN].split_at_mut(packet.len());
            text.copy_from_slice(&packet);
            padding.fill(0);
            keypair.seal(counter, slot);
            outer.add(sealed as u64);
        }
        if outer.packets > 0 {
            transport::sent(cell, keypair, self.now, outer, true);
        }
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

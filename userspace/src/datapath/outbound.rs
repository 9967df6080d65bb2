//! From the TUN device to the outer side: route, segment, seal, send.

use std::sync::Arc;

use super::forward;
use super::frames::{FRAME_LEN, FramePool};
use super::port::Port;
use super::rings::{Ring, Rings};
use super::runs::Blocked;
use super::sealer::{Batch, Sealer};
use crate::net::tun;
use crate::tunnel::owners::Owners;
use crate::tunnel::time::BootTime;
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
        let mut sealer = Sealer::new(Batch {
            tunnel: &tunnel,
            owners: &owners,
            stats: &stats,
            frames: &self.frames,
            now,
        });
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
                sealer.report();
                port.send_runs(rings, now);
                if port.blocked != Blocked::No {
                    return;
                }
            }
        }
        sealer.report();
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
        let mut sealer = Sealer::new(Batch {
            tunnel: &tunnel,
            owners: &owners,
            stats: &stats,
            frames: &self.frames,
            now,
        });
        for at in 0..batch.len() {
            // While this one is sealed.
            if let Some(next) = batch.get(at + 1) {
                next.prefetch();
            }
            let frame = &mut batch[at];
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
                sealer.report();
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

//! Runs: sealed packets of one size for one endpoint, collected for one send.

use std::sync::Arc;

use super::frames::{Frame, FramePool};
use super::port;
use super::stats::WorkerStats;
use crate::drops::DropReason;
use crate::net::udp::{GSO_BYTES_MAX, GSO_SEGMENTS_MAX, Stop, UdpSockets};
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::transport::Ecn;

/// Runs that may collect before they are sent. A super-packet of the smallest
/// segments fills twelve.
pub const RUNS_MAX: usize = 32;

/// Sealed packets of one size for one endpoint: one GSO send.
#[derive(Debug)]
struct Run {
    frame: Frame,
    len: usize,
    /// Bytes that the socket took already, before its buffer was full.
    sent: usize,
    /// Bytes of each packet but the last, which may be shorter.
    segment: usize,
    count: usize,
    cell: Arc<PeerCell>,
    to: Endpoint,
    ecn: Ecn,
    /// A shorter packet ended the run.
    full: bool,
}

impl Run {
    fn takes(&self, to: &Endpoint, ecn: Ecn, sealed: usize) -> bool {
        !self.full
            && self.count < GSO_SEGMENTS_MAX
            && sealed <= self.segment
            && self.len + sealed <= GSO_BYTES_MAX
            && self.ecn == ecn
            && self.to == *to
    }

    /// Room for the next packet of `sealed` bytes.
    fn slot(&mut self, sealed: usize) -> &mut [u8] {
        let at = self.len;
        self.len += sealed;
        self.count += 1;
        self.full = sealed < self.segment;
        &mut self.frame.bytes_mut()[at..at + sealed]
    }
}

/// The runs of one port, oldest first.
#[derive(Debug)]
pub struct Runs(Vec<Run>);

impl Default for Runs {
    fn default() -> Self {
        Self(Vec::with_capacity(RUNS_MAX))
    }
}

impl Runs {
    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is time to send, so that one more super-packet finds room.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.0.len() >= RUNS_MAX / 2
    }

    /// Where the next packet for `cell` goes: behind the peer's last run if it
    /// fits there, else to the front of a new one. `None` if no frame or run is
    /// free. The caller must seal into it at once: it will be sent.
    pub fn slot(
        &mut self,
        frames: &Arc<FramePool>,
        cell: &Arc<PeerCell>,
        to: &Endpoint,
        ecn: Ecn,
        sealed: usize,
    ) -> Option<&mut [u8]> {
        let last = self.0.iter().rposition(|r| Arc::ptr_eq(&r.cell, cell));
        if let Some(at) = last.filter(|&at| self.0[at].takes(to, ecn, sealed)) {
            return Some(self.0[at].slot(sealed));
        }
        if self.0.len() >= RUNS_MAX {
            return None;
        }
        self.0.push(Run {
            frame: frames.take()?,
            len: 0,
            sent: 0,
            segment: sealed,
            count: 0,
            cell: Arc::clone(cell),
            to: *to,
            ecn,
            full: false,
        });
        self.0.last_mut().map(|run| run.slot(sealed))
    }

    /// Sends in order, until done or a send buffer is full. Returns whether one was.
    pub fn send(&mut self, sockets: Option<&UdpSockets>, stats: &WorkerStats) -> bool {
        let mut done = 0;
        let mut blocked = false;
        for run in &mut self.0 {
            let Some(socket) = sockets.and_then(|s| s.for_address(run.to.addr)) else {
                stats.drops.add(DropReason::SocketError, run.count as u64);
                done += 1;
                continue;
            };
            let bytes = &run.frame.bytes()[run.sent..run.len];
            let segment = u16::try_from(run.segment).unwrap_or(0);
            let sent = socket.send(&port::outgoing(&run.to, bytes, segment, run.ecn as u8));
            stats.socket_writes.add(1);
            stats.outer_tx_packets.add(sent.packets as u64);
            if sent.source_refused {
                // That one only: the peer may have roamed since the run began.
                run.cell
                    .endpoint
                    .clear_source_if(|s| Some(*s) == run.to.source);
            }
            let taken = (sent.packets * run.segment).min(run.len - run.sent);
            stats.outer_tx_bytes.add(taken as u64);
            if matches!(sent.stopped, Some(Stop::Full)) {
                run.count -= sent.packets;
                run.sent += taken;
                stats.backpressure.add(1);
                blocked = true;
                break;
            }
            port::count_refused(&sent, run.count, &stats.drops);
            done += 1;
        }
        self.0.drain(..done);
        blocked
    }

    /// Takes the runs as they would be sent: destination, ECN, bytes, segment
    /// size. For tests and fuzzing of the data path without sockets.
    pub fn take(&mut self, mut each: impl FnMut(&Endpoint, Ecn, &[u8], usize)) {
        for run in self.0.drain(..) {
            each(&run.to, run.ecn, &run.frame.bytes()[..run.len], run.segment);
        }
    }
}

//! Runs: sealed packets of one size for one endpoint, collected for one send.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frames::{Frame, FramePool};
use super::path::Path;
use super::port::{self, Tunnel};
use super::rings::{Relayed, Ring, Rings, Way};
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Open, Side, Size, Who};
use crate::drops::DropReason;
use crate::net::outer::Template;
use crate::net::udp::{GSO_BYTES_MAX, GSO_SEGMENTS_MAX, Stop, UdpSockets};
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::Ecn;

/// Runs that may collect before they are sent. A super-packet of the smallest
/// segments fills twelve.
pub const RUNS_MAX: usize = 32;

/// Why sending stopped before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocked {
    /// It did not.
    #[default]
    No,
    /// A socket's buffer is full: an event tells of room.
    Socket,
    /// A ring, or the way to it, is full: to be tried again soon.
    Ring,
}

/// Where a worker's packets of one device leave.
#[derive(Debug)]
pub struct Outside<'a> {
    /// The device.
    pub tunnel: &'a Arc<Tunnel>,
    /// The worker's sockets of the device; none while it is down.
    pub sockets: Option<&'a UdpSockets>,
    /// The worker's rings.
    pub rings: &'a mut Rings,
    /// The time of the batch.
    pub now: BootTime,
}

/// What became of a run.
enum Fate {
    Done,
    Blocked(Blocked),
    /// Another worker has the ring.
    Relay(u32),
}

/// Sealed packets of one size for one endpoint: one GSO send, or as many frames.
#[derive(Debug)]
pub struct Run {
    frame: Frame,
    len: usize,
    /// Bytes that were taken already, before there was no more room.
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

    /// Sends by a ring if the peer's packets leave by one, else by the socket.
    fn send(&mut self, out: &mut Outside<'_>, stats: &WorkerStats) -> Fate {
        if out.tunnel.uses_rings() {
            let path = Path::of(&self.cell);
            let Some(exit) = path.exit(&self.to) else {
                if path.may_ask(out.now) {
                    out.tunnel.ask_for_exit(&self.cell);
                }
                return self.by_socket(out, stats);
            };
            let template = exit.as_ref().and_then(|exit| exit.template.as_ref());
            let way = template.and_then(|t| Some((t, out.rings.way(t.ifindex())?)));
            match way {
                Some((template, Way::Own(ring)))
                    if ring.is_up(out.now) && ring.takes(template, self.segment) =>
                {
                    let template = *template;
                    return self.by_ring(out.tunnel, ring, &template, stats);
                }
                Some((_, Way::Relay { ifindex, .. })) => return Fate::Relay(*ifindex),
                _ => {}
            }
        }
        self.by_socket(out, stats)
    }

    fn tap(&self, tunnel: &Tunnel, link: impl FnOnce() -> Link) -> Option<Open> {
        let about = || {
            let size = Size {
                packets: self.count,
                bytes: self.len - self.sent,
            };
            (link(), size)
        };
        let (side, who) = (Side::Outer, Who::Peer(&self.cell));
        tunnel.taps.open(side, Direction::Out, who, about)
    }

    fn by_ring(
        &mut self,
        tunnel: &Tunnel,
        ring: &mut Ring,
        template: &Template,
        stats: &WorkerStats,
    ) -> Fate {
        let tap = self.tap(tunnel, || Link::Ring {
            template: *template,
            tos: self.ecn as u8,
        });
        let bytes = &self.frame.bytes()[self.sent..self.len];
        let taken = ring.transmit(template, bytes, self.segment, self.ecn);
        if let Some(mut tap) = tap {
            tap.push_all(&bytes[..taken.bytes], self.segment);
        }
        stats.outer_tx_packets.add(taken.packets as u64);
        stats.outer_tx_bytes.add(taken.bytes as u64);
        self.count -= taken.packets;
        self.sent += taken.bytes;
        if taken.full {
            stats.backpressure.add(1);
            return Fate::Blocked(Blocked::Ring);
        }
        Fate::Done
    }

    fn by_socket(&mut self, out: &Outside<'_>, stats: &WorkerStats) -> Fate {
        let Some(socket) = out.sockets.and_then(|s| s.for_address(self.to.addr)) else {
            stats.drops.add(DropReason::SocketError, self.count as u64);
            return Fate::Done;
        };
        let tap = self.tap(out.tunnel, || out.tunnel.link(&self.to, self.ecn as u8));
        let bytes = &self.frame.bytes()[self.sent..self.len];
        let segment = u16::try_from(self.segment).unwrap_or(0);
        let sent = socket.send(&port::outgoing(&self.to, bytes, segment, self.ecn as u8));
        stats.socket_writes.add(1);
        stats.outer_tx_packets.add(sent.packets as u64);
        if sent.source_refused {
            // That one only: the peer may have roamed since the run began.
            self.cell
                .endpoint
                .clear_source_if(|s| Some(*s) == self.to.source);
        }
        let taken = (sent.packets * self.segment).min(self.len - self.sent);
        stats.outer_tx_bytes.add(taken as u64);
        if let Some(mut tap) = tap {
            tap.push_all(&bytes[..taken], self.segment);
        }
        if matches!(sent.stopped, Some(Stop::Full)) {
            self.count -= sent.packets;
            self.sent += taken;
            stats.backpressure.add(1);
            return Fate::Blocked(Blocked::Socket);
        }
        port::count_refused(&sent, self.count, &stats.drops);
        Fate::Done
    }
}

impl Relayed {
    /// Sends the run by this worker's ring; what the ring no longer takes, by
    /// the socket. The run, if there was no room for all of it.
    pub fn send(mut self, out: &mut Outside<'_>, stats: &WorkerStats) -> Option<Self> {
        match self.run.send(out, stats) {
            Fate::Done => None,
            Fate::Blocked(_) => Some(self),
            // The ring has another owner since: not handed on, or it might
            // travel for ever.
            Fate::Relay(_) => match self.run.by_socket(out, stats) {
                Fate::Blocked(_) => Some(self),
                _ => None,
            },
        }
    }

    /// Counts what cannot be sent any more.
    pub fn drop_counted(self) {
        let packets = self.run.count as u64;
        self.tunnel.drops.add(DropReason::SocketError, packets);
    }
}

/// The runs of one port, oldest first.
#[derive(Debug)]
pub struct Runs(VecDeque<Run>);

impl Default for Runs {
    fn default() -> Self {
        Self(VecDeque::with_capacity(RUNS_MAX))
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
        self.0.push_back(Run {
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
        self.0.back_mut().map(|run| run.slot(sealed))
    }

    /// Sends in order, until done or until there is no room for more.
    pub fn send(&mut self, out: &mut Outside<'_>, stats: &WorkerStats) -> Blocked {
        while let Some(mut run) = self.0.pop_front() {
            match run.send(out, stats) {
                Fate::Done => {}
                Fate::Blocked(why) => {
                    self.0.push_front(run);
                    return why;
                }
                Fate::Relay(ifindex) => {
                    let Some(Way::Relay { to, .. }) = out.rings.way(ifindex) else {
                        unreachable!("that way was just found");
                    };
                    let to = Arc::clone(to);
                    let relayed = Relayed {
                        run,
                        tunnel: Arc::clone(out.tunnel),
                    };
                    if let Err(back) = out.rings.hand_over(&to, relayed) {
                        self.0.push_front(back.run);
                        stats.backpressure.add(1);
                        return Blocked::Ring;
                    }
                }
            }
        }
        Blocked::No
    }

    /// Counts all that waits as dropped: there is no way out any more.
    pub fn drop_counted(&mut self, stats: &WorkerStats) {
        for run in self.0.drain(..) {
            stats.drops.add(DropReason::SocketError, run.count as u64);
        }
    }

    /// Takes the runs as they would be sent: destination, ECN, bytes, segment
    /// size. For tests and fuzzing of the data path without sockets.
    pub fn take(&mut self, mut each: impl FnMut(&Endpoint, Ecn, &[u8], usize)) {
        for run in self.0.drain(..) {
            each(&run.to, run.ecn, &run.frame.bytes()[..run.len], run.segment);
        }
    }
}

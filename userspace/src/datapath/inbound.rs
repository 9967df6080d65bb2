//! From the outer side to the TUN device: sort, open, order, check, deliver.

use std::sync::Arc;

use super::check::Check;
use super::delivery::Delivery;
use super::frames::{FRAME_LEN, Frame, FramePool, SEGMENTS_MAX};
use super::handshakes::Queues;
use super::lane::{Lane, Turn};
use super::port::{self, Port, Tunnel};
use super::rings::{RelayInbox, Ring, Rings, arrival};
pub use super::sort::Datagram;
use super::sort::{Arrival, Parts};
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Open, Side, Size, Who};
use super::team::{Membership, WAITING_MAX};
use crate::drops::DropReason;
use crate::net::udp::{RecvBatch, UdpSocket};
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::keypair::Keypair;
use crate::tunnel::owners::Owners;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::Ecn;

/// Datagrams, each possibly of many packets, per receive call.
const BATCH: usize = 8;

/// Jobs that one call delivers: its own batch, and what other workers opened of
/// the same peers.
pub const ROUND: usize = 4 * BATCH;

/// A frame's worth of opened packets of one keypair, on its way to the join.
#[derive(Debug)]
pub struct Job {
    pub(super) frame: Frame,
    pub(super) keypair: Arc<Keypair>,
    pub(super) cell: Arc<PeerCell>,
    pub(super) from: Endpoint,
    pub(super) ecn: Ecn,
}

impl Job {
    /// The inner packets that passed, in order.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let bytes = self.frame.bytes();
        self.frame
            .packets()
            .iter()
            .map(move |p| &bytes[p.at..p.at + p.len])
    }
}

/// A worker's inbound side.
#[derive(Debug)]
pub struct Inbound {
    frames: Arc<FramePool>,
    queues: Arc<Queues>,
    batch: RecvBatch,
    received: Vec<Frame>,
    turns: Vec<Turn<Job>>,
    jobs: Vec<Job>,
    delivery: Delivery,
    /// Where the packets of a frame end that is filled from a ring.
    ends: Vec<usize>,
    /// Who helps to open what is too much; none where a worker is alone.
    team: Option<Arc<Membership>>,
}

/// Packets from a ring that go on together: copied behind each other into one
/// frame, as a socket would have coalesced them.
struct Gathered {
    frame: Frame,
    used: usize,
    /// Position of their device among the worker's ports.
    port: usize,
    from: Endpoint,
    ecn: Ecn,
    tap: Option<Open>,
}

/// What is attached to each peer's cell: its inbound lane.
pub type InboundLane = Lane<Job>;

impl Inbound {
    /// An inbound side that receives into frames of this pool.
    #[must_use]
    pub fn new(frames: Arc<FramePool>, queues: Arc<Queues>) -> Self {
        Self {
            frames,
            queues,
            batch: RecvBatch::new(BATCH),
            received: Vec::with_capacity(BATCH),
            turns: Vec::with_capacity(BATCH),
            jobs: Vec::with_capacity(BATCH),
            delivery: Delivery::default(),
            ends: Vec::with_capacity(SEGMENTS_MAX),
            team: None,
        }
    }

    /// From now on there are others who help, and who are helped.
    pub fn join(&mut self, team: Arc<Membership>) {
        self.team = Some(team);
    }

    /// Serves the port's sockets once: at most [`BATCH`] datagrams of each family.
    pub fn serve(&mut self, port: &mut Port, lan: &mut Rings, now: BootTime) {
        if !port.turns.is_empty() {
            self.hand_over(port, lan, now);
        }
        let Some(sockets) = port.sockets.take() else {
            return;
        };
        if port.v4_ready {
            port.v4_ready = self.receive(port, sockets.v4(), lan, now);
        }
        if port.v6_ready {
            port.v6_ready = self.receive(port, sockets.v6(), lan, now);
        }
        port.sockets = Some(sockets);
    }

    /// One receive call and all that follows; whether there may be more.
    fn receive(
        &mut self,
        port: &mut Port,
        socket: Option<&UdpSocket>,
        lan: &mut Rings,
        now: BootTime,
    ) -> bool {
        let Some(socket) = socket else { return false };
        while self.received.len() < BATCH {
            let Some(frame) = self.frames.take() else {
                break;
            };
            self.received.push(frame);
        }
        let offered = self.received.len();
        let count = match socket.recv_batch(&mut self.batch, &mut self.received) {
            Ok(0) => return offered == 0,
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(event = "socket_receive_failed", %error, device = port.tunnel.name, "receiving");
                return false;
            }
        };
        port.stats.socket_reads.add(1);
        let tunnel = Arc::clone(&port.tunnel);
        let stats = Arc::clone(&port.stats);
        let mut received = std::mem::take(&mut self.received);
        // A full batch: more waits in the socket than this worker keeps up with.
        let much = count == BATCH;
        for (at, frame) in received.drain(..count).enumerate() {
            let ask = much && at > 0;
            match self.batch.get(at) {
                Some(received) if !received.truncated => {
                    let datagram = Datagram {
                        from: port::endpoint(received.from, received.local),
                        ecn: Ecn::from_tos(received.tos),
                        len: received.len,
                        segment: received.segment,
                    };
                    self.sort_or_ask(&tunnel, &stats, (frame, &datagram), ask, now);
                }
                Some(_) => stats.drops.count(DropReason::Oversize),
                None => stats.drops.count(DropReason::Malformed),
            }
        }
        self.received = received;
        self.hand_over(port, lan, now);
        // A short batch emptied the socket; its next datagram is an event.
        count == offered
    }

    /// Opens what other workers received and do not keep up with, and delivers what
    /// is its turn.
    pub fn help(&mut self, ports: &mut [Option<Box<Port>>], lan: &mut Rings, now: BootTime) {
        for _ in 0..WAITING_MAX {
            let Some(asked) = self.team.as_ref().and_then(|team| team.next()) else {
                return;
            };
            let mut of_device = ports.iter_mut().flatten();
            let Some(port) = of_device.find(|port| Arc::ptr_eq(&port.tunnel, &asked.tunnel)) else {
                asked.drop_counted();
                continue;
            };
            port.stats.helped.add(1);
            port.turns.extend(asked.sealed.open(&port.stats, now));
            self.hand_over(port, lan, now);
        }
    }

    /// Serves a ring once: at most [`BATCH`](super::rings::ring::BATCH) frames,
    /// for whichever of the worker's devices they are.
    pub fn serve_ring(
        &mut self,
        ring: &mut Ring,
        ports: &mut [Option<Box<Port>>],
        lan: &mut Rings,
        now: BootTime,
    ) {
        let mut frames = ring.receive();
        // A full batch, as for a socket.
        let much = ring.is_ready();
        let mut gathered: Option<Gathered> = None;
        let mut bytes = 0;
        let mut waiting = frames.drain(..).peekable();
        while let Some(frame) = waiting.next() {
            // While this one is copied.
            if let Some(next) = waiting.peek() {
                next.prefetch();
            }
            let packet = frame.packet();
            bytes += packet.len() as u64;
            let arrival = arrival::Arrival::read(packet, ring.ifindex());
            let port = arrival.as_ref().and_then(|a| listening(ports, a.port));
            if let (Some(arrival), Some(port)) = (arrival, port) {
                let message = &packet[arrival.payload.clone()];
                let fits = gathered.as_ref().is_some_and(|g| {
                    g.port == port
                        && g.from == arrival.from
                        && g.ecn == arrival.ecn
                        && g.used + message.len() <= FRAME_LEN
                        && self.ends.len() < SEGMENTS_MAX
                });
                if !fits {
                    self.finish((gathered.take(), Some(port)), much, ports, lan, now);
                    gathered = self.gather(port, &arrival, ports, lan, now);
                }
                if let Some(to) = &mut gathered {
                    let end = to.used + message.len();
                    to.frame.bytes_mut()[to.used..end].copy_from_slice(message);
                    if let Some(tap) = &mut to.tap {
                        tap.push(packet);
                    }
                    to.used = end;
                    self.ends.push(end);
                }
            } else {
                ring.stats().stray.add(1);
            }
            ring.free(frame);
        }
        drop(waiting);
        self.finish((gathered, None), much, ports, lan, now);
        ring.stats().rx_bytes.add(bytes);
        ring.refill(frames, now);
    }

    /// A frame to gather into. Where none is free, what waits is delivered first.
    fn gather(
        &mut self,
        port: usize,
        arrival: &arrival::Arrival,
        ports: &mut [Option<Box<Port>>],
        lan: &mut Rings,
        now: BootTime,
    ) -> Option<Gathered> {
        let of = ports[port].as_deref_mut()?;
        let mut frame = self.frames.take();
        if frame.is_none() {
            self.hand_over(of, lan, now);
            frame = self.frames.take().or_else(|| self.received.pop());
        }
        let Some(frame) = frame else {
            of.stats.drops.count(DropReason::NoFrame);
            return None;
        };
        let (taps, who) = (&of.tunnel.taps, Who::At(arrival.from.addr));
        let about = || (Link::Ethernet, Size::default());
        let tap = taps.open(Side::Outer, Direction::In, who, about);
        Some(Gathered {
            frame,
            used: 0,
            tap,
            port,
            from: arrival.from,
            ecn: arrival.ecn,
        })
    }

    /// Sorts what was gathered; delivers, unless more comes for the same device.
    fn finish(
        &mut self,
        (gathered, next): (Option<Gathered>, Option<usize>),
        much: bool,
        ports: &mut [Option<Box<Port>>],
        lan: &mut Rings,
        now: BootTime,
    ) {
        let Some(gathered) = gathered else { return };
        // Before what is inside.
        drop(gathered.tap);
        let Some(port) = ports[gathered.port].as_deref_mut() else {
            return;
        };
        let arrival = Arrival {
            tunnel: &port.tunnel,
            stats: &port.stats,
            from: gathered.from,
            ecn: gathered.ecn,
            parts: Parts::Each(&self.ends),
            now,
            team: self.team.as_deref().filter(|_| much),
        };
        arrival.sort(gathered.frame, &self.frames, &self.queues, &mut self.turns);
        self.ends.clear();
        if next != Some(gathered.port) {
            self.hand_over(port, lan, now);
        }
    }

    /// Delivers to the port's TUN device, or by `lan`; what is left waits at the port.
    fn hand_over(&mut self, port: &mut Port, lan: &mut Rings, now: BootTime) {
        let (tunnel, stats) = (Arc::clone(&port.tunnel), Arc::clone(&port.stats));
        let mut delivery = std::mem::take(&mut self.delivery);
        self.turns.append(&mut port.turns);
        self.deliver(&tunnel, &stats, now, |jobs| {
            delivery.deliver(jobs, port, lan, now);
        });
        std::mem::swap(&mut self.turns, &mut port.turns);
        self.delivery = delivery;
    }

    /// Delivers what other workers opened, for whichever of `ports` it is; at most
    /// [`BATCH`] frames.
    pub fn serve_opened(
        &mut self,
        inbox: &RelayInbox,
        ports: &mut [Option<Box<Port>>],
        lan: &mut Rings,
        now: BootTime,
    ) {
        for _ in 0..BATCH {
            let Some(opened) = inbox.pop_opened() else {
                return;
            };
            let mut ports = ports.iter_mut().flatten();
            match ports.find(|port| Arc::ptr_eq(&port.tunnel, &opened.tunnel)) {
                Some(port) => self.delivery.write(&[opened.job], port, lan, now),
                None => opened.drop_counted(DropReason::TunError),
            }
        }
    }

    /// Sorts one datagram's packets and opens them. What can be delivered waits
    /// for [`deliver`](Self::deliver).
    pub fn sort(
        &mut self,
        tunnel: &Arc<Tunnel>,
        stats: &WorkerStats,
        frame: Frame,
        datagram: &Datagram,
        now: BootTime,
    ) {
        self.sort_or_ask(tunnel, stats, (frame, datagram), false, now);
    }

    /// The same; whoever helps may be asked to open it.
    fn sort_or_ask(
        &mut self,
        tunnel: &Arc<Tunnel>,
        stats: &WorkerStats,
        (frame, datagram): (Frame, &Datagram),
        ask: bool,
        now: BootTime,
    ) {
        tap(tunnel, &frame, datagram);
        let arrival = Arrival {
            tunnel,
            stats,
            from: datagram.from,
            ecn: datagram.ecn,
            parts: Parts::Equal {
                len: datagram.len,
                segment: datagram.segment,
            },
            now,
            team: self.team.as_deref().filter(|_| ask),
        };
        arrival.sort(frame, &self.frames, &self.queues, &mut self.turns);
    }

    /// Gives `to` what is ready, peer by peer and in order, until the lanes run
    /// dry or [`ROUND`] jobs went: other workers may fill a lane as fast as this one
    /// empties it. False if there is more, for the next call.
    pub fn deliver(
        &mut self,
        tunnel: &Tunnel,
        stats: &WorkerStats,
        now: BootTime,
        mut to: impl FnMut(&mut Vec<Job>),
    ) -> bool {
        let snapshot = tunnel.shared.snapshot();
        let check = Check {
            owners: Owners::new(&snapshot),
            limits: tunnel.mss_limits(),
            stats,
            now,
        };
        let mut left = ROUND;
        while left > 0
            && let Some(mut turn) = self.turns.pop()
        {
            let mut dry = false;
            while !dry && self.jobs.len() < BATCH.min(left) {
                if let Some(mut job) = turn.next() {
                    check.join(&mut job);
                    self.jobs.push(job);
                } else {
                    dry = true;
                }
            }
            left -= self.jobs.len();
            to(&mut self.jobs);
            self.jobs.clear();
            if dry {
                self.turns.extend(turn.release());
            } else {
                // Behind the others: one busy peer does not keep them waiting.
                self.turns.insert(0, turn);
            }
        }
        self.turns.is_empty()
    }
}

/// Copies what came in by a socket, before it is opened in place.
fn tap(tunnel: &Tunnel, frame: &Frame, datagram: &Datagram) {
    let about = || {
        let size = Size {
            packets: datagram.len.div_ceil(datagram.segment.max(1)),
            bytes: datagram.len,
        };
        (tunnel.link(&datagram.from, datagram.ecn as u8), size)
    };
    let (side, who) = (Side::Outer, Who::At(datagram.from.addr));
    if let Some(mut tap) = tunnel.taps.open(side, Direction::In, who, about) {
        tap.push_all(&frame.bytes()[..datagram.len], datagram.segment);
    }
}

/// The port of the device that listens there.
fn listening(ports: &[Option<Box<Port>>], port: u16) -> Option<usize> {
    ports
        .iter()
        .position(|p| p.as_ref().is_some_and(|p| p.tunnel.listens_on(port)))
}

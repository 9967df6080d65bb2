//! A device as the threads see it: [`Tunnel`] is what all of them share,
//! [`Port`] is one worker's part of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringtun_common::mss::Limits;
use tokio::sync::mpsc;

use super::forward::{Asked, Forwarding};
use super::inbound::Job;
use super::lane::Turn;
use super::mss::MssClamp;
use super::offload::Coalescer;
use super::replies::Reply;
use super::rings::Rings;
use super::runs::{Blocked, Outside, Runs};
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Side, Size, Taps, Who};
use crate::drops::{DropCounters, DropReason};
use crate::net::tun::TunQueue;
use crate::net::udp::{self, Outgoing, SendBatch, Sent, Stop, UdpSockets};
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::{Endpoint, Source};
use crate::tunnel::gate::Commit;
use crate::tunnel::initiation::InitiationDone;
use crate::tunnel::output::HANDSHAKE_TOS;
use crate::tunnel::snapshot::Shared;
use crate::tunnel::time::BootTime;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What other threads tell control about one device.
#[derive(Debug)]
pub enum Event {
    /// A handshake thread finished with a message that came in.
    Commit(Commit),
    /// A handshake thread built an initiation.
    Initiated(InitiationDone),
    /// Nobody knows yet by which ring this peer's packets leave.
    ExitWanted(Arc<PeerCell>),
    /// Nobody knows yet where packets out of the tunnel to this address go.
    HopWanted(IpAddr),
    /// The TUN device is gone.
    TunGone,
}

/// Finished handshakes that may wait for control.
pub const EVENTS_MAX: usize = 8192;

/// One device, shared by control, workers and handshake threads.
#[derive(Debug)]
pub struct Tunnel {
    /// The interface name at creation; for threads and logs.
    pub name: String,
    /// Peers, keys, allowed IPs: the protocol core's shared part.
    pub shared: Arc<Shared>,
    /// The TUN device's MTU, bytes.
    pub mtu: AtomicUsize,
    /// The UDP port that it listens on; 0 while it does not.
    pub port: AtomicU16,
    /// Packets may leave by AF_XDP rings.
    rings: AtomicBool,
    mss: MssClamp,
    /// Packets that go past the kernel's stack.
    pub forwarding: Forwarding,
    /// Counters, one set per worker.
    pub workers: Box<[Arc<WorkerStats>]>,
    /// What handshake threads and control dropped.
    pub drops: DropCounters,
    /// Who captures its packets.
    pub taps: Arc<Taps>,
    /// Where handshake messages leave; none while the device is down.
    sockets: Mutex<Option<UdpSockets>>,
    /// The same, for cookie replies: a flood of them does not make control wait.
    cookie_sockets: Mutex<Option<UdpSockets>>,
    events: mpsc::Sender<Event>,
}

impl Tunnel {
    /// A device with its sockets still closed; the receiver is for control.
    #[must_use]
    pub fn new(
        name: &str,
        shared: Arc<Shared>,
        mtu: usize,
        mss: MssClamp,
        workers: usize,
    ) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let tunnel = Arc::new(Self {
            name: name.to_owned(),
            shared,
            mtu: AtomicUsize::new(mtu),
            port: AtomicU16::new(0),
            rings: AtomicBool::new(false),
            mss,
            forwarding: Forwarding::default(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            drops: DropCounters::default(),
            taps: Arc::default(),
            sockets: Mutex::new(None),
            cookie_sockets: Mutex::new(None),
            events,
        });
        (tunnel, receiver)
    }

    /// Hands an event to control; a full queue drops it and counts that.
    pub fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.drops.count(DropReason::HandshakeQueueFull);
        }
    }

    /// Asks control how this peer's packets leave. Where the queue is full, it
    /// is asked again: the packets go by the socket meanwhile.
    pub fn ask_for_exit(&self, cell: &Arc<PeerCell>) {
        let _ = self.events.try_send(Event::ExitWanted(Arc::clone(cell)));
    }

    /// Asks control where packets to this address go. Not while handshakes have the
    /// queue: until there is an answer the packets go by the kernel.
    pub fn ask_for_hop(&self, destination: IpAddr) {
        if self.events_waiting() < EVENTS_MAX / 4 {
            let _ = self.events.try_send(Event::HopWanted(destination));
        }
    }

    /// Whether packets may leave by AF_XDP rings.
    #[must_use]
    pub fn uses_rings(&self) -> bool {
        self.rings.load(Relaxed)
    }

    /// Whether it listens on this UDP port.
    #[must_use]
    pub fn listens_on(&self, port: u16) -> bool {
        port != 0 && self.port.load(Relaxed) == port
    }

    /// Lets packets leave by AF_XDP rings, or by sockets alone.
    pub fn use_rings(&self, on: bool) {
        self.rings.store(on, Relaxed);
    }

    /// Events that wait for control now, of [`EVENTS_MAX`].
    #[must_use]
    pub fn events_waiting(&self) -> usize {
        self.events.max_capacity() - self.events.capacity()
    }

    /// The MTU as of now, bytes.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu.load(Relaxed)
    }

    /// What TCP SYNs are lowered to as of now.
    #[must_use]
    pub fn mss_limits(&self) -> Option<Limits> {
        self.mss.limits(self.mtu())
    }

    /// The sockets from now on, for handshake messages and for cookie replies.
    pub fn set_sockets(&self, sockets: Option<(UdpSockets, UdpSockets)>) {
        let (sockets, for_cookies) = sockets.unzip();
        *lock(&self.sockets) = sockets;
        *lock(&self.cookie_sockets) = for_cookies;
    }

    /// Sends one message off the data path: a handshake message, a keepalive,
    /// what was staged. Returns whether the kernel refused the pinned source.
    pub fn send(&self, to: &Endpoint, message: &[u8], tos: u8) -> bool {
        let sockets = lock(&self.sockets);
        let Some(socket) = sockets.as_ref().and_then(|s| s.for_address(to.addr)) else {
            self.drops.count(DropReason::SocketError);
            return false;
        };
        let sent = socket.send(&outgoing(to, message, 0, tos));
        if let Some(stop) = &sent.stopped {
            self.drops.count(reason_of(stop));
        } else {
            self.tap_sent(to, message, tos);
        }
        sent.source_refused
    }

    /// Sends cookie replies, at least one, all of one address family.
    pub fn send_cookies(&self, batch: &mut SendBatch, replies: &[Reply]) {
        let sockets = lock(&self.cookie_sockets);
        let sockets = sockets.as_ref();
        let Some(socket) = sockets.and_then(|s| s.for_address(replies[0].to.addr)) else {
            return self
                .drops
                .add(DropReason::SocketError, replies.len() as u64);
        };
        socket.send_batch(
            batch,
            replies.len(),
            |i| outgoing(&replies[i].to, &replies[i].bytes, 0, HANDSHAKE_TOS),
            |i, sent| {
                count_refused(&sent, 1, &self.drops);
                if sent.stopped.is_none() {
                    self.tap_sent(&replies[i].to, &replies[i].bytes, HANDSHAKE_TOS);
                }
            },
        );
    }

    fn tap_sent(&self, to: &Endpoint, message: &[u8], tos: u8) {
        let about = || {
            let size = Size {
                packets: 1,
                bytes: message.len(),
            };
            (self.link(to, tos), size)
        };
        let (side, who) = (Side::Outer, Who::At(to.addr));
        if let Some(mut tap) = self.taps.open(side, Direction::Out, who, about) {
            tap.push(message);
        }
    }

    /// What stands in front of a message that a socket sends or receives.
    #[must_use]
    pub fn link(&self, peer: &Endpoint, tos: u8) -> Link {
        Link::Socket {
            peer: peer.addr,
            local: peer.source.map(|source| source.addr),
            port: self.port.load(Relaxed),
            tos,
        }
    }

    /// Packets dropped for `reason` on this device, by all threads.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let by_workers: u64 = self.workers.iter().map(|w| w.drops.get(reason)).sum();
        self.drops.get(reason) + by_workers
    }
}

/// One worker's part of a device.
#[derive(Debug)]
pub struct Port {
    /// The device.
    pub tunnel: Arc<Tunnel>,
    /// This worker's counters for the device.
    pub stats: Arc<WorkerStats>,
    /// This worker's queue of the TUN device.
    pub tun: TunQueue,
    /// This worker's sockets; none while the device is down.
    pub sockets: Option<UdpSockets>,
    /// Joins decrypted packets for this TUN device.
    pub coalescer: Coalescer,
    /// Sealed packets that wait to be sent.
    pub runs: Runs,
    /// Peers of which more is to be delivered, in the next round.
    pub turns: Vec<Turn<Job>>,
    /// Destinations that control was asked for.
    pub asked: Asked,
    /// The TUN queue may have packets.
    pub tun_ready: bool,
    /// The IPv4 socket may have datagrams.
    pub v4_ready: bool,
    /// The IPv6 socket may have datagrams.
    pub v6_ready: bool,
    /// There is no room outside: the TUN device waits.
    pub blocked: Blocked,
    /// The worker is told when there is room in the send buffer.
    pub awaits_room: bool,
    /// The TUN device is gone.
    pub gone: bool,
}

/// Most packets that one turn of a worker delivers at once.
pub const DELIVERY_MAX: usize = 512;

impl Port {
    /// A port without sockets, for worker number `index`.
    #[must_use]
    pub fn new(tunnel: &Arc<Tunnel>, index: usize, tun: TunQueue, udp_offload: bool) -> Self {
        Self {
            tunnel: Arc::clone(tunnel),
            stats: Arc::clone(&tunnel.workers[index]),
            tun,
            sockets: None,
            coalescer: Coalescer::new(DELIVERY_MAX, udp_offload),
            runs: Runs::default(),
            turns: Vec::new(),
            asked: Asked::default(),
            tun_ready: true,
            v4_ready: false,
            v6_ready: false,
            blocked: Blocked::No,
            awaits_room: false,
            gone: false,
        }
    }

    /// Sends what was sealed; where there is no room, the TUN device waits.
    pub fn send_runs(&mut self, rings: &mut Rings, now: BootTime) {
        let mut outside = Outside {
            tunnel: &self.tunnel,
            sockets: self.sockets.as_ref(),
            rings,
            now,
        };
        self.blocked = self.runs.send(&mut outside, &self.stats);
    }

    /// Whether clients have to wait in their card's ring: there is no room outside
    /// for what they send.
    #[must_use]
    pub fn holds_clients(&self) -> bool {
        let full = !self.runs.is_empty() || self.blocked != Blocked::No;
        full && self.tunnel.forwarding.is_on()
    }

    /// Whether there may be something to do without waiting for an event.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let receive = self.v4_ready || self.v6_ready || !self.turns.is_empty();
        let send = (self.tun_ready || !self.runs.is_empty()) && self.blocked == Blocked::No;
        receive || send
    }
}

/// What to send, as the socket wants it.
#[must_use]
pub fn outgoing<'a>(to: &Endpoint, bytes: &'a [u8], segment: u16, tos: u8) -> Outgoing<'a> {
    Outgoing {
        to: to.addr,
        source: to.source.map(|s| udp::Source {
            addr: s.addr,
            ifindex: s.ifindex,
        }),
        tos,
        bytes,
        segment,
    }
}

/// Who sent what was received, and where to answer from.
#[must_use]
pub fn endpoint(from: SocketAddr, local: Option<udp::Source>) -> Endpoint {
    Endpoint {
        addr: from,
        source: local.map(|s| Source {
            addr: s.addr,
            ifindex: s.ifindex,
        }),
    }
}

/// Under which reason packets that a socket did not take are counted.
#[must_use]
pub fn reason_of(stop: &Stop) -> DropReason {
    match stop {
        Stop::Full => DropReason::SocketFull,
        Stop::Refused(_) => DropReason::SocketError,
    }
}

/// The part of a send that was refused, by reason; nothing if all was sent.
pub fn count_refused(sent: &Sent, packets: usize, drops: &DropCounters) {
    if let Some(stop) = &sent.stopped {
        drops.add(reason_of(stop), (packets - sent.packets) as u64);
    }
}

//! Hosts whose only way to each other are rings in memory, and the wire between
//! them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::mss::MssClamp;
use ringtun::datapath::offload::{Segmenter, VNET_LEN};
use ringtun::datapath::outbound::Outbound;
use ringtun::datapath::path::{Exit, Path};
use ringtun::datapath::port::{Port, Tunnel};
use ringtun::datapath::rings::ring::frames_for;
use ringtun::datapath::rings::{RelayInbox, Ring, RingStats, Rings, Way};
use ringtun::drops::DropReason;
use ringtun::net::outer::{Addresses, Hop, Identifications, Mac, Tags, Template};
use ringtun::net::tun::TunQueue;
use ringtun::net::udp::UdpSockets;
use ringtun::tunnel::endpoint::{Endpoint, Source};
use ringtun::tunnel::time::BootTime;
use ringtun::xsk::peer::Undelivered;
use ringtun::xsk::{Peer, RingSizes, Socket, Umem, UmemConfig};

use super::wire;
use crate::support::{World, inner4, packet};

/// Frames of each worker, as many as a worker has.
pub const FRAMES: usize = 64;
/// Workers of each host, of which most tests use one.
const WORKERS: usize = 2;
const MTU: usize = 1420;
const HOP_LIMIT: u8 = 64;

/// What a net is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub hosts: usize,
    pub devices: usize,
    pub v6: bool,
    pub tags: Tags,
    /// Of the path.
    pub mtu: u32,
    pub sizes: RingSizes,
    /// Frames of each ring's memory; none: as many as its sizes need.
    pub frames: Option<u32>,
    pub frame_size: u32,
    /// The kernel finishes checksums.
    pub metadata: bool,
    /// Hosts have sockets on loopback as well.
    pub sockets: bool,
    /// When it begins; none: when worlds begin.
    pub now: Option<BootTime>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: 2,
            devices: 1,
            v6: false,
            tags: Tags::NONE,
            mtu: 1500,
            sizes: RingSizes::all(64),
            frames: None,
            frame_size: 2048,
            metadata: true,
            sockets: false,
            now: None,
        }
    }
}

/// One host: a worker without its thread, and the kernel's end of its rings.
pub struct Host {
    pub frames: Arc<FramePool>,
    pub inbound: Inbound,
    pub outbound: Outbound,
    pub ports: Vec<Option<Box<Port>>>,
    pub rings: Rings,
    /// Rings of the LAN side, where a test has any.
    pub lan: Rings,
    pub kernel: Peer,
    /// The other sides of the TUN queues, by device.
    tuns: Vec<UnixDatagram>,
    /// Where its devices are reached.
    addresses: Vec<SocketAddr>,
    /// Frames of its ring.
    umem_frames: u32,
}

/// A packet that came out of a TUN queue: by the device, its payload.
pub type Delivered = (usize, Vec<u8>);

pub struct Net {
    pub options: Options,
    pub now: BootTime,
    /// By device.
    pub worlds: Vec<World>,
    pub hosts: Vec<Host>,
}

impl Net {
    /// Hosts with a session between each two, on each device.
    pub fn new(seed: u64, options: Options) -> Self {
        let sockets: Vec<Vec<Option<UdpSockets>>> = (0..options.hosts)
            .map(|_| (0..options.devices).map(|_| bind(&options)).collect())
            .collect();
        let address = |host: usize, device: usize| match &sockets[host][device] {
            Some(sockets) => ([127, 0, 0, 1], sockets.port()).into(),
            None => SocketAddr::new(outer(&options, host), 51820 + device as u16),
        };
        let worlds: Vec<World> = (0..options.devices)
            .map(|device| {
                let seed = seed * 10 + device as u64;
                let mut world = match options.now {
                    Some(now) => World::strangers_at(now, options.hosts, seed),
                    None => World::strangers(options.hosts, seed),
                };
                for (at, host) in world.hosts.iter_mut().enumerate() {
                    host.addr = address(at, device);
                }
                for (a, b) in pairs(options.hosts) {
                    world.introduce(a, b);
                    world.introduce(b, a);
                }
                for (a, b) in pairs(options.hosts) {
                    world.connect(a, b);
                }
                world
            })
            .collect();
        let hosts = sockets.into_iter().enumerate().map(|(at, sockets)| {
            let addresses = (0..options.devices)
                .map(|device| worlds[device].hosts[at].addr)
                .collect();
            Host::new(at, &options, &worlds, sockets, addresses)
        });
        let net = Self {
            now: worlds.iter().map(|world| world.now).max().expect("one"),
            hosts: hosts.collect(),
            options,
            worlds,
        };
        net.settle_endpoints();
        net
    }

    /// Endpoints as they are once a packet came by the ring: a run that waits
    /// while its peer's endpoint changes would leave by the socket.
    fn settle_endpoints(&self) {
        let tagged = self.options.tags != Tags::NONE;
        for world in &self.worlds {
            for (a, b) in pairs(self.options.hosts).flat_map(|(a, b)| [(a, b), (b, a)]) {
                let source = Source {
                    addr: world.hosts[a].addr.ip(),
                    ifindex: ifindex(a),
                };
                world.cell(a, b).endpoint.set(Some(Endpoint {
                    addr: world.hosts[b].addr,
                    source: (!tagged && !self.options.sockets).then_some(source),
                }));
            }
        }
    }

    /// Where frames from one host to another go.
    pub fn hop(&self, from: usize, to: usize) -> Hop {
        let address = |host: usize| self.hosts[host].addresses[0].ip();
        Hop {
            ifindex: ifindex(from),
            source_mac: mac(from),
            next_hop_mac: mac(to),
            tags: self.options.tags,
            addresses: Addresses::new(address(from), address(to)).expect("one family"),
            mtu: self.options.mtu,
            hop_limit: HOP_LIMIT,
        }
    }

    fn port(&self, device: usize, host: usize) -> u16 {
        self.hosts[host].addresses[device].port()
    }

    /// Tells `from` how packets leave to all others; by the ring, or not.
    pub fn set_exits(&self, from: usize, by_ring: bool) {
        for (device, world) in self.worlds.iter().enumerate() {
            for to in (0..self.options.hosts).filter(|to| *to != from) {
                let cell = world.cell(from, to);
                let hop = self.hop(from, to);
                let (source, destination) = (self.port(device, from), self.port(device, to));
                let template = Template::new(&hop, source, destination);
                Path::of(&cell).set_exit(Some(Exit {
                    to: cell.endpoint.get().expect("it was introduced"),
                    template: by_ring.then_some(template),
                }));
            }
        }
    }

    /// Puts packets into the TUN device of a host, as many as it takes before its
    /// worker reads; returns how many.
    pub fn write(&self, device: usize, from: usize, packets: &[Vec<u8>]) -> usize {
        let tun = &self.hosts[from].tuns[device];
        let sent = packets.iter().take_while(|packet| {
            let read = [&[0; VNET_LEN][..], packet].concat();
            tun.send(&read).is_ok()
        });
        sent.count()
    }

    /// A turn of a host's worker outbound: one round of each device.
    pub fn serve_out(&mut self, host: usize) {
        self.set_exits(host, true);
        self.hosts[host].serve_out(self.now);
    }

    /// A host's worker reads all that its TUN devices have, or as much as there
    /// is room for.
    pub fn serve_all(&mut self, host: usize) {
        for _ in 0..200 {
            self.serve_out(host);
        }
    }

    /// Up to `n` frames that a host transmitted, checked, as they are on the wire.
    pub fn collect(&mut self, host: usize, n: u32) -> Vec<wire::Frame> {
        let mut sent = Vec::new();
        let kernel = &mut self.hosts[host].kernel;
        kernel
            .collect(n, |frame| sent.push(wire::finish(&frame)))
            .expect("sane");
        sent.into_iter()
            .map(|bytes| {
                let to = self.destination(&bytes);
                let hop = self.hop(host, to);
                let udp = bytes.len() - udp_len(&bytes, self.options.tags, self.options.v6);
                let port = u16::from_be_bytes([bytes[udp + 2], bytes[udp + 3]]);
                let device = self.device(to, port);
                wire::Frame::check(bytes, &hop, (self.port(device, host), port))
            })
            .collect()
    }

    fn device(&self, host: usize, port: u16) -> usize {
        let addresses = &self.hosts[host].addresses;
        let device = addresses.iter().position(|a| a.port() == port);
        device.expect("a port that somebody listens on")
    }

    fn destination(&self, frame: &[u8]) -> usize {
        let all = 0..self.options.hosts;
        let mut of = all.filter(|host| mac(*host).0 == frame[..6]);
        of.next().expect("a host of this net")
    }

    /// Brings a frame to the host that it is for.
    pub fn deliver(&mut self, frame: &[u8]) -> Result<usize, Undelivered> {
        let to = self.destination(frame);
        self.hosts[to].kernel.deliver(frame).map(|()| to)
    }

    /// A turn of a host's worker inbound: one batch; whether there may be more.
    pub fn serve_in(&mut self, host: usize) -> bool {
        self.hosts[host].serve_in(self.now)
    }

    /// Brings frames where they are for, each host serving its ring when it is
    /// full and at the end; what was delivered, by host.
    pub fn carry(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<Delivered>> {
        let mut delivered = vec![Vec::new(); self.options.hosts];
        for frame in frames {
            let to = self.destination(frame);
            if self.deliver(frame).is_err() {
                delivered[to].extend(self.receive(to));
                self.deliver(frame).expect("there is room now");
            }
        }
        for (host, delivered) in delivered.iter_mut().enumerate() {
            delivered.extend(self.receive(host));
        }
        delivered
    }

    /// Serves a host's ring until it is empty; what came out of its TUN devices.
    pub fn receive(&mut self, host: usize) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        loop {
            let more = self.serve_in(host);
            delivered.extend(self.hosts[host].delivered());
            if !more {
                return delivered;
            }
        }
    }

    /// All that a host dropped, by reason.
    pub fn dropped(&self, host: usize) -> Vec<(DropReason, u64)> {
        let tunnels: Vec<_> = self.hosts[host].ports.iter().flatten().collect();
        let count = |reason| tunnels.iter().map(|port| port.tunnel.dropped(reason)).sum();
        let all = DropReason::ALL.iter().map(|r| (*r, count(*r)));
        all.filter(|(_, n)| *n > 0).collect()
    }

    /// The end of a test: every frame of every ring and of every pool is where
    /// it should be.
    pub fn settle(mut self) {
        for host in 0..self.options.hosts {
            self.collect(host, u32::MAX);
            let now = self.now;
            let host = &mut self.hosts[host];
            host.rings.kick(now);
            let total = host.umem_frames;
            for ring in host.rings.own() {
                let count = ring.audit();
                assert_eq!(count.total(), total, "{count:?}");
                assert_eq!((count.held, count.sent, count.lost), (0, 0, 0), "{count:?}");
            }
        }
        for host in self.hosts {
            let frames = Arc::clone(&host.frames);
            assert!(host.ports.iter().flatten().all(|p| p.runs.is_empty()));
            drop(host);
            assert_eq!(frames.outstanding(), 0, "a frame of the pool was lost");
        }
    }
}

impl Host {
    fn new(
        at: usize,
        options: &Options,
        worlds: &[World],
        sockets: Vec<Option<UdpSockets>>,
        addresses: Vec<SocketAddr>,
    ) -> Self {
        let frames = FramePool::new(FRAMES);
        let (ring, kernel, umem_frames) = ring(ifindex(at), 0, 1, options);
        let mut rings = Rings::default();
        rings.add(Way::Own(Box::new(ring)));
        let mut ports = Vec::new();
        let mut tuns = Vec::new();
        for (device, (world, sockets)) in worlds.iter().zip(sockets).enumerate() {
            let (queue, far) = tun();
            let shared = Arc::clone(&world.hosts[at].shared);
            let (tunnel, _events) = Tunnel::new("test", shared, MTU, MssClamp::Mtu, WORKERS);
            let port = addresses[device].port();
            tunnel
                .port
                .store(port, std::sync::atomic::Ordering::Relaxed);
            tunnel.use_rings(true);
            let mut port = Port::new(&tunnel, 0, queue, true);
            port.sockets = sockets;
            ports.push(Some(Box::new(port)));
            tuns.push(far);
        }
        Self {
            inbound: Inbound::new(Arc::clone(&frames), Queues::new(0)),
            outbound: Outbound::new(Arc::clone(&frames)),
            frames,
            ports,
            rings,
            lan: Rings::default(),
            kernel,
            tuns,
            addresses,
            umem_frames,
        }
    }

    /// Its one ring.
    pub fn ring(&mut self) -> &mut Ring {
        self.rings.own().next().expect("it has one")
    }

    /// The part of a device.
    pub fn port(&mut self, device: usize) -> &mut Port {
        self.ports[device].as_deref_mut().expect("it is there")
    }

    /// A turn of the worker outbound.
    pub fn serve_out(&mut self, now: BootTime) {
        for port in self.ports.iter_mut().flatten() {
            port.tun_ready = true;
            self.outbound.serve(port, &mut self.rings, now);
        }
        self.rings.kick(now);
    }

    /// A turn inbound; whether there may be more.
    pub fn serve_in(&mut self, now: BootTime) -> bool {
        let mut more = false;
        for ring in self.rings.own() {
            ring.mark_ready();
            self.inbound
                .serve_ring(ring, &mut self.ports, &mut self.lan, now);
            more |= ring.is_ready();
        }
        for port in self.ports.iter_mut().flatten() {
            self.inbound.serve(port, &mut self.lan, now);
            more |= !port.turns.is_empty();
        }
        more
    }

    /// A turn of its sockets.
    pub fn serve_sockets(&mut self, now: BootTime) {
        for port in self.ports.iter_mut().flatten() {
            (port.v4_ready, port.v6_ready) = (true, true);
            self.inbound.serve(port, &mut self.lan, now);
        }
    }

    /// What came out of its TUN queues since the last time.
    pub fn delivered(&mut self) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        let mut buffer = vec![0; 70_000];
        for (device, tun) in self.tuns.iter().enumerate() {
            while let Ok(len) = tun.recv(&mut buffer) {
                let mut segments = Segmenter::new(&mut buffer[..len]).expect("a write of ours");
                let mut out = vec![0; 70_000];
                while let Some(len) = segments.write_next(&mut out) {
                    delivered.push((device, out[..len].to_vec()));
                }
            }
        }
        delivered
    }
}

/// A further worker of a host, which has no ring.
pub struct Helper {
    pub frames: Arc<FramePool>,
    pub outbound: Outbound,
    pub port: Port,
    pub rings: Rings,
    /// The other side of its TUN queue.
    pub tun: UnixDatagram,
}

impl Helper {
    /// Of the host `at`, whose ring is that of the worker behind `to`.
    pub fn new(net: &mut Net, at: usize, to: &Arc<RelayInbox>) -> Self {
        let frames = FramePool::new(FRAMES);
        let tunnel = Arc::clone(&net.hosts[at].port(0).tunnel);
        let (queue, tun) = tun();
        let mut port = Port::new(&tunnel, 1, queue, true);
        port.sockets = clone(net.hosts[at].port(0));
        let mut rings = Rings::default();
        rings.add(Way::Relay {
            ifindex: ifindex(at),
            to: Arc::clone(to),
        });
        Self {
            outbound: Outbound::new(Arc::clone(&frames)),
            frames,
            port,
            rings,
            tun,
        }
    }

    /// Puts packets into its TUN queue, all of them.
    pub fn write(&self, packets: &[Vec<u8>]) {
        for packet in packets {
            let read = [&[0; VNET_LEN][..], packet].concat();
            self.tun.send(&read).expect("there is room");
        }
    }

    /// Turns until it has done what it can.
    pub fn serve_all(&mut self, now: BootTime) {
        for _ in 0..50 {
            self.port.tun_ready = true;
            self.outbound.serve(&mut self.port, &mut self.rings, now);
        }
    }
}

/// A TUN queue and its other side.
pub fn tun() -> (TunQueue, UnixDatagram) {
    let (near, far) = UnixDatagram::pair().expect("a socket pair");
    near.set_nonblocking(true).expect("a socket");
    far.set_nonblocking(true).expect("a socket");
    (TunQueue::from(OwnedFd::from(near)), far)
}

/// The sockets of a port, if it has any, for another worker.
pub fn clone(port: &Port) -> Option<UdpSockets> {
    let sockets = port.sockets.as_ref()?;
    Some(sockets.try_clone().expect("a descriptor"))
}

/// A ring in memory with its frames filled in, the kernel's end, and how many
/// frames it has.
pub fn ring(ifindex: u32, queue: u16, queues: u16, options: &Options) -> (Ring, Peer, u32) {
    let sizes = options.sizes;
    let frames = options.frames.unwrap_or_else(|| frames_for(&sizes));
    let mut umem = Umem::new(UmemConfig {
        frames,
        frame_size: options.frame_size,
        tx_metadata: options.metadata,
        ..UmemConfig::default()
    })
    .expect("memory");
    // Near where the indices wrap.
    let (mut socket, kernel) = Socket::in_memory(&mut umem, &sizes, u32::MAX - 70).expect("rings");
    socket.fill.refill(&mut umem, sizes.fill).expect("sane");
    let ids = Identifications::new(queue, queues, 0xfff0);
    let stats = Arc::new(RingStats::default());
    let ring = Ring::new(ifindex, queue.into(), (umem, socket), &sizes, ids, stats);
    (ring, kernel, frames)
}

/// The device by which a host's frames leave.
pub fn ifindex(host: usize) -> u32 {
    7 + host as u32
}

fn mac(host: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, host as u8])
}

fn outer(options: &Options, host: usize) -> IpAddr {
    if options.v6 {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16 + 1])
    } else {
        IpAddr::from([192, 0, 2, host as u8 + 1])
    }
}

fn udp_len(frame: &[u8], tags: Tags, v6: bool) -> usize {
    let ip_at = 14 + 4 * tags.as_slice().len();
    frame.len() - ip_at - if v6 { 40 } else { 20 }
}

fn bind(options: &Options) -> Option<UdpSockets> {
    let mut sockets = options
        .sockets
        .then(|| UdpSockets::bind(0, 1, 0).expect("a UDP port"))?;
    sockets.pop()
}

fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

/// A packet that says who sent it and which one it is.
pub fn numbered(from: usize, to: usize, number: u32, size: usize, tos: u8) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + size, number as u8);
    packet::ip(inner4(from), inner4(to), tos, &payload)
}

/// Sender and number of such a packet, which must be whole.
pub fn number(delivered: &[u8]) -> (usize, u32) {
    let payload = packet::payload(delivered);
    let number = u32::from_be_bytes(*payload.first_chunk().expect("a number"));
    assert!(payload[4..].iter().all(|b| *b == number as u8), "whole");
    (usize::from(delivered[15]) - 1, number)
}

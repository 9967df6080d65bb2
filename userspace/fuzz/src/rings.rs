//! The data path of a worker over a ring in memory: short rings, a kernel that
//! works when it likes to, frames that are hostile, a ring that fails; every
//! packet and every frame accounted for.

use crate::Seed;
use crate::datapath::{expected, next, read_of};
use crate::ends::NOW;
use crate::gateway::{Gateway, MTU};
use crate::input::Input;
use crate::packets::{self, Kind, sum};
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::offload::Segmenter;
use ringtun::datapath::outbound::Outbound;
use ringtun::datapath::path::{Exit, Path};
use ringtun::datapath::port::Port;
use ringtun::datapath::rings::ring::frames_for;
use ringtun::datapath::rings::{Ring, RingStats, Rings, Way};
use ringtun::drops::DropReason;
use ringtun::net::outer::{
    Addresses, Checksum, HEADERS_MAX, Hop, Identifications, Mac, Outer, Tag, Tags, Template,
};
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::keypair::padded_len;
use ringtun::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN};
use ringtun::xsk::peer::Transmitted;
use ringtun::xsk::ring::Desc;
use ringtun::xsk::{Peer, RingSizes, Socket, Umem, UmemConfig, Which};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Steps of one input.
const STEPS: usize = 48;
/// Counters that one input may use.
const COUNTERS: u64 = 1 << 20;
/// Packets that may be on their way out, and their bytes: those that leave by the
/// socket wait in its peer's buffer, which counts twice as much for each.
const IN_FLIGHT: usize = 128;
const BYTES_IN_FLIGHT: usize = 64 * 1024;
/// The card.
const IFINDEX: u32 = 3;
/// Rounds that are enough to bring everything out of rings of any size.
const ROUNDS: usize = 256;

thread_local! {
    static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::new());
}

/// One input: what the rings are like, steps, then the books.
pub fn run(data: &[u8]) {
    GATEWAY.with_borrow_mut(|gateway| {
        let mut input = Input(data);
        let what = input.byte();
        Case::new(gateway, what).run(input);
    });
}

struct Case<'a> {
    gateway: &'a mut Gateway,
    port: [Option<Box<Port>>; 1],
    inbound: Inbound,
    outbound: Outbound,
    rings: Rings,
    kernel: Peer,
    stats: Arc<RingStats>,
    umem_frames: u32,
    tags: Tags,
    v6: bool,
    failed: bool,
    base: u64,
    before: Counts,
    /// Packets of the TUN device that are to leave, and how many have no peer.
    outgoing: Vec<Vec<u8>>,
    nobodys: u64,
    left: u64,
    /// The counter of the last packet that left by the ring.
    last: Option<u64>,
    /// Inner packets that were sealed and brought to the ring unchanged.
    sealed: Vec<Vec<u8>>,
    /// Scratch.
    buffers: [Vec<u8>; 2],
}

/// Counters at one moment.
#[derive(Clone, Copy)]
struct Counts {
    /// Data packets, and datagrams that are none after all.
    sorted: u64,
    no_frame: u64,
    /// Packets of the TUN device that were dropped for other reasons.
    outbound: u64,
}

impl Counts {
    fn of(port: &Port) -> Self {
        let stats = &port.stats;
        let outbound = [
            DropReason::OutboundMalformed,
            DropReason::NoPeerForDestination,
            DropReason::SocketError,
            DropReason::StagedOverflow,
        ];
        Self {
            sorted: stats.outer_rx_packets.get() + stats.drops.get(DropReason::Malformed),
            no_frame: stats.drops.get(DropReason::NoFrame),
            outbound: outbound.iter().map(|r| stats.drops.get(*r)).sum(),
        }
    }
}

/// The true headers of packets from the peer.
fn from_peer(case: &Case<'_>, path_mtu: u32) -> Hop {
    let addresses = if case.v6 {
        let addresses = ("2001:db8::2", "2001:db8::1");
        (addresses.0.parse(), addresses.1.parse())
    } else {
        ("192.0.2.2".parse(), "192.0.2.1".parse())
    };
    Hop {
        ifindex: IFINDEX,
        source_mac: Mac([2, 0, 0, 0, 0, 2]),
        next_hop_mac: Mac([2, 0, 0, 0, 0, 1]),
        tags: case.tags,
        addresses: Addresses::new(addresses.0.expect("valid"), addresses.1.expect("valid"))
            .expect("one family"),
        mtu: path_mtu,
        hop_limit: 64,
    }
}

impl<'a> Case<'a> {
    /// The bits of `what`: sizes of the rings, checksums, tags, family.
    fn new(gateway: &'a mut Gateway, what: u8) -> Self {
        // At most a batch: a frame that is named twice is received once.
        let size = 16 << (what & 3).min(2);
        let sizes = RingSizes {
            completion: if what & 4 == 0 { size } else { 8 },
            ..RingSizes::all(size)
        };
        let umem_frames = frames_for(&sizes) - if what & 8 == 0 { 0 } else { size - 3 };
        let mut umem = Umem::new(UmemConfig {
            frames: umem_frames,
            tx_metadata: what & 0x10 == 0,
            ..UmemConfig::default()
        })
        .expect("memory");
        let (mut socket, kernel) =
            Socket::in_memory(&mut umem, &sizes, u32::MAX - 20).expect("rings");
        socket.fill.refill(&mut umem, sizes.fill).expect("sane");
        let stats = Arc::new(RingStats::default());
        let ids = Identifications::new(1, 2, 7);
        let ring = Ring::new(IFINDEX, 0, (umem, socket), &sizes, ids, Arc::clone(&stats));
        let mut rings = Rings::default();
        rings.add(Way::Own(Box::new(ring)));
        let mut tags = Tags::NONE;
        for vlan in 0..(what >> 5 & 3).min(2) {
            let tag = Tag {
                vlan: u16::from(vlan) + 5,
                ..Tag::default()
            };
            assert!(tags.wrap(tag), "there is room for two");
        }
        let mut port = gateway.port.take().expect("each case gives it back");
        port.blocked = Default::default();
        port.tunnel.use_rings(true);
        port.tunnel.port.store(gateway.listens_on(&port), Relaxed);
        Self {
            inbound: Inbound::new(gateway.frames.clone(), gateway.queues.clone()),
            outbound: Outbound::new(gateway.frames.clone()),
            before: Counts::of(&port),
            port: [Some(port)],
            base: gateway.counter,
            gateway,
            rings,
            kernel,
            stats,
            umem_frames,
            tags,
            v6: what & 0x80 != 0,
            failed: false,
            outgoing: Vec::new(),
            nobodys: 0,
            left: 0,
            last: None,
            sealed: Vec::new(),
            buffers: [vec![0; 70_000], vec![0; 70_000]],
        }
    }

    fn run(mut self, mut input: Input<'_>) {
        self.set_exit();
        for _ in 0..STEPS {
            if input.0.is_empty() {
                break;
            }
            match input.byte() % 16 {
                0 => self.receive_raw(&mut input),
                1..=4 => self.receive_sealed(&mut input),
                5 => self.inject(&mut input),
                6..=8 => self.write(&mut input),
                9 | 10 => self.serve_out(),
                11 | 12 => self.serve_in(),
                13 => self.post(&mut input),
                14 if input.byte() == 0xff => self.fail(&mut input),
                _ => {
                    let n = input.byte();
                    self.transmit(n.into());
                }
            }
        }
        self.settle();
    }

    fn port(&mut self) -> &mut Port {
        self.port[0].as_deref_mut().expect("it stays")
    }

    /// Where the peer is, and how packets leave for there. Frames are not
    /// authentic but what is in them is: the peer may seem to be anywhere by
    /// now, and nothing must be sent there.
    fn set_exit(&mut self) {
        let to = self.gateway.wire.local_addr().expect("bound");
        self.gateway.cell.endpoint.set(Some(Endpoint::new(to)));
        let hop = from_peer(self, 1500);
        let source = self.port().tunnel.port.load(Relaxed);
        Path::of(&self.gateway.cell).set_exit(Some(Exit {
            to: Endpoint::new(to),
            template: Some(Template::new(&hop, source, to.port())),
        }));
    }

    /// Any bytes as a frame.
    fn receive_raw(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.byte());
        let frame = input.take(len).to_vec();
        self.deliver(&frame);
    }

    /// A packet of the peer, changed before or after sealing, in a frame that is
    /// changed, cut or continued.
    fn receive_sealed(&mut self, input: &mut Input<'_>) {
        let (what, counter) = (input.byte(), input.byte());
        let kind = Kind::of(what);
        let size = 20 * usize::from(what >> 2 & 3);
        let mut inner = match size {
            0 => Vec::new(),
            size => packets::whole(kind, u32::from(input.byte()) * 100, size),
        };
        input.edit(&mut inner, what >> 4 & 1);
        let mut packet = vec![0; padded_len(inner.len(), MTU) + KEEPALIVE_LEN];
        packet[DATA_HEADER_LEN..DATA_HEADER_LEN + inner.len()].copy_from_slice(&inner);
        let counter = self.base + u64::from(counter);
        self.gateway.peer.seal(counter, &mut packet);
        let mut frame = self.framed(&packet);
        input.edit(&mut frame, what >> 5 & 1);
        if what & 0x40 != 0 {
            let headers = frame.len() - packet.len();
            let at = usize::from(input.byte()) % headers;
            frame[at] ^= input.byte();
            let ip = 14 + 4 * self.tags.as_slice().len();
            let checksum = ip + 10..ip + 12;
            if !self.v6 && !checksum.contains(&at) {
                // As a router would: what is behind the checksum is to be seen too.
                frame[checksum.clone()].fill(0);
                let value = !sum(&[&frame[ip..ip + 20]]);
                frame[checksum].copy_from_slice(&value.to_be_bytes());
            }
        }
        if what & 0x80 != 0 {
            let len = usize::from(input.byte());
            let longer = frame.len() + usize::from(input.byte() % 64);
            frame.resize(if len == 0 { longer } else { len }, 0);
        }
        if !inner.is_empty() {
            // A header may count padding as part of its packet.
            inner.resize(padded_len(inner.len(), MTU), 0);
            self.sealed.push(inner);
        }
        self.deliver(&frame);
    }

    /// The frame in which the peer's packet comes.
    fn framed(&mut self, packet: &[u8]) -> Vec<u8> {
        let to = self.port().tunnel.port.load(Relaxed);
        let template = Template::new(&from_peer(self, 9000), 51820, to);
        let mut room = [0; HEADERS_MAX];
        let outer = Outer {
            payload_len: packet.len(),
            ..Outer::default()
        };
        template
            .write(&mut room, outer, Checksum::Complete(Default::default()))
            .expect("it fits");
        [&room[HEADERS_MAX - template.len()..], packet].concat()
    }

    fn deliver(&mut self, frame: &[u8]) {
        if self.kernel.deliver(frame).is_err() {
            self.serve_in();
            // Too long, empty, or the ring failed.
            let _ = self.kernel.deliver(frame);
        }
    }

    /// A descriptor that no kernel would write.
    fn inject(&mut self, input: &mut Input<'_>) {
        let (frame, at) = (u64::from(input.word()), u64::from(input.word()));
        let desc = Desc {
            addr: (frame << 11).wrapping_add(at) | u64::from(input.byte()) << 56,
            len: u32::from(input.word()),
            options: u32::from(input.byte() & 1),
        };
        // An error says that the ring failed.
        let _ = self.kernel.inject(desc);
    }

    fn post(&mut self, input: &mut Input<'_>) {
        let n = usize::from(input.byte());
        let _ = self.kernel.post(n);
    }

    fn fail(&mut self, input: &mut Input<'_>) {
        let which = [Which::Fill, Which::Completion, Which::Rx, Which::Tx];
        self.kernel.corrupt(which[usize::from(input.byte() % 4)]);
        self.failed = true;
    }

    fn serve_in(&mut self) {
        for ring in self.rings.own() {
            ring.mark_ready();
            self.inbound
                .serve_ring(ring, &mut self.port, &mut Rings::default(), NOW);
        }
        let port = self.port[0].as_deref_mut().expect("it stays");
        self.inbound.serve(port, &mut Rings::default(), NOW);
        self.set_exit();
        self.collect_delivered();
    }

    /// What came out of the TUN queue: packets that were sealed, each once.
    fn collect_delivered(&mut self) {
        let [buffer, out] = &mut self.buffers;
        while let Some(len) = next(self.gateway.tun.recv(buffer)) {
            let mut segments = Segmenter::new(&mut buffer[..len]).expect("a write of ours");
            while let Some(len) = segments.write_next(out) {
                let delivered = &out[..len];
                let is_it = |inner: &Vec<u8>| {
                    let inner = inner.get(..len);
                    inner.is_some_and(|inner| is_delivered_as(inner, delivered))
                };
                let mut known = self.sealed.iter();
                let at = known.position(is_it);
                let at = at.unwrap_or_else(|| {
                    panic!("nobody sealed {delivered:x?}, but {:x?}", self.sealed)
                });
                self.sealed.swap_remove(at);
            }
        }
    }

    /// A packet or a super-packet to the TUN device.
    fn write(&mut self, input: &mut Input<'_>) {
        let read = read_of(input);
        let (packets, nobodys) = expected(&read);
        let all = || self.outgoing.iter().chain(&packets);
        let few =
            all().count() <= IN_FLIGHT && all().map(Vec::len).sum::<usize>() <= BYTES_IN_FLIGHT;
        if few && !read.is_empty() && self.gateway.tun.send(&read).is_ok() {
            self.outgoing.extend(packets);
            self.nobodys += nobodys;
        }
    }

    fn serve_out(&mut self) {
        let port = self.port[0].as_deref_mut().expect("it stays");
        port.tun_ready = true;
        self.outbound.serve(port, &mut self.rings, NOW);
        self.rings.kick(NOW);
        let mut buffers = std::mem::take(&mut self.buffers);
        while let Some(len) = next(self.gateway.wire.recv(&mut buffers[0])) {
            self.check_sent(&mut buffers[0][..len]);
        }
        self.buffers = buffers;
    }

    /// The kernel takes up to `n` frames.
    fn transmit(&mut self, n: u32) -> usize {
        let mut frames = Vec::new();
        let to_wire = |frame: Transmitted<'_>| frames.push(finished(&frame));
        // An error says that the ring failed.
        let _ = self.kernel.collect(n, to_wire);
        let headers = 14 + 4 * self.tags.as_slice().len();
        for frame in &mut frames {
            let payload = check_headers(frame, headers, self.v6);
            let counter = self.check_sent(&mut frame[payload..]);
            assert!(self.last < Some(counter), "out of order");
            self.last = Some(counter);
        }
        frames.len()
    }

    /// What left is one of those that are to leave, for the first time.
    fn check_sent(&mut self, message: &mut [u8]) -> u64 {
        let opened = self.gateway.peer.open(NOW, message);
        let opened = opened.expect("what leaves is sealed for the peer");
        let fresh = self.gateway.peer.admit().accept(opened.counter);
        assert!(fresh, "a counter was used twice");
        let text = &message[DATA_HEADER_LEN..DATA_HEADER_LEN + opened.len];
        let is_it = |packet: &Vec<u8>| {
            let (head, padding) = text.split_at(packet.len().min(text.len()));
            head == packet && padding.iter().all(|b| *b == 0)
        };
        let at = self.outgoing.iter().position(is_it);
        self.outgoing
            .remove(at.expect("a packet left that nobody wrote"));
        self.left += 1;
        opened.counter
    }

    /// The books.
    fn settle(mut self) {
        for _ in 0..ROUNDS {
            self.serve_out();
            let idle = self.transmit(u32::MAX) == 0;
            if idle && !self.port().tun_ready && self.port().runs.is_empty() {
                break;
            }
        }
        for _ in 0..ROUNDS {
            self.serve_in();
            let more = self.rings.own().any(|ring| ring.is_ready());
            if !more && self.port().turns.is_empty() {
                break;
            }
        }
        let (now, was) = (Counts::of(self.port()), self.before);
        assert!(self.port().runs.is_empty(), "sealed packets were left");
        let received = self.stats.rx_packets.get() - self.stats.stray.get();
        let no_frame_inbound = received.checked_sub(now.sorted - was.sorted);
        let not_sent = self.outgoing.len() as u64 + self.nobodys;
        if !self.failed {
            // What the kernel has when a ring fails is lost without being counted.
            let no_frame_outbound = not_sent.checked_sub(now.outbound - was.outbound);
            let both = no_frame_inbound.zip(no_frame_outbound).map(|(a, b)| a + b);
            assert_eq!(
                both,
                Some(now.no_frame - was.no_frame),
                "each packet is sorted, sent or counted: {received} of {} received, {not_sent} not sent",
                self.stats.rx_packets.get()
            );
        }
        for ring in self.rings.own() {
            let count = ring.audit();
            assert_eq!(count.total(), self.umem_frames);
            assert_eq!(count.held, 0, "{count:?}");
            assert!(self.failed || count.sent == 0, "{count:?}");
        }
        let mut port = self.port[0].take().expect("it stays");
        port.turns.clear();
        self.gateway.port = Some(port);
        drop(self.inbound);
        drop(self.outbound);
        assert_eq!(self.gateway.frames.outstanding(), 0, "frames were lost");
        self.gateway.counter = self.base + COUNTERS;
    }
}

/// Whether `delivered` is what may become of `inner`: packets that were joined and
/// divided again count the first's IPv4 identification up, and an outer congestion
/// mark is added to what is capable of it (RFC 6040).
fn is_delivered_as(inner: &[u8], delivered: &[u8]) -> bool {
    let (marked, was) = (ecn_of(delivered), ecn_of(inner));
    let mark = marked == was || matches!((was, marked), (2, 1) | (1 | 2, 3));
    mark && plain(inner) == plain(delivered)
}

/// The ECN field of a packet.
fn ecn_of(packet: &[u8]) -> u8 {
    match packet[0] >> 4 {
        4 => packet[1] & 3,
        _ => packet[1] >> 4 & 3,
    }
}

/// A packet less its ECN field, IPv4 identification and header checksum.
fn plain(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[1] &= !3;
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    } else {
        packet[1] &= !0x30;
    }
    packet
}

/// A frame with the checksum that the kernel was asked to finish.
fn finished(sent: &Transmitted<'_>) -> Vec<u8> {
    let mut bytes = sent.bytes.to_vec();
    if let Some(checksum) = sent.checksum {
        let value = match !sum(&[&bytes[checksum.start()..]]) {
            0 => 0xffff,
            value => value,
        };
        let at = checksum.field();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

/// Checks lengths and checksums; where the payload begins.
fn check_headers(frame: &[u8], ip_at: usize, v6: bool) -> usize {
    let ip = &frame[ip_at..];
    let (udp_at, addresses) = if v6 {
        (40, &ip[8..40])
    } else {
        assert_eq!(sum(&[&ip[..20]]), 0xffff, "the IPv4 header's checksum");
        let total = u16::from_be_bytes([ip[2], ip[3]]);
        assert_eq!(usize::from(total), ip.len());
        (20, &ip[12..20])
    };
    let udp = &ip[udp_at..];
    let len = udp.len() as u16;
    assert_eq!(udp[4..6], len.to_be_bytes());
    let pseudo = [addresses, &len.to_be_bytes(), &[0, 17]].concat();
    assert_eq!(sum(&[&pseudo, udp]), 0xffff, "the UDP checksum");
    ip_at + udp_at + 8
}

/// Each kind of step, alone and mixed.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let tcp = |counter: u8, at: u8| vec![1, 0b1000, counter, at];
    let super_packet = [6, 0b1000, 0xa0, 0x0f, 40];
    let bulk: Vec<u8> = (0..20).flat_map(|n| tcp(n, n)).collect();
    let with = |what: u8, steps: &[&[u8]]| [&[what][..], &steps.concat()].concat();
    vec![
        ("raw-garbage", with(0, &[&[0, 5, 1, 2, 3, 4, 5], &[11]])),
        ("bulk", with(0, &[&bulk, &[11]])),
        ("bulk-v6-tags", with(0xe0, &[&bulk, &[11]])),
        ("replayed", with(0, &[&tcp(3, 0), &tcp(3, 1), &[11]])),
        (
            "header-edited",
            with(0, &[&[1, 0b0100_1000, 0, 0, 37, 1], &[11]]),
        ),
        ("cut", with(0, &[&[1, 0b1000_1000, 0, 0, 60, 0], &[11]])),
        ("longer", with(0, &[&[1, 0b1000_1000, 0, 0, 0, 9], &[11]])),
        (
            "descriptor",
            with(0, &[&[5, 1, 0, 0, 1, 0, 60, 0, 0], &[11]]),
        ),
        ("out", with(0, &[&super_packet, &[9, 15, 200]])),
        (
            "out-complete-sum",
            with(0x90, &[&super_packet, &[9, 15, 200]]),
        ),
        (
            "out-full-ring",
            with(0, &[&super_packet, &super_packet, &[9, 15, 5, 9, 15, 5, 9]]),
        ),
        (
            "out-few-frames",
            with(8, &[&super_packet, &[9, 15, 2, 9, 15, 200]]),
        ),
        (
            "out-short-completion",
            with(4, &[&super_packet, &[9, 15, 200, 15, 200, 9, 15, 200]]),
        ),
        (
            "out-too-long",
            with(0, &[&[6, 0b1000, 0xa0, 0x0f, 0xf0], &[9, 15, 200]]),
        ),
        (
            "posted",
            with(1, &[&[13, 200, 11, 13, 200, 11], &super_packet, &[9]]),
        ),
        (
            "failed-in-the-middle",
            with(0, &[&super_packet, &super_packet, &[9, 14, 0xff, 3, 9, 11]]),
        ),
        (
            "both-ways",
            with(2, &[&bulk, &super_packet, &[9, 11, 15, 9], &bulk]),
        ),
    ]
}

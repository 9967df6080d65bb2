//! The data path of a worker, both ways, with every packet and every frame
//! accounted for.

use crate::Seed;
use crate::ends::NOW;
use crate::gateway::{FRAMES, Gateway, MTU};
use crate::input::Input;
use crate::packets::{self, Kind};
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::offload::{Segmenter, VNET_LEN, VnetHeader};
use ringtun::datapath::outbound::Outbound;
use ringtun::datapath::rings::Rings;
use ringtun::drops::DropReason;
use ringtun::tunnel::keypair::padded_len;
use ringtun::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN, Message};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

/// Steps of one input.
const STEPS: usize = 24;
/// Counters that one input may use.
const COUNTERS: u64 = 1 << 20;

thread_local! {
    static GATEWAY: RefCell<Gateway> = RefCell::new(Gateway::new());
}

/// What was sent to the gateway's socket.
#[derive(Default)]
struct Sent {
    malformed: u64,
    handshakes: u64,
    data: u64,
    /// Inner packets that were sealed and not changed afterwards.
    inner: Vec<Vec<u8>>,
    keepalives: u64,
}

/// One input: steps inbound and outbound, then the books.
pub fn run(data: &[u8]) {
    GATEWAY.with_borrow_mut(|gateway| Case::new(gateway).run(Input(data)));
}

struct Case<'a> {
    gateway: &'a mut Gateway,
    inbound: Inbound,
    outbound: Outbound,
    base: u64,
    highest: u64,
    before: Counts,
    sent: Sent,
}

/// Small packets that the default receive buffer of a socket holds with ease.
const IN_FLIGHT: usize = 128;

/// Counters of the gateway at one moment.
#[derive(Clone, Copy)]
struct Counts {
    outer_rx: u64,
    inner_rx: u64,
    malformed: u64,
    handshakes: u64,
    /// Packets of the TUN device that were dropped.
    outbound_drops: u64,
    /// Data packets of the peer that were dropped.
    data_drops: u64,
}

/// What is counted of packets of the TUN device. Want of frames can be either's;
/// one packet at a time never wants for them inbound.
const OUTBOUND: [DropReason; 5] = [
    DropReason::OutboundMalformed,
    DropReason::NoPeerForDestination,
    DropReason::SocketError,
    DropReason::NoFrame,
    DropReason::StagedOverflow,
];

/// What is counted of datagrams that are no data packets.
const OTHERS: [DropReason; 2] = [DropReason::Malformed, DropReason::HandshakeQueueFull];

impl Counts {
    fn of(gateway: &mut Gateway) -> Self {
        let stats = Arc::clone(&gateway.port().stats);
        let (initiations, replies) = gateway.queues.len();
        let sum = |of: &[DropReason]| of.iter().map(|r| stats.drops.get(*r)).sum::<u64>();
        Self {
            outer_rx: stats.outer_rx_packets.get(),
            inner_rx: stats.inner_rx_packets.get(),
            malformed: stats.drops.get(DropReason::Malformed),
            handshakes: (initiations + replies) as u64
                + stats.drops.get(DropReason::HandshakeQueueFull),
            outbound_drops: sum(&OUTBOUND),
            data_drops: sum(DropReason::ALL) - sum(&OUTBOUND) - sum(&OTHERS),
        }
    }
}

impl<'a> Case<'a> {
    fn new(gateway: &'a mut Gateway) -> Self {
        let base = gateway.counter;
        Self {
            inbound: Inbound::new(gateway.frames.clone(), gateway.queues.clone()),
            outbound: Outbound::new(gateway.frames.clone()),
            base,
            highest: base,
            before: Counts::of(gateway),
            sent: Sent::default(),
            gateway,
        }
    }

    fn run(mut self, mut input: Input<'_>) {
        for _ in 0..STEPS {
            if input.0.is_empty() {
                break;
            }
            match input.byte() % 8 {
                0 => self.send_raw(&mut input),
                1..=4 => self.send_sealed(&mut input),
                _ => self.route_out(&mut input),
            }
        }
        self.settle();
    }

    /// Any bytes as a datagram.
    fn send_raw(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.byte());
        let datagram = input.take(len).to_vec();
        self.send(&datagram);
    }

    /// A packet under the session's key, changed before or after sealing.
    fn send_sealed(&mut self, input: &mut Input<'_>) {
        let (what, counter) = (input.byte(), input.byte());
        let kind = Kind::of(what);
        let mut inner = match what >> 2 & 3 {
            0 => Vec::new(),
            1 => {
                let len = usize::from(input.byte());
                input.take(len).to_vec()
            }
            _ => packets::whole(kind, u32::from(input.byte()) * 100, 100),
        };
        input.edit(&mut inner, what >> 4 & 1);
        let mut packet = vec![0; padded_len(inner.len(), MTU) + KEEPALIVE_LEN];
        packet[DATA_HEADER_LEN..DATA_HEADER_LEN + inner.len()].copy_from_slice(&inner);
        let counter = self.base + u64::from(counter) * if what & 0x40 != 0 { 997 } else { 1 };
        self.highest = self.highest.max(counter);
        self.gateway.peer.seal(counter, &mut packet);
        let sealed = packet.clone();
        input.edit(&mut packet, what >> 5 & 1);
        if packet == sealed {
            if inner.is_empty() {
                self.sent.keepalives += 1;
            } else {
                // A header may count padding as part of its packet.
                inner.resize(padded_len(inner.len(), MTU), 0);
                self.sent.inner.push(inner);
            }
        }
        self.send(&packet);
    }

    fn send(&mut self, datagram: &[u8]) {
        let counter = match Message::parse(datagram) {
            Err(_) => &mut self.sent.malformed,
            Ok(Message::Data(_)) => &mut self.sent.data,
            Ok(_) => &mut self.sent.handshakes,
        };
        *counter += 1;
        self.gateway.wire.send(datagram).expect("loopback takes it");
        self.gateway.port().v4_ready = true;
        self.inbound
            .serve(self.gateway.port(), &mut Rings::default(), NOW);
        self.collect_delivered();
    }

    /// What came out of the TUN queue: packets that were sealed, each once.
    fn collect_delivered(&mut self) {
        let mut buffer = vec![0; 70_000];
        while let Some(len) = next(self.gateway.tun.recv(&mut buffer)) {
            let mut segments = Segmenter::new(&mut buffer[..len]).expect("a write of ours");
            let mut out = vec![0; 70_000];
            while let Some(len) = segments.write_next(&mut out) {
                let delivered = &out[..len];
                let known = self.sent.inner.iter().position(|inner| {
                    // A congestion mark may have been added; none was sent here.
                    inner.get(..len) == Some(delivered)
                });
                let at = known.expect("a packet was delivered that nobody sealed");
                self.sent.inner.swap_remove(at);
            }
        }
    }

    /// A read from the TUN device; what leaves must be what it segments into.
    fn route_out(&mut self, input: &mut Input<'_>) {
        let read = read_of(input);
        let (expected, nobodys) = expected(&read);
        let dropped_before = Counts::of(self.gateway).outbound_drops;
        // More than the peer's socket has room for would be lost there, by the kernel.
        if expected.len() > IN_FLIGHT {
            return;
        }
        if read.is_empty() || self.gateway.tun.send(&read).is_err() {
            return;
        }
        self.gateway.port().tun_ready = true;
        self.outbound
            .serve(self.gateway.port(), &mut Rings::default(), NOW);
        self.collect_sent(expected, nobodys, dropped_before);
    }

    fn collect_sent(&mut self, mut expected: VecDeque<Vec<u8>>, nobodys: u64, dropped_before: u64) {
        let mut buffer = vec![0; 70_000];
        while let Some(len) = next(self.gateway.wire.recv(&mut buffer)) {
            let datagram = &mut buffer[..len];
            let opened = self.gateway.peer.open(NOW, datagram);
            let opened = opened.expect("what leaves is sealed for the peer");
            let fresh = self.gateway.peer.admit().accept(opened.counter);
            assert!(fresh, "a counter was used twice");
            let text = &datagram[DATA_HEADER_LEN..DATA_HEADER_LEN + opened.len];
            let packet = expected.pop_front().expect("nothing more was to be sent");
            assert_eq!(
                text[..packet.len()],
                packet,
                "another packet, or another order"
            );
            assert!(
                text[packet.len()..].iter().all(|b| *b == 0),
                "padding is zeros"
            );
            assert_eq!(text.len(), padded_len(packet.len(), MTU));
        }
        let lost = Counts::of(self.gateway).outbound_drops - dropped_before;
        assert_eq!(
            lost,
            expected.len() as u64 + nobodys,
            "each packet is sent or counted once"
        );
    }

    /// The books: each datagram is counted once, each frame is back.
    fn settle(self) {
        let (now, was) = (Counts::of(self.gateway), self.before);
        let sent = &self.sent;
        assert_eq!(now.malformed - was.malformed, sent.malformed, "malformed");
        assert_eq!(
            now.handshakes - was.handshakes,
            sent.handshakes,
            "handshakes"
        );
        assert_eq!(now.outer_rx - was.outer_rx, sent.data, "data packets");
        // Neither delivered nor dropped are keepalives, and they alone.
        let delivered = now.inner_rx - was.inner_rx;
        let dropped = now.data_drops - was.data_drops;
        let silent = sent.data.checked_sub(delivered + dropped);
        assert!(
            silent.is_some_and(|silent| silent <= sent.keepalives),
            "of {} data packets {delivered} were delivered, {dropped} dropped, {} empty",
            sent.data,
            sent.keepalives
        );

        drop(self.inbound);
        drop(self.outbound);
        assert!(
            self.gateway.port().runs.is_empty(),
            "sealed packets were left"
        );
        assert_eq!(self.gateway.frames.outstanding(), 0, "frames were lost");
        assert_eq!(self.gateway.frames.total(), FRAMES);
        self.gateway.counter = self.base + COUNTERS;
        assert!(self.highest < self.gateway.counter);
    }
}

/// A read from the TUN device: a packet or a super-packet, or anything.
pub fn read_of(input: &mut Input<'_>) -> Vec<u8> {
    let (what, size) = (input.byte(), input.word());
    let kind = Kind::of(what);
    let mut read = if what & 4 != 0 {
        let len = usize::from(input.byte());
        input.take(len).to_vec()
    } else {
        let payload = usize::from(size % 8000) + 1;
        let transport: u16 = if kind.is_v6() { 40 } else { 20 };
        let header = VnetHeader {
            needs_csum: true,
            gso: (what & 8 != 0).then_some(kind.gso()),
            hdr_len: transport,
            gso_size: u16::from(input.byte()) * 8 + 200,
            csum_start: transport,
            csum_offset: if kind.is_udp() { 6 } else { 16 },
            ecn: false,
        };
        [&header.to_bytes()[..], &packets::partial(kind, payload)].concat()
    };
    input.edit(&mut read, what >> 4 & 3);
    read
}

/// The packets of a read that have a peer, by the code under `segment`, and
/// how many are to be dropped.
pub fn expected(read: &[u8]) -> (VecDeque<Vec<u8>>, u64) {
    let mut copy = read.to_vec();
    let mut all = VecDeque::new();
    let Ok(mut segments) = Segmenter::new(&mut copy) else {
        return (all, 1);
    };
    let packet = segments.packet();
    let ours = match packet[0] >> 4 {
        4 => packet[16..19] == [10, 0, 0],
        _ => packet[24..32] == [0xfd, 0, 0, 0, 0, 0, 0, 0],
    };
    if !ours {
        return (all, segments.remaining() as u64);
    }
    let mut out = vec![0; 70_000];
    while let Some(len) = segments.write_next(&mut out) {
        all.push_back(out[..len].to_vec());
    }
    (all, 0)
}

/// The next datagram, or `None` when there is none.
pub fn next(received: std::io::Result<usize>) -> Option<usize> {
    match received {
        Ok(len) => Some(len),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("receiving: {error}"),
    }
}

/// Each kind of step, alone and mixed.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let tcp = |counter: u8, at: u8| [1, 0b1000, counter, at];
    vec![
        ("raw-garbage", vec![0, 5, 1, 2, 3, 4, 5]),
        (
            "raw-data-header",
            [&[0, 40, 4, 0, 0, 0][..], &[0; 36]].concat(),
        ),
        (
            "raw-initiation",
            [&[0, 148, 1, 0, 0, 0][..], &[0; 144]].concat(),
        ),
        ("keepalive", vec![1, 0, 0]),
        ("bulk", (0..20).flat_map(|n| tcp(n, n)).collect()),
        ("replayed", [tcp(3, 0), tcp(3, 1), tcp(2, 2)].concat()),
        ("window", vec![1, 0b0100_1000, 200, 0, 1, 0b1000, 1, 1]),
        ("inner-garbage", vec![1, 0b0100, 0, 4, 9, 9, 9, 9]),
        ("inner-edited", vec![1, 0b0001_1000, 0, 0, 12, 0, 1]),
        ("sealed-edited", vec![1, 0b0010_1000, 0, 0, 60, 0, 1]),
        ("out-super-packet", vec![5, 0b1000, 0xa0, 0x0f, 150]),
        (
            "out-udp",
            vec![5, 0b1010, 0xa0, 0x0f, 150, 6, 0b1011, 0xa0, 0x0f, 150],
        ),
        ("out-plain", vec![5, 0, 100, 0, 0]),
        (
            "out-garbage",
            vec![5, 4, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x45, 0],
        ),
        (
            "both-ways",
            [&tcp(0, 0)[..], &[5, 8, 0xa0, 0x0f, 150], &tcp(1, 1)].concat(),
        ),
    ]
}

// The vnet header is part of every read.
const _: () = assert!(VNET_LEN == 10);

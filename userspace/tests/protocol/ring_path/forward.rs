//! Past the kernel's stack: between the rings of the LAN side and the tunnel.

use std::net::IpAddr;
use std::sync::Arc;

use mio::{Poll, Token, Waker};
use proptest::prelude::*;
use ringtun::datapath::forward::{Destinations, NextHop};
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::port::Port;
use ringtun::datapath::rings::{Doorbell, RelayInbox, Rings, Way};
use ringtun::datapath::runs::Blocked;
use ringtun::drops::DropReason;
use ringtun::net::outer::{Addresses, Hop, Mac, Tags};
use ringtun::xsk::{Peer, RingSizes};

use super::net::{self, FRAMES, Net, Options, number, numbered};
use super::wire::{self, sum};
use crate::support::{inner4, inner6, packet};

const LAN: u32 = 90;
const CLIENT: Mac = Mac([2, 0, 0, 0, 1, 2]);
const GATEWAY: Mac = Mac([2, 0, 0, 0, 1, 1]);
const MTU: u32 = 1400;

/// A host's network card towards clients.
struct Lan {
    kernel: Peer,
    umem_frames: u32,
}

impl Lan {
    /// Gives host `at` the card, and lets packets go past its kernel.
    fn at(net: &mut Net, at: usize, options: &Options) -> Self {
        let (ring, kernel, umem_frames) = net::ring(LAN, 0, 1, options);
        net.hosts[at].lan.add(Way::Own(Box::new(ring)));
        net.hosts[at].port(0).tunnel.forwarding.set(true);
        Self {
            kernel,
            umem_frames,
        }
    }

    /// What went to clients: packets, each behind the header that is for it.
    fn collect(&mut self, n: u32) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let take = |sent: ringtun::xsk::peer::Transmitted<'_>| {
            let bytes = wire::finish(&sent);
            assert_eq!(
                (&bytes[..6], &bytes[6..12]),
                (&CLIENT.0[..], &GATEWAY.0[..])
            );
            let ethertype = if bytes[14] >> 4 == 4 {
                [8, 0]
            } else {
                [0x86, 0xdd]
            };
            assert_eq!(bytes[12..14], ethertype);
            packets.push(bytes[14..].to_vec());
        };
        self.kernel.collect(n, take).expect("sane");
        packets
    }

    /// A client sends.
    fn send(&mut self, packet: &[u8]) -> bool {
        self.kernel.deliver(&framed(packet)).is_ok()
    }
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    [&GATEWAY.0[..], &CLIENT.0, &ethertype, packet].concat()
}

fn hop(to: IpAddr) -> NextHop {
    NextHop::new(&lan_hop(to))
}

fn lan_hop(to: IpAddr) -> Hop {
    let own = if to.is_ipv4() { inner4(99) } else { inner6(99) };
    Hop {
        ifindex: LAN,
        source_mac: GATEWAY,
        next_hop_mac: CLIENT,
        tags: Tags::NONE,
        addresses: Addresses::new(own, to).expect("one family"),
        mtu: MTU,
        hop_limit: 64,
    }
}

/// Host `at` knows that these are clients.
fn know(net: &mut Net, at: usize, clients: &[IpAddr]) {
    let known = clients.iter().map(|to| (*to, Some(Arc::new(hop(*to)))));
    let forwarding = &net.hosts[at].port(0).tunnel.forwarding;
    forwarding.publish(known.collect::<Destinations>());
}

/// Host 0 sends these packets; what comes out of the TUN device of host 1.
fn send(net: &mut Net, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut delivered = Vec::new();
    for some in packets.chunks(16) {
        assert_eq!(net.write(0, 0, some), some.len());
        net.serve_all(0);
        let frames = net.collect(0, u32::MAX);
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        let of_host = net.carry(&frames).swap_remove(1);
        delivered.extend(of_host.into_iter().map(|(_, packet)| packet));
    }
    delivered
}

/// The packet with one hop less, as the next router has to see it.
fn one_hop_less(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
        return packet;
    }
    packet[8] -= 1;
    packet[10..12].fill(0);
    let value = !sum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&value.to_be_bytes());
    packet
}

fn settle(mut net: Net, lans: Vec<(usize, Lan)>) {
    for (at, mut lan) in lans {
        lan.collect(u32::MAX);
        let now = net.now;
        let rings = &mut net.hosts[at].lan;
        rings.kick(now);
        for ring in rings.own() {
            let count = ring.audit();
            assert_eq!(count.total(), lan.umem_frames, "{count:?}");
            assert_eq!((count.held, count.sent, count.lost), (0, 0, 0), "{count:?}");
        }
        net.hosts[at].lan = Rings::default();
    }
    net.settle();
}

#[test]
fn what_is_for_a_client_leaves_by_the_card_and_the_rest_by_the_device() {
    let options = Options::default();
    let mut net = Net::new(800, options);
    let mut lan = Lan::at(&mut net, 1, &options);
    let to_client = |n: u32, size| numbered(0, 1, n, size, 0);
    let unknown: Vec<_> = (0..40).map(|n| to_client(n, 200)).collect();
    assert_eq!(send(&mut net, &unknown), unknown, "nobody is known yet");
    assert_eq!(lan.collect(u32::MAX).len(), 0);

    know(&mut net, 1, &[inner4(1), inner6(1)]);
    let four: Vec<_> = (0..40).map(|n| to_client(n, 16 * n as usize)).collect();
    let six = |n: u8| packet::ip(inner6(0), inner6(1), 0, &[n; 77]);
    let six: Vec<_> = (0..40).map(six).collect();
    for packets in [four, six] {
        assert_eq!(send(&mut net, &packets), Vec::<Vec<u8>>::new());
        let expected: Vec<_> = packets.iter().map(|p| one_hop_less(p)).collect();
        assert_eq!(lan.collect(u32::MAX), expected, "in order, each once");
    }
    let stats = &net.hosts[1].port(0).stats;
    assert_eq!(stats.forwarded_rx_packets.get(), 80);
    assert_eq!(stats.inner_rx_packets.get(), 120);

    // What the kernel has to look at goes by it, and keeps its order there.
    let last_hop = |mut packet: Vec<u8>| {
        let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
        packet[at] = 1;
        if at == 8 {
            packet[10..12].fill(0);
            let value = !sum(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&value.to_be_bytes());
        }
        packet
    };
    let six = packet::ip(inner6(0), inner6(1), 0, &[7; 20]);
    let mut hop_by_hop = packet::ip(inner6(0), inner6(1), 0, &[253, 0, 1, 4, 0, 0, 0, 0, 9]);
    hop_by_hop[6] = 0;
    let special = [
        last_hop(to_client(1, 20)),
        last_hop(six),
        hop_by_hop,
        to_client(2, MTU as usize - 20 - 4 + 1),
    ];
    let plain = to_client(3, 20);
    let mixed: Vec<_> = special
        .iter()
        .flat_map(|s| [plain.clone(), s.clone()])
        .collect();
    assert_eq!(send(&mut net, &mixed), special);
    assert_eq!(lan.collect(u32::MAX), vec![one_hop_less(&plain); 4]);

    // As long as the card takes.
    let longest = [to_client(4, MTU as usize - 20 - 4)];
    assert_eq!(send(&mut net, &longest), Vec::<Vec<u8>>::new());
    assert_eq!(lan.collect(u32::MAX).len(), 1);
    assert_eq!(net.dropped(1), []);
    settle(net, vec![(1, lan)]);
}

/// A card may have a larger MTU than its frames hold.
#[test]
fn what_no_frame_holds_goes_by_the_device_also_behind_what_one_holds() {
    let options = Options {
        mtu: 9000,
        frame_size: 4096,
        ..Options::default()
    };
    let mut net = Net::new(807, options);
    let small = Options {
        frame_size: 2048,
        ..options
    };
    let mut lan = Lan::at(&mut net, 1, &small);
    let to = inner4(1);
    let hop = NextHop::new(&Hop {
        mtu: 9000,
        ..lan_hop(to)
    });
    let known: Destinations = [(to, Some(Arc::new(hop)))].into();
    net.hosts[1].port(0).tunnel.forwarding.publish(known);
    let (short, long) = (numbered(0, 1, 1, 1000, 0), numbered(0, 1, 2, 3000, 0));
    let packets = [&short, &long, &short].map(Clone::clone);
    assert_eq!(send(&mut net, &packets), [long]);
    assert_eq!(lan.collect(u32::MAX), vec![one_hop_less(&short); 2]);
    assert_eq!(net.dropped(1), []);
    settle(net, vec![(1, lan)]);
}

#[test]
fn switched_off_or_without_the_card_all_goes_by_the_device() {
    let options = Options::default();
    let mut net = Net::new(801, options);
    let lan = Lan::at(&mut net, 1, &options);
    know(&mut net, 1, &[inner4(1)]);
    net.hosts[1].port(0).tunnel.forwarding.set(false);
    let packets: Vec<_> = (0..10).map(|n| numbered(0, 1, n, 50, 0)).collect();
    assert_eq!(send(&mut net, &packets), packets);
    net.hosts[1].port(0).tunnel.forwarding.set(true);
    let ways: Vec<_> = net.hosts[1].lan.remove(LAN).collect();
    assert_eq!(send(&mut net, &packets), packets);
    drop(ways);
    settle(net, vec![]);
    drop(lan);
}

#[test]
fn a_card_that_takes_no_more_loses_the_rest_and_that_is_counted() {
    let options = Options {
        sizes: RingSizes::all(64),
        ..Options::default()
    };
    let mut net = Net::new(802, options);
    let mut lan = Lan::at(&mut net, 1, &options);
    know(&mut net, 1, &[inner4(1)]);
    let packets: Vec<_> = (0..100).map(|n| numbered(0, 1, n, 50, 0)).collect();
    assert_eq!(send(&mut net, &packets), Vec::<Vec<u8>>::new());
    let left: Vec<_> = lan.collect(u32::MAX).iter().map(|p| number(p).1).collect();
    assert_eq!(left, (0..64).collect::<Vec<_>>());
    assert_eq!(net.dropped(1), [(DropReason::LanFull, 36)]);
    // The kernel has taken them: there is room again.
    assert_eq!(send(&mut net, &packets[..20]), Vec::<Vec<u8>>::new());
    assert_eq!(lan.collect(u32::MAX).len(), 20);
    settle(net, vec![(1, lan)]);
}

/// A turn of host 0 with what came by its card, and all that follows at host 1.
fn forward(net: &mut Net) -> (bool, Vec<Vec<u8>>) {
    net.set_exits(0, true);
    let now = net.now;
    let host = &mut net.hosts[0];
    let mut served = true;
    for ring in host.lan.own() {
        ring.mark_ready();
        served &= host
            .outbound
            .serve_lan(ring, &mut host.ports, &mut host.rings, now);
    }
    host.rings.kick(now);
    let frames = net.collect(0, u32::MAX);
    let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
    let delivered = net.carry(&frames).swap_remove(1);
    (served, delivered.into_iter().map(|(_, p)| p).collect())
}

/// A UDP packet whose checksum is left to the card, and the same with the checksum.
fn unfinished(v6: bool) -> [Vec<u8>; 2] {
    let payload = b"left to the card";
    let len = (8 + payload.len()) as u16;
    let (from, to) = if v6 {
        (inner6(0), inner6(1))
    } else {
        (inner4(0), inner4(1))
    };
    let mut udp = [
        &[0x12, 0x34, 0x56, 0x78][..],
        &len.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    let addresses = match (from, to) {
        (IpAddr::V4(a), IpAddr::V4(b)) => [a.octets(), b.octets()].concat(),
        (IpAddr::V6(a), IpAddr::V6(b)) => [a.octets(), b.octets()].concat(),
        _ => unreachable!("one family"),
    };
    let pseudo = [&addresses[..], &[0, 17], &len.to_be_bytes()].concat();
    let whole = !sum(&[&pseudo, &udp]);
    let mut of = |checksum: u16| {
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = packet::ip(from, to, 0, &udp);
        packet[if v6 { 6 } else { 9 }] = 17;
        if !v6 {
            packet[10..12].fill(0);
            let value = !sum(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&value.to_be_bytes());
        }
        packet
    };
    [of(sum(&[&pseudo])), of(whole)]
}

#[test]
fn what_a_client_sends_is_sealed_with_one_hop_less_and_a_whole_checksum() {
    let options = Options::default();
    let mut net = Net::new(803, options);
    let mut lan = Lan::at(&mut net, 0, &options);
    let mut expected = Vec::new();
    for n in 0..20 {
        let packet = numbered(0, 1, n, 16 * n as usize, 0);
        assert!(lan.send(&packet));
        expected.push(one_hop_less(&packet));
    }
    for v6 in [false, true] {
        let [partial, whole] = unfinished(v6);
        for packet in [&partial, &whole] {
            assert!(lan.send(packet));
            expected.push(one_hop_less(&whole));
        }
    }
    assert_eq!(forward(&mut net), (true, expected));
    let stats = &net.hosts[0].port(0).stats;
    assert_eq!(stats.forwarded_tx_packets.get(), 24);
    assert_eq!(stats.inner_tx_packets.get(), 24);
    settle(net, vec![(0, lan)]);
}

#[test]
fn what_the_program_would_not_have_handed_over_is_counted_and_goes_nowhere() {
    let options = Options::default();
    let mut net = Net::new(804, options);
    let mut lan = Lan::at(&mut net, 0, &options);
    let good = numbered(0, 1, 1, 30, 0);
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        // Nothing else is wrong with it.
        packet[10..12].fill(0);
        let value = !sum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&value.to_be_bytes());
        framed(&packet)
    };
    let mut damaged = framed(&good);
    damaged[14 + 10] ^= 1;
    let mut six = framed(&packet::ip(inner6(0), inner6(1), 0, &[7; 20]));
    six[14 + 7] = 1;
    let bad = [
        framed(&good)[..14 + 19].to_vec(),
        changed(0, 0x46),
        changed(2, 0x40),
        changed(6, 0x20),
        changed(8, 1),
        changed(8, 0),
        changed(19, 9),
        damaged,
        six,
        [&framed(&good)[..12], &[8, 6], &good].concat(),
    ];
    for frame in &bad {
        lan.kernel.deliver(frame).expect("room");
    }
    assert_eq!(forward(&mut net), (true, vec![]));
    let mut rings = net.hosts[0].lan.own();
    let stray = rings.next().expect("its ring").stats().stray.get();
    drop(rings);
    assert_eq!(stray, bad.len() as u64);
    assert!(lan.send(&good));
    assert_eq!(forward(&mut net).1, [one_hop_less(&good)]);
    settle(net, vec![(0, lan)]);
}

#[test]
fn clients_wait_in_the_ring_while_there_is_no_room_outside() {
    let options = Options {
        sizes: RingSizes::all(64),
        ..Options::default()
    };
    let mut net = Net::new(805, options);
    let mut lan = Lan::at(&mut net, 0, &options);
    net.set_exits(0, true);
    // More than the ring outside takes.
    let filling: Vec<_> = (0..90).map(|n| numbered(0, 1, n, 50, 0)).collect();
    for some in filling.chunks(30) {
        net.write(0, 0, some);
        net.serve_all(0);
    }
    assert_eq!(net.hosts[0].port(0).blocked, Blocked::Ring);
    for n in 100..120 {
        assert!(lan.send(&numbered(0, 1, n, 50, 0)));
    }
    let now = net.now;
    let host = &mut net.hosts[0];
    let ring = host.lan.own().next().expect("its ring");
    let served = host
        .outbound
        .serve_lan(ring, &mut host.ports, &mut host.rings, now);
    assert!(!served, "they wait");
    // The kernel takes what is outside.
    let mut seen = Vec::new();
    while seen.len() < 110 {
        let frames = net.collect(0, u32::MAX);
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        let mut delivered = net.carry(&frames).swap_remove(1);
        seen.extend(delivered.drain(..).map(|(_, p)| number(&p).1));
        net.serve_out(0);
        seen.extend(forward(&mut net).1.iter().map(|p| number(p).1));
    }
    assert_eq!(seen, (0..90).chain(100..120).collect::<Vec<_>>());
    assert_eq!(net.dropped(0), []);
    settle(net, vec![(0, lan)]);
}

/// A device that does not forward may have no room for as long as it likes.
#[test]
fn clients_of_one_device_do_not_wait_for_another_that_has_none() {
    let options = Options {
        devices: 2,
        ..Options::default()
    };
    let mut net = Net::new(808, options);
    let mut lan = Lan::at(&mut net, 0, &options);
    net.hosts[0].port(1).blocked = Blocked::Socket;
    let packet = numbered(0, 1, 1, 50, 0);
    assert!(lan.send(&packet));
    assert_eq!(forward(&mut net), (true, vec![one_hop_less(&packet)]));
    // One that forwards is waited for: the packet may be for it.
    net.hosts[0].port(1).tunnel.forwarding.set(true);
    assert!(lan.send(&packet));
    assert!(!forward(&mut net).0);
    net.hosts[0].port(1).blocked = Blocked::No;
    assert_eq!(forward(&mut net), (true, vec![one_hop_less(&packet)]));
    settle(net, vec![(0, lan)]);
}

#[test]
fn a_worker_without_the_card_lets_one_deliver_that_has_it() {
    let options = Options::default();
    let mut net = Net::new(806, options);
    let mut lan = Lan::at(&mut net, 1, &options);
    know(&mut net, 1, &[inner4(1)]);
    let poll = Poll::new().expect("epoll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("an eventfd");
    let inbox = RelayInbox::new(Arc::new(Doorbell::new(waker)));
    // The worker that receives has only the way to the other.
    let own = net.hosts[1].lan.remove(LAN).next().expect("its ring");
    net.hosts[1].lan.add(Way::Relay {
        ifindex: LAN,
        to: Arc::clone(&inbox),
    });
    let packets: Vec<_> = (0..16).map(|n| numbered(0, 1, n, 50, 0)).collect();
    assert_eq!(send(&mut net, &packets), Vec::<Vec<u8>>::new());
    assert!(inbox.has_opened());
    // The other one.
    let tunnel = Arc::clone(&net.hosts[1].port(0).tunnel);
    let (queue, tun) = net::tun();
    let mut ports = vec![Some(Box::new(Port::new(&tunnel, 1, queue, true)))];
    let mut inbound = Inbound::new(FramePool::new(FRAMES), Queues::new(0));
    let mut rings = Rings::default();
    rings.add(own);
    inbound.serve_opened(&inbox, &mut ports, &mut rings, net.now);
    let left: Vec<_> = lan.collect(u32::MAX).iter().map(|p| number(p).1).collect();
    assert_eq!(left, (0..16).collect::<Vec<_>>());
    assert_eq!(tunnel.workers[0].forwarded_rx_packets.get(), 0);
    assert_eq!(tunnel.workers[1].forwarded_rx_packets.get(), 16);
    assert!(tun.recv(&mut [0; 100]).is_err(), "nothing by the device");

    // More than may wait is lost, and counted.
    for n in 0..60 {
        send(&mut net, &[numbered(0, 1, n, 50, 0)]);
    }
    let lost = tunnel.dropped(DropReason::LanFull);
    assert_eq!(lost, 60 - 24);
    while inbox.has_opened() {
        inbound.serve_opened(&inbox, &mut ports, &mut rings, net.now);
    }
    assert_eq!(lan.collect(u32::MAX).len(), 24);
    rings.kick(net.now);
    drop((rings, ports, inbound));
    net.hosts[1].lan = Rings::default();
    settle(net, vec![]);
}

proptest! {
    /// Whatever comes by the card goes through or is counted.
    #[test]
    fn every_frame_of_a_client_is_accounted_for(
        seed in 900..910u64,
        frames in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>(), any::<bool>()), 1..40),
    ) {
        let options = Options::default();
        let mut net = Net::new(seed, options);
        let mut lan = Lan::at(&mut net, 0, &options);
        for (number, (at, value, cut, is_cut)) in frames.iter().enumerate() {
            let mut frame = framed(&numbered(0, 1, number as u32, 40, 0));
            let at = at.index(frame.len());
            frame[at] = *value;
            if *is_cut {
                frame.truncate(1 + cut.index(frame.len()));
            }
            lan.kernel.deliver(&frame).expect("room");
        }
        let (served, delivered) = forward(&mut net);
        prop_assert!(served);
        let lost: u64 = net.dropped(0).iter().chain(&net.dropped(1)).map(|(_, n)| n).sum();
        let stray = net.hosts[0].lan.own().next().expect("its ring").stats().stray.get();
        prop_assert_eq!(delivered.len() as u64 + stray + lost, frames.len() as u64);
        settle(net, vec![(0, lan)]);
    }
}

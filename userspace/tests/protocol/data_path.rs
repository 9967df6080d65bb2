//! The workers' pipeline in memory: TUN reads become runs of sealed packets,
//! runs become datagrams, datagrams become delivered packets; no socket, no
//! TUN device, and every frame is home at the end.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::{Datagram, Inbound, ROUND};
use ringtun::datapath::mss::MssClamp;
use ringtun::datapath::offload::VNET_LEN;
use ringtun::datapath::port::Tunnel;
use ringtun::datapath::runs::Runs;
use ringtun::datapath::sealer::{Batch, Sealer};
use ringtun::datapath::stats::WorkerStats;
use ringtun::drops::DropReason;
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::owners::Owners;
use ringtun::tunnel::transport::Ecn;
use ringtun_common::checksum::Sum;

use crate::support::{World, inner4, outer, packet, secs};

const FRAMES: usize = 24;

/// One end's worker, without a thread.
struct End {
    tunnel: Arc<Tunnel>,
    stats: WorkerStats,
    frames: Arc<FramePool>,
    queues: Arc<Queues>,
    inbound: Inbound,
}

/// Sealed packets of one size, as one datagram that the kernel coalesced.
#[derive(Clone, Debug)]
struct Burst {
    bytes: Vec<u8>,
    segment: usize,
    ecn: Ecn,
}

impl End {
    fn new(world: &World, host: usize) -> Self {
        let shared = Arc::clone(&world.hosts[host].shared);
        let (tunnel, _events) = Tunnel::new("test", shared, 1420, MssClamp::Mtu, 1);
        let frames = FramePool::new(FRAMES);
        let queues = Queues::new(1);
        Self {
            tunnel,
            stats: WorkerStats::default(),
            inbound: Inbound::new(Arc::clone(&frames), Arc::clone(&queues)),
            frames,
            queues,
        }
    }

    /// Exchanges the device for one with this MSS clamp.
    fn clamp(&mut self, world: &World, host: usize, mss: MssClamp) {
        let shared = Arc::clone(&world.hosts[host].shared);
        self.tunnel = Tunnel::new("test", shared, 1420, mss, 1).0;
    }

    fn seal(&self, world: &World, packets: &[Vec<u8>]) -> Vec<Burst> {
        let snapshot = self.tunnel.shared.snapshot();
        let owners = Owners::new(&snapshot);
        let mut sealer = Sealer::new(Batch {
            tunnel: &self.tunnel,
            owners: &owners,
            stats: &self.stats,
            frames: &self.frames,
            now: world.now,
        });
        let mut runs = Runs::default();
        let mut bursts = Vec::new();
        for packet in packets {
            let mut read = vec![0; VNET_LEN];
            read.extend_from_slice(packet);
            sealer.seal(&mut read, &mut runs);
            if runs.is_filling() {
                take(&mut runs, &mut bursts);
            }
        }
        take(&mut runs, &mut bursts);
        bursts
    }

    /// Receives the bursts as one batch and gives the payloads delivered.
    fn receive(&mut self, world: &World, bursts: &[Burst]) -> Vec<Vec<u8>> {
        let from = Endpoint::new(outer(0));
        for burst in bursts {
            let Some(mut frame) = self.frames.take() else {
                panic!("a batch is smaller than the pool");
            };
            frame.bytes_mut()[..burst.bytes.len()].copy_from_slice(&burst.bytes);
            let datagram = Datagram {
                from,
                ecn: burst.ecn,
                len: burst.bytes.len(),
                segment: burst.segment,
            };
            self.inbound
                .sort(&self.tunnel, &self.stats, frame, &datagram, world.now);
        }
        let mut delivered = Vec::new();
        self.inbound
            .deliver(&self.tunnel, &self.stats, world.now, |jobs| {
                for job in &*jobs {
                    delivered.extend(job.packets().map(|p| packet::payload(p).to_vec()));
                }
            });
        assert_eq!(self.frames.outstanding(), 0, "a frame was lost");
        delivered
    }

    fn dropped(&self) -> u64 {
        DropReason::ALL
            .iter()
            .map(|&r| self.stats.drops.get(r))
            .sum()
    }
}

fn take(runs: &mut Runs, bursts: &mut Vec<Burst>) {
    runs.take(|_, ecn, bytes, segment| {
        bursts.push(Burst {
            bytes: bytes.to_vec(),
            segment,
            ecn,
        });
    });
}

/// Packets from host 0 to host 1 that carry their number.
fn numbered(count: u32, size: impl Fn(u32) -> usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let mut payload = n.to_be_bytes().to_vec();
            payload.resize(4 + size(n), n as u8);
            packet::ip(inner4(0), inner4(1), 0, &payload)
        })
        .collect()
}

fn numbers(delivered: &[Vec<u8>]) -> Vec<u32> {
    delivered
        .iter()
        .map(|p| u32::from_be_bytes(*p.first_chunk().expect("a number")))
        .collect()
}

fn connected(seed: u64) -> (World, End, End) {
    let mut world = World::pair(seed);
    world.connect(0, 1);
    let ends = (End::new(&world, 0), End::new(&world, 1));
    (world, ends.0, ends.1)
}

#[test]
fn equal_packets_leave_in_few_bursts_and_arrive_in_order() {
    let (world, sender, mut receiver) = connected(900);
    let packets = numbered(200, |_| 1300);
    let bursts = sender.seal(&world, &packets);
    assert!(bursts.len() <= 6, "{} bursts", bursts.len());
    let delivered = receiver.receive(&world, &bursts);
    assert_eq!(numbers(&delivered), (0..200).collect::<Vec<_>>());
    assert_eq!((sender.dropped(), receiver.dropped()), (0, 0));
}

#[test]
fn a_rekey_in_the_middle_of_a_datagram_loses_nothing() {
    let (mut world, sender, mut receiver) = connected(901);
    let before = sender.seal(&world, &numbered(20, |_| 100));
    let old = world.current(0, 1).expect("a session").local_index();
    world.run(secs(121));
    world.send(0, 1, b"old enough to rekey");
    world.run(secs(1));
    let new = world.current(0, 1).expect("a session").local_index();
    assert_ne!(old, new, "rekeyed");
    let after = sender.seal(&world, &numbered(20, |_| 100));
    let mut joined = before[0].clone();
    joined.bytes.extend_from_slice(&after[0].bytes);
    let delivered = receiver.receive(&world, &[joined]);
    let twice: Vec<u32> = (0..20).chain(0..20).collect();
    assert_eq!(numbers(&delivered), twice);
}

#[test]
fn what_was_received_before_is_counted_as_replay_and_not_delivered() {
    let (world, sender, mut receiver) = connected(902);
    let bursts = sender.seal(&world, &numbered(30, |_| 64));
    assert_eq!(receiver.receive(&world, &bursts).len(), 30);
    assert_eq!(receiver.receive(&world, &bursts).len(), 0);
    assert_eq!(receiver.stats.drops.get(DropReason::Replay), 30);
}

#[test]
fn handshake_messages_go_to_their_queue_and_rubbish_is_counted() {
    let (world, _, mut receiver) = connected(903);
    let mut initiation = vec![1, 0, 0, 0];
    initiation.resize(148, 9);
    let burst = |bytes: Vec<u8>| Burst {
        segment: bytes.len(),
        bytes,
        ecn: Ecn::NotEct,
    };
    let rubbish = burst(vec![7; 400]);
    receiver.receive(&world, &[burst(initiation), rubbish]);
    assert_eq!(receiver.queues.len(), (1, 0));
    assert_eq!(receiver.stats.drops.get(DropReason::Malformed), 1);
}

/// Another worker opens a peer's packets as fast as this one delivers them: it gets to its other
/// work all the same, and what is left is delivered in order afterwards.
#[test]
fn a_lane_that_never_runs_dry_does_not_hold_a_worker() {
    let (world, sender, mut one) = connected(908);
    let mut other = Inbound::new(Arc::clone(&one.frames), Arc::clone(&one.queues));
    let total = 2 * ROUND as u32;
    let mut bursts = (0..total).map(|n| {
        let packets = numbered(n + 1, |_| 100);
        sender.seal(&world, &packets[n as usize..]).remove(0)
    });
    let put = |inbound: &mut Inbound, burst: &Burst| {
        let mut frame = one.frames.take().expect("they come back");
        frame.bytes_mut()[..burst.bytes.len()].copy_from_slice(&burst.bytes);
        let datagram = Datagram {
            from: Endpoint::new(outer(0)),
            ecn: burst.ecn,
            len: burst.bytes.len(),
            segment: burst.segment,
        };
        inbound.sort(&one.tunnel, &one.stats, frame, &datagram, world.now);
    };
    put(&mut one.inbound, &bursts.next().expect("the first"));
    let mut delivered = Vec::new();
    let mut calls = 0;
    loop {
        calls += 1;
        let done = one
            .inbound
            .deliver(&one.tunnel, &one.stats, world.now, |jobs| {
                for job in &*jobs {
                    delivered.extend(job.packets().map(|p| packet::payload(p).to_vec()));
                }
                // The other worker is as fast as this one, and has no turn to deliver.
                for burst in bursts.by_ref().take(jobs.len()) {
                    put(&mut other, &burst);
                }
            });
        if done {
            break;
        }
    }
    assert_eq!(
        calls, 3,
        "{total} jobs in rounds of {ROUND}, and one that finds none"
    );
    assert_eq!(numbers(&delivered), (0..total).collect::<Vec<_>>());
    assert_eq!(one.frames.outstanding(), 0, "a frame was lost");
}

/// What waited for the handshake leaves as soon as a worker sees the session; as
/// much as its runs hold, the rest in its turn.
#[test]
fn packets_read_one_by_one_take_no_more_counters_than_they_are() {
    let (world, end, _) = connected(927);
    let (keypair, cell) = (world.current(0, 1).unwrap(), world.cell(0, 1));
    let (mut counters, mut sent) = (keypair.sent(), cell.tx_packets());
    for packets in [1, 2, 3, 5, 16, 17, 40] {
        let bursts = end.seal(&world, &numbered(packets, |_| 100));
        let found: Vec<u64> = bursts
            .iter()
            .flat_map(|burst| burst.bytes.chunks(burst.segment))
            .map(|packet| u64::from_le_bytes(packet[8..16].try_into().unwrap()))
            .collect();
        let expected: Vec<u64> = (counters..counters + u64::from(packets)).collect();
        assert_eq!(found, expected);
        counters += u64::from(packets);
        sent += u64::from(packets);
        assert_eq!(keypair.sent(), counters, "of {packets} packets");
        assert_eq!(cell.tx_packets(), sent, "of {packets} packets");
    }
}

#[test]
fn what_is_sealed_is_stamped_before_it_is_sent() {
    let (world, end, _) = connected(929);
    let cell = world.cell(0, 1);
    let before = cell.tx_packets();
    let now = world.now + secs(1);
    let snapshot = end.tunnel.shared.snapshot();
    let owners = Owners::new(&snapshot);
    let mut sealer = Sealer::new(Batch {
        tunnel: &end.tunnel,
        owners: &owners,
        stats: &end.stats,
        frames: &end.frames,
        now,
    });
    let mut runs = Runs::default();
    for packet in numbered(3, |_| 100) {
        let mut read = [&[0; VNET_LEN][..], &packet].concat();
        sealer.seal(&mut read, &mut runs);
    }
    assert_eq!(cell.tx_packets(), before, "once for all of them");
    sealer.report();
    assert_eq!(cell.tx_packets(), before + 3);
    assert_eq!(cell.activity.last_sent(), Some(now));
    sealer.report();
    assert_eq!(cell.tx_packets(), before + 3, "and not again");
    take(&mut runs, &mut Vec::new());
}

#[test]
fn packets_for_two_peers_in_turn_are_counted_for_each() {
    let mut world = World::mesh(3, 928);
    for peer in [1, 2] {
        world.connect(0, peer);
    }
    let end = End::new(&world, 0);
    let count = |peer| {
        let sent = world.current(0, peer).unwrap().sent();
        [sent, world.cell(0, peer).tx_packets()]
    };
    let before = [1, 2].map(count);
    let packets: Vec<_> = (0..20u32)
        .map(|n| packet::ip(inner4(0), inner4(1 + n as usize % 2), 0, &[0; 100]))
        .collect();
    end.seal(&world, &packets);
    for (peer, before) in [1, 2].into_iter().zip(before) {
        assert_eq!(count(peer), before.map(|n| n + 10), "no counter is wasted");
    }
}

#[test]
fn staged_packets_of_mixed_sizes_are_not_dropped_for_want_of_runs() {
    let (world, sender, mut receiver) = connected(905);
    let cell = Arc::clone(
        world.hosts[0]
            .device
            .peer(&world.hosts[1].public)
            .unwrap()
            .cell(),
    );
    let packets = numbered(129, |n| if n % 2 == 0 { 60 } else { 1300 });
    let (last, staged) = packets.split_last().unwrap();
    for packet in staged {
        assert!(cell.stage(packet.clone().into_boxed_slice()).is_none());
    }
    let mut bursts = sender.seal(&world, std::slice::from_ref(last));
    assert!(bursts.len() > 8, "as much as there is room for leaves");
    while !cell.staged.is_empty() {
        let next = cell.take_staged();
        bursts.extend(
            next.into_iter()
                .flat_map(|packet| sender.seal(&world, &[packet.into()])),
        );
    }
    let delivered: Vec<_> = bursts
        .chunks(8)
        .flat_map(|some| receiver.receive(&world, some))
        .collect();
    assert_eq!(numbers(&delivered), (0..129).collect::<Vec<_>>());
    assert_eq!((sender.dropped(), receiver.dropped()), (0, 0));
}

#[test]
fn the_mark_of_congestion_goes_into_the_outer_header() {
    let (world, sender, _) = connected(906);
    for (tos, mark) in [
        (0, Ecn::NotEct),
        (0b1011_1010, Ecn::Ect0),
        (1, Ecn::Ect1),
        (3, Ecn::Ce),
    ] {
        let packet = packet::ip(inner4(0), inner4(1), tos, b"x");
        let bursts = sender.seal(&world, &[packet]);
        assert_eq!(bursts[0].ecn, mark, "{tos:#x}");
    }
}

#[test]
fn padding_is_zeros_also_in_frames_used_before() {
    let (world, sender, _) = connected(907);
    // Every frame of the pool has held something else.
    let mut frames: Vec<_> = (0..FRAMES).filter_map(|_| sender.frames.take()).collect();
    for frame in &mut frames {
        frame.bytes_mut().fill(0xee);
    }
    drop(frames);
    let packet = packet::ip(inner4(0), inner4(1), 0, b"x");
    let mut burst = sender.seal(&world, std::slice::from_ref(&packet)).remove(0);
    let keypair = world.current(1, 0).expect("a session");
    let opened = keypair.open(world.now, &mut burst.bytes).expect("sealed");
    let text = &burst.bytes[16..16 + opened.len];
    assert_eq!(text[..packet.len()], packet);
    assert!(text.len() > packet.len(), "there is padding");
    assert!(text[packet.len()..].iter().all(|b| *b == 0), "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However packets are sized, lost, repeated, shuffled and broken: what
    /// arrives was sent, arrives once, in the order of the datagrams, and no
    /// frame is lost.
    #[test]
    fn mangled_datagrams_lose_no_frame(
        sizes in prop::collection::vec(0usize..1380, 1..120),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<(u16, u8)>>(), any::<u16>()), 1..20),
    ) {
        let (world, sender, mut receiver) = connected(904);
        let bursts = sender.seal(&world, &numbered(sizes.len() as u32, |n| sizes[n as usize]));
        prop_assert_eq!(sender.frames.outstanding(), 0);
        let mut seen = std::collections::HashSet::new();
        for (pick, flip, cut) in picks {
            let mut burst = bursts[pick.index(bursts.len())].clone();
            if let Some((at, bits)) = flip {
                let at = usize::from(at) % burst.bytes.len();
                burst.bytes[at] ^= bits;
            }
            if cut % 3 == 0 {
                burst.bytes.truncate(usize::from(cut) % burst.bytes.len() + 1);
            }
            let delivered = receiver.receive(&world, &[burst]);
            let numbers = numbers(&delivered);
            prop_assert!(numbers.is_sorted());
            for (n, payload) in numbers.iter().zip(&delivered) {
                prop_assert!(seen.insert(*n), "{n} twice");
                prop_assert_eq!(payload.len(), 4 + sizes[*n as usize]);
                prop_assert!(payload[4..].iter().all(|b| *b == *n as u8));
            }
        }
    }
}

/// Where a SYN from host 0 goes, as the pseudo header has it.
fn addresses() -> Vec<u8> {
    [inner4(0), inner4(1)]
        .iter()
        .flat_map(|address| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        })
        .collect()
}

/// A TCP SYN with a right checksum that asks for segments of 1460 bytes.
fn syn() -> Vec<u8> {
    let mut tcp = vec![0; 24];
    tcp[12..14].copy_from_slice(&[0x60, 2]);
    tcp[20..].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    let sum = Sum::pseudo_header(&addresses(), 6, 24) + Sum::of(&tcp);
    tcp[16..18].copy_from_slice(&sum.finish());
    let mut syn = packet::ip(inner4(0), inner4(1), 0, &tcp);
    syn[9] = 6;
    syn
}

/// Each end clamps both what it sends and what it receives: either is enough.
#[test]
fn the_mss_of_a_syn_is_lowered_on_the_way_in_and_on_the_way_out() {
    for (sends, receives, expected, counts) in [
        (MssClamp::Mtu, MssClamp::Off, 1380, [1, 0]),
        (MssClamp::Off, MssClamp::Mtu, 1380, [0, 1]),
        (MssClamp::Fixed(1000), MssClamp::Mtu, 1000, [1, 0]),
        (MssClamp::Mtu, MssClamp::Fixed(1000), 1000, [1, 1]),
        (MssClamp::Off, MssClamp::Off, 1460, [0, 0]),
    ] {
        let (world, mut sender, mut receiver) = connected(909);
        sender.clamp(&world, 0, sends);
        receiver.clamp(&world, 1, receives);
        let bursts = sender.seal(&world, &[syn()]);
        let delivered = receiver.receive(&world, &bursts);
        let name = format!("{sends:?} to {receives:?}");
        assert_eq!(delivered.len(), 1, "{name}");
        let tcp = &delivered[0];
        assert_eq!(u16::from_be_bytes([tcp[22], tcp[23]]), expected, "{name}");
        let sum = Sum::pseudo_header(&addresses(), 6, 24) + Sum::of(tcp);
        assert!(sum.is_valid(), "{name}");
        let counted = [&sender, &receiver].map(|end| end.stats.mss_clamped.get());
        assert_eq!(counted, counts, "{name}");
    }
}

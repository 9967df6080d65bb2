//! No room in a ring: whoever sends waits, and nothing is lost or doubled when
//! room comes; and what a ring does not take leaves by the socket.

use std::sync::atomic::Ordering::Relaxed;

use ringtun::datapath::rings::ring::{BATCH, frames_for};
use ringtun::datapath::runs::Blocked;
use ringtun::drops::DropReason;
use ringtun::xsk::{RingSizes, Which};

use super::net::{Net, Options, number, numbered};

fn numbers(delivered: &[super::net::Delivered]) -> Vec<u32> {
    delivered
        .iter()
        .map(|(_, packet)| number(packet).1)
        .collect()
}

/// Writes packets 0 to `count`, all of one size, and lets the worker do what it
/// can while the kernel sleeps.
fn fill(net: &mut Net, count: u32) {
    let packets: Vec<_> = (0..count).map(|n| numbered(0, 1, n, 300, 0)).collect();
    assert_eq!(net.write(0, 0, &packets), packets.len());
    net.serve_all(0);
}

/// How much of it the kernel finds each time that it looks, until all is done.
fn drain(net: &mut Net, each: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut portions, mut numbers_seen) = (Vec::new(), Vec::new());
    loop {
        let frames = net.collect(0, each);
        if frames.is_empty() {
            return (portions, numbers_seen);
        }
        portions.push(frames.len() as u32);
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        numbers_seen.extend(numbers(&net.carry(&frames)[1]));
        net.serve_all(0);
    }
}

fn assert_blocked(net: &mut Net, packets: u64) {
    let host = &mut net.hosts[0];
    assert_eq!(host.port(0).blocked, Blocked::Ring);
    assert!(!host.port(0).runs.is_empty(), "the run keeps what is left");
    assert!(host.port(0).stats.backpressure.get() > 0);
    assert!(host.ring().stats().tx_full.get() > 0);
    assert_eq!(host.ring().stats().tx_packets.get(), packets);
    assert_eq!(host.port(0).stats.outer_tx_packets.get(), packets);
}

#[test]
fn a_full_transmit_ring_makes_the_device_wait() {
    let mut net = Net::new(
        740,
        Options {
            sizes: RingSizes {
                tx: 64,
                ..RingSizes::all(256)
            },
            ..Options::default()
        },
    );
    fill(&mut net, 150);
    assert_blocked(&mut net, 64);
    let (portions, seen) = drain(&mut net, 64);
    assert_eq!(portions, [64, 64, 22]);
    assert_eq!(seen, (0..150).collect::<Vec<_>>());
    assert_eq!(net.dropped(0), []);
    net.settle();
}

#[test]
fn a_umem_without_free_frames_makes_the_device_wait() {
    // Five more than receiving may take.
    let sizes = RingSizes::all(64);
    let mut net = Net::new(
        741,
        Options {
            frames: Some(frames_for(&sizes) - sizes.tx + 5),
            ..Options::default()
        },
    );
    fill(&mut net, 50);
    assert_blocked(&mut net, 5);
    let (portions, seen) = drain(&mut net, 64);
    assert_eq!(portions, [5; 10]);
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    net.settle();
}

#[test]
fn a_full_completion_ring_makes_the_device_wait() {
    let mut net = Net::new(
        742,
        Options {
            sizes: RingSizes {
                completion: 16,
                ..RingSizes::all(64)
            },
            ..Options::default()
        },
    );
    fill(&mut net, 100);
    assert_blocked(&mut net, 64);
    assert_eq!(net.collect(0, u32::MAX).len(), 16, "no more is completed");
    assert_eq!(net.collect(0, u32::MAX).len(), 0);
    net.serve_out(0);
    let (_, seen) = drain(&mut net, 5);
    assert_eq!(seen, (16..100).collect::<Vec<_>>());
    net.settle();
}

/// A device that receives into the UMEM itself keeps as many frames as it likes
/// in rings of its own; those for transmitting are not its.
#[test]
fn a_device_that_takes_every_frame_to_receive_into_leaves_those_to_transmit() {
    let mut net = Net::new(743, Options::default());
    for _ in 0..20 {
        net.hosts[0].kernel.post(1000).expect("sane");
        net.serve_in(0);
    }
    fill(&mut net, 64);
    let (portions, seen) = drain(&mut net, 64);
    assert_eq!(portions, [64]);
    assert_eq!(seen, (0..64).collect::<Vec<_>>());
    net.settle();
}

/// With sockets on loopback beside the ring.
fn with_sockets(seed: u64, options: Options) -> Net {
    Net::new(
        seed,
        Options {
            sockets: true,
            ..options
        },
    )
}

/// What arrives by the receiver's sockets.
fn by_socket(net: &mut Net) -> Vec<u32> {
    let now = net.now;
    let mut seen = Vec::new();
    for _ in 0..10 {
        net.hosts[1].serve_sockets(now);
        seen.extend(numbers(&net.hosts[1].delivered()));
    }
    seen
}

#[test]
fn a_payload_longer_than_the_path_or_than_a_frame_leaves_by_the_socket() {
    // The path: 1000 bytes less 20 + 8 + 32. A frame: 2048 less 256 + 32.
    for (seed, mtu, longest) in [(744, 1000, 940), (745, 9000, 1760)] {
        let mut net = with_sockets(
            seed,
            Options {
                mtu,
                ..Options::default()
            },
        );
        // The receiver's frames are longer: there, too, the kernel would take what
        // does not fit one.
        let longer = Options {
            frame_size: 4096,
            ..net.options
        };
        let (ring, kernel, _) = super::net::ring(super::net::ifindex(1), 0, 1, &longer);
        *net.hosts[1].ring() = ring;
        net.hosts[1].kernel = kernel;
        // Padding stops at the device's MTU.
        net.hosts[0].port(0).tunnel.mtu.store(9000, Relaxed);
        let inner = |len: usize| len - 20 - 4;
        // Padded to 16 bytes.
        let fits = longest / 16 * 16;
        let sizes = [fits, fits + 1, fits - 15, fits + 16, 100];
        for (n, size) in sizes.into_iter().enumerate() {
            let packet = numbered(0, 1, n as u32, inner(size), 0);
            assert_eq!(net.write(0, 0, &[packet]), 1);
            net.serve_out(0);
        }
        let frames = net.collect(0, u32::MAX);
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        let by_ring = numbers(&net.carry(&frames)[1]);
        assert_eq!((by_ring, by_socket(&mut net)), (vec![0, 2, 4], vec![1, 3]));
        assert_eq!([net.dropped(0), net.dropped(1)], [[], []]);
        net.settle();
    }
}

/// Whichever of its indices is wrong: a ring that failed is left alone, what it
/// did not take leaves by the socket, once, and the log hears of it once.
#[test]
fn a_ring_that_failed_is_not_used_and_the_socket_takes_over() {
    for (at, which) in [Which::Tx, Which::Completion, Which::Fill, Which::Rx]
        .into_iter()
        .enumerate()
    {
        let mut net = with_sockets(750 + at as u64, Options::default());
        // The ring takes 64 of these; the rest waits.
        fill(&mut net, 100);
        let frames = net.collect(0, u32::MAX);
        assert_eq!(frames.len(), 64);
        net.hosts[0].kernel.corrupt(which);
        net.serve_in(0);
        net.serve_all(0);
        let now = net.now;
        assert!(!net.hosts[0].ring().is_up(now), "{which:?}");
        assert!(!net.hosts[0].ring().is_ready());
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        let mut seen = numbers(&net.carry(&frames)[1]);
        seen.extend(by_socket(&mut net));
        assert_eq!(seen, (0..100).collect::<Vec<_>>(), "{which:?}");
        let ring = net.hosts[0].ring();
        assert!(ring.take_failure().is_some(), "{which:?}");
        assert!(ring.take_failure().is_none(), "{which:?}");
        assert!(!ring.is_pending(), "nobody waits for it");
        let count = ring.audit();
        assert_eq!(
            (count.held, count.total()),
            (0, frames_for(&RingSizes::all(64)))
        );
        assert_eq!(net.dropped(0), []);
    }
}

/// Without a socket there is no way out: counted, not kept.
#[test]
fn without_a_ring_and_a_socket_packets_are_counted_as_dropped() {
    let mut net = Net::new(755, Options::default());
    net.hosts[0].kernel.corrupt(Which::Tx);
    fill(&mut net, 40);
    assert_eq!(net.dropped(0), [(DropReason::SocketError, 40)]);
}

/// More arrives than the worker serves: the kernel finds no room and drops, and
/// the ring goes on afterwards.
#[test]
fn a_receive_ring_that_overflows_all_the_time_goes_on() {
    let mut net = Net::new(756, Options::default());
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..30u32 {
        let numbers_sent = round * 90..(round + 1) * 90;
        let packets: Vec<_> = numbers_sent.map(|n| numbered(0, 1, n, 100, 0)).collect();
        let mut frames = Vec::new();
        for some in packets.chunks(45) {
            assert_eq!(net.write(0, 0, some), 45);
            net.serve_all(0);
            frames.extend(net.collect(0, u32::MAX));
        }
        for (frame, n) in frames.iter().zip(round * 90..) {
            if net.deliver(&frame.bytes).is_ok() {
                expected.push(n);
            }
        }
        net.serve_in(1);
        seen.extend(numbers(&net.hosts[1].delivered()));
    }
    seen.extend(numbers(&net.receive(1)));
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 30 * BATCH, "what the ring holds, each time");
    net.settle();
}

/// A driver finds the fill ring empty, frames come, and only then it says that it
/// waits to be called: it must not wait for ever.
#[test]
fn a_call_that_the_kernel_asks_for_after_the_last_refill_is_made_before_the_worker_sleeps() {
    let mut net = Net::new(757, Options::default());
    net.serve_in(1);
    let now = net.now;
    let host = &mut net.hosts[1];
    host.rings.settle(now);
    assert_eq!(host.ring().stats().rx_wakeups.get(), 0, "not asked for");
    host.kernel.set_needs_wakeup(true);
    host.rings.settle(now);
    assert_eq!(host.ring().stats().rx_wakeups.get(), 1);
    net.settle();
}

//! Frames that are not what the XDP program would hand over, and a kernel that
//! says what cannot be.

use proptest::prelude::*;
use ringtun::xsk::RingSizes;
use ringtun::xsk::ring::Desc;

use super::net::{Net, Options, number, numbered};

/// True frames from host 0 to host 1, with the numbers 0 to `count`.
fn frames(net: &mut Net, count: u32) -> Vec<Vec<u8>> {
    let packets: Vec<_> = (0..count).map(|n| numbered(0, 1, n, 200, 0)).collect();
    assert_eq!(net.write(0, 0, &packets), packets.len());
    net.serve_all(0);
    let frames = net.collect(0, u32::MAX);
    frames.into_iter().map(|f| f.bytes).collect()
}

/// Frames received, no use for them, and sorted by host 1.
fn counts(net: &mut Net) -> [u64; 3] {
    let host = &mut net.hosts[1];
    let sorted = host.port(0).stats.outer_rx_packets.get();
    let stats = host.ring().stats();
    [stats.rx_packets.get(), stats.stray.get(), sorted]
}

#[test]
fn a_frame_for_a_port_that_nobody_listens_on_is_stray_and_its_frame_free() {
    let mut net = Net::new(760, Options::default());
    let mut frames = frames(&mut net, 5);
    frames[1][36..38].copy_from_slice(&51821u16.to_be_bytes());
    frames[3][36..38].copy_from_slice(&[0, 0]);
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let delivered = &net.carry(&frames)[1];
    let seen: Vec<_> = delivered.iter().map(|(_, p)| number(p).1).collect();
    assert_eq!(seen, [0, 2, 4]);
    assert_eq!(counts(&mut net), [5, 2, 3]);
    assert_eq!(net.hosts[1].ring().stats().rx_bytes.get(), bytes as u64);
    assert_eq!(net.dropped(1), []);
    net.settle();
}

/// A relay may bring what is for two devices from one address and port.
#[test]
fn packets_of_one_sender_for_two_devices_are_told_apart() {
    let mut net = Net::new(
        764,
        Options {
            devices: 2,
            ..Options::default()
        },
    );
    let mut frames = Vec::new();
    for number in 0..20 {
        for device in 0..2 {
            assert_eq!(net.write(device, 0, &[numbered(0, 1, number, 200, 0)]), 1);
            net.serve_all(0);
            frames.extend(net.collect(0, 1).into_iter().map(|f| f.bytes));
        }
    }
    for frame in &mut frames {
        frame[34..36].copy_from_slice(&7777u16.to_be_bytes());
    }
    let delivered = &net.carry(&frames)[1];
    for device in 0..2 {
        let of = delivered.iter().filter(|(to, _)| *to == device);
        let seen: Vec<_> = of.map(|(_, p)| number(p).1).collect();
        assert_eq!(seen, (0..20).collect::<Vec<_>>(), "device {device}");
    }
    assert_eq!(net.dropped(1), []);
    net.settle();
}

/// The device went while its packets were in the ring.
#[test]
fn frames_for_a_device_that_went_are_stray() {
    let mut net = Net::new(761, Options::default());
    let frames = frames(&mut net, 10);
    for frame in &frames {
        net.deliver(frame).expect("room");
    }
    net.hosts[1].ports[0] = None;
    net.serve_in(1);
    let ring = net.hosts[1].ring();
    assert_eq!(ring.stats().stray.get(), 10);
    net.settle();
}

#[test]
fn descriptors_that_are_no_frame_are_passed_over() {
    let mut net = Net::new(
        762,
        Options {
            sizes: RingSizes::all(128),
            ..Options::default()
        },
    );
    let frames = frames(&mut net, 40);
    for (at, frame) in frames.iter().enumerate() {
        net.deliver(frame).expect("room");
        let bad = Desc {
            addr: (at as u64) << (at % 60),
            len: 60 << (at % 20),
            options: at as u32 & 1,
        };
        // Of these some name a frame that the kernel has: it is received then.
        net.hosts[1].kernel.inject(bad).expect("sane");
    }
    let delivered = net.receive(1);
    let mut seen: Vec<_> = delivered.iter().map(|(_, p)| number(p).1).collect();
    seen.dedup();
    assert!(seen.is_sorted(), "{seen:?}");
    net.settle();
}

/// What becomes of a frame on its way.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(u16),
    Flip(u16, u8),
    Longer(u8),
    /// Something else altogether.
    Other(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        2 => Just(Damage::None),
        2 => any::<u16>().prop_map(Damage::Cut),
        4 => (0..80u16, 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => (any::<u16>(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => (1..=255u8).prop_map(Damage::Longer),
        1 => prop::collection::vec(any::<u8>(), 1..200).prop_map(Damage::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However frames are cut, changed and made up: each is counted once, as
    /// stray or as a packet of a device, those left alone arrive in order, and
    /// each frame of ring and pool is free afterwards.
    #[test]
    fn damaged_frames_are_counted_and_freed(
        damages in prop::collection::vec(damage(), 1..150),
        v6 in any::<bool>(),
        tagged in 0..3usize,
    ) {
        let mut net = Net::new(763, Options {
            v6,
            tags: super::tags(tagged),
            ..Options::default()
        });
        let mut sent = Vec::new();
        for some in (0..damages.len() as u32).collect::<Vec<_>>().chunks(50) {
            let packets: Vec<_> = some.iter().map(|n| numbered(0, 1, *n, 200, 0)).collect();
            prop_assert_eq!(net.write(0, 0, &packets), packets.len());
            net.serve_all(0);
            sent.extend(net.collect(0, u32::MAX).into_iter().map(|f| f.bytes));
        }
        let mut whole = Vec::new();
        let mut seen = Vec::new();
        for (n, (mut frame, damage)) in sent.into_iter().zip(&damages).enumerate() {
            match damage {
                Damage::None => whole.push(n as u32),
                Damage::Cut(at) => frame.truncate(usize::from(*at) % frame.len() + 1),
                Damage::Flip(at, bits) => {
                    let at = usize::from(*at) % frame.len();
                    frame[at] ^= bits;
                }
                Damage::Longer(by) => frame.resize(frame.len() + usize::from(*by), 0xee),
                Damage::Other(bytes) => frame.clone_from(bytes),
            }
            if net.hosts[1].kernel.deliver(&frame).is_err() {
                seen.extend(net.receive(1));
                net.hosts[1].kernel.deliver(&frame).expect("there is room now");
            }
        }
        seen.extend(net.receive(1));
        let seen: Vec<_> = seen.iter().map(|(_, p)| number(p).1).collect();
        prop_assert!(seen.is_sorted_by(|a, b| a < b), "once and in order: {:?}", seen);
        prop_assert!(whole.iter().all(|n| seen.contains(n)), "{whole:?} in {seen:?}");
        let [received, stray, sorted] = counts(&mut net);
        prop_assert_eq!(received, damages.len() as u64);
        prop_assert_eq!(stray + sorted, received);
        let dropped: u64 = net.dropped(1).iter().map(|(_, n)| n).sum();
        prop_assert_eq!(seen.len() as u64 + dropped, sorted);
        net.settle();
    }
}

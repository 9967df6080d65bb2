//! The whole data path over rings in memory: what one host's TUN device gives is
//! sealed, leaves as Ethernet frames by a ring, crosses a wire that looks at
//! every byte, and comes out of the other host's TUN device by way of its ring.
//! No socket of the kernel, no privilege; every frame is accounted for.

mod forward;
mod hostile;
mod net;
mod pressure;
mod relays;
mod team;
mod wire;
mod workers;

use proptest::prelude::*;
use ringtun::net::outer::{Tag, Tags};
use ringtun::xsk::RingSizes;

use net::{Net, Options, number, numbered};

/// What a host receives of each sender, in the order in which it came.
fn by_sender(delivered: &[net::Delivered], hosts: usize, devices: usize) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); hosts * devices];
    for (device, packet) in delivered {
        let (from, number) = number(packet);
        lists[device * hosts + from].push(number);
    }
    lists
}

fn tags(n: usize) -> Tags {
    let mut tags = Tags::NONE;
    for (vlan, service) in [(100, false), (7, true)].into_iter().take(n) {
        let tag = Tag {
            service,
            vlan,
            priority: 3,
        };
        assert!(tags.wrap(tag));
    }
    tags
}

/// Writes packets, seals them and brings what leaves to the other side, in the
/// largest portions that everything holds.
fn transfer(net: &mut Net, from: usize, packets: &[Vec<u8>]) -> Vec<Vec<net::Delivered>> {
    let mut delivered = vec![Vec::new(); net.options.hosts];
    let mut rest = packets;
    for _ in 0..10 * packets.len() + 10 {
        let written = net.write(0, from, rest);
        rest = &rest[written..];
        net.serve_out(from);
        let frames = net.collect(from, u32::MAX);
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        for (all, some) in delivered.iter_mut().zip(net.carry(&frames)) {
            all.extend(some);
        }
    }
    assert!(rest.is_empty(), "the device takes all of it");
    delivered
}

/// Over both families, with and without tags, whoever computes the checksum.
#[test]
fn packets_of_every_size_arrive_once_and_in_order() {
    for (seed, (v6, tagged, metadata)) in [
        (false, 0, true),
        (false, 0, false),
        (false, 1, true),
        (false, 2, false),
        (true, 0, true),
        (true, 1, false),
        (true, 2, true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(
            700 + seed as u64,
            Options {
                v6,
                metadata,
                tags: tags(tagged),
                ..Options::default()
            },
        );
        // 0 to 1396 bytes behind the number, in an order without a pattern.
        let packets: Vec<_> = (0..1397)
            .map(|n| numbered(0, 1, n, n as usize * 701 % 1397, 0))
            .collect();
        let delivered = transfer(&mut net, 0, &packets);
        let got = by_sender(&delivered[1], 2, 1);
        assert_eq!(got[0], (0..1397).collect::<Vec<_>>(), "{:?}", net.options);
        assert_eq!([net.dropped(0), net.dropped(1)], [[], []]);
        net.settle();
    }
}

/// The outer header says what the inner one does, and a mark on the way comes
/// through.
#[test]
fn the_mark_of_congestion_is_carried_both_ways() {
    for v6 in [false, true] {
        let mut net = Net::new(
            710,
            Options {
                v6,
                ..Options::default()
            },
        );
        // The DSCP of the inner packet is nobody's business outside.
        let classes = [0b1011_1000, 0b1011_1010, 1, 3, 2];
        let packets: Vec<_> = (0..5u8)
            .map(|n| numbered(0, 1, n.into(), 100, classes[usize::from(n)]))
            .collect();
        assert_eq!(net.write(0, 0, &packets), 5);
        net.serve_out(0);
        let mut frames = net.collect(0, u32::MAX);
        let marks: Vec<_> = frames.iter().map(|f| f.class).collect();
        assert_eq!(marks, [0, 2, 1, 3, 2]);
        frames[4].mark_congested();
        let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
        let delivered = &net.carry(&frames)[1];
        let inner: Vec<_> = delivered.iter().map(|(_, packet)| packet[1]).collect();
        assert_eq!(inner, [0b1011_1000, 0b1011_1010, 1, 3, 3]);
        net.settle();
    }
}

/// Fragments of two packets with one identification would be put together
/// wrongly; queues of one card send to the same endpoints.
#[test]
fn identifications_are_distinct_over_the_rings_of_a_card() {
    let mut seen = std::collections::HashSet::new();
    let queues: u16 = 4;
    for queue in 0..queues {
        let mut net = Net::new(720, Options::default());
        let host = &mut net.hosts[0];
        let (ring, kernel, _) = net::ring(net::ifindex(0), queue, queues, &net.options);
        *host.ring() = ring;
        host.kernel = kernel;
        for round in 0..4 {
            let packets: Vec<_> = (0..16).map(|n| numbered(0, 1, n, 10, 0)).collect();
            assert_eq!(net.write(0, 0, &packets), 16);
            net.serve_out(0);
            for frame in net.collect(0, u32::MAX) {
                assert!(seen.insert(frame.id), "{} twice, round {round}", frame.id);
            }
        }
        net.settle();
    }
    assert_eq!(seen.len(), 4 * 4 * 16);
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many packets, from which host to which other, by which device.
    Write {
        from: u8,
        to: u8,
        device: u8,
        count: u8,
        size: u16,
    },
    /// A turn of a host's worker.
    Outbound(u8),
    Inbound(u8),
    /// The kernel takes so many frames of a host.
    Kernel(u8, u8),
    /// The wire brings so many.
    Wire(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), any::<u8>(), any::<u8>(), 1..40u8, 0..1397u16).prop_map(
            |(from, to, device, count, size)| Step::Write { from, to, device, count, size }
        ),
        3 => any::<u8>().prop_map(Step::Outbound),
        3 => any::<u8>().prop_map(Step::Inbound),
        3 => (any::<u8>(), 1..80u8).prop_map(|(host, n)| Step::Kernel(host, n)),
        2 => (1..120u8).prop_map(Step::Wire),
    ]
}

/// Hosts and devices of the test below.
const MANY: usize = 3;
const DEVICES: usize = 2;

/// A net in the middle of something.
struct Run {
    net: Net,
    /// On the wire.
    wire: std::collections::VecDeque<Vec<u8>>,
    /// What each host is to receive by device and sender.
    expected: Vec<Vec<Vec<u32>>>,
    got: Vec<Vec<Vec<u32>>>,
    /// That the wire lost, since nobody was served.
    next: u32,
}

impl Run {
    fn take(&mut self, step: Step) {
        match step {
            Step::Write {
                from,
                to,
                device,
                count,
                size,
            } => {
                let from = usize::from(from) % MANY;
                let to = (from + 1 + usize::from(to) % (MANY - 1)) % MANY;
                let device = usize::from(device) % DEVICES;
                let numbers = self.next..self.next + u32::from(count);
                let packets: Vec<_> = numbers
                    .map(|n| numbered(from, to, n, (usize::from(size) + n as usize % 3) % 1397, 0))
                    .collect();
                let written = self.net.write(device, from, &packets) as u32;
                let list = &mut self.expected[to][device * MANY + from];
                list.extend(self.next..self.next + written);
                self.next += written;
            }
            Step::Outbound(host) => self.net.serve_out(usize::from(host) % MANY),
            Step::Inbound(host) => self.inbound(usize::from(host) % MANY),
            Step::Kernel(host, n) => {
                let frames = self.net.collect(usize::from(host) % MANY, n.into());
                self.wire.extend(frames.into_iter().map(|f| f.bytes));
            }
            Step::Wire(n) => {
                // A frame that finds no room waits: nothing is lost here.
                for _ in 0..n {
                    let Some(frame) = self.wire.front() else {
                        break;
                    };
                    if self.net.deliver(frame).is_err() {
                        break;
                    }
                    self.wire.pop_front();
                }
            }
        }
    }

    fn inbound(&mut self, host: usize) {
        self.net.serve_in(host);
        let delivered = self.net.hosts[host].delivered();
        let lists = by_sender(&delivered, MANY, DEVICES);
        for (all, some) in self.got[host].iter_mut().zip(lists) {
            all.extend(some);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Three hosts, two devices, rings that are full most of the time, a kernel
    /// that works when it likes to: each packet of each peer arrives once and in
    /// order, and no frame is lost.
    #[test]
    fn whatever_the_kernel_does_when_each_packet_arrives_once_and_in_order(
        steps in prop::collection::vec(step(), 20..120),
        sizes in prop::sample::select(vec![[64, 64, 64, 64], [64, 16, 64, 64], [16, 64, 64, 32], [64, 64, 16, 64]]),
        v6 in any::<bool>(),
        metadata in any::<bool>(),
        tagged in 0..3usize,
    ) {
        let [fill, completion, rx, tx] = sizes;
        let net = Net::new(730, Options {
            hosts: MANY,
            devices: DEVICES,
            sizes: RingSizes { fill, completion, rx, tx },
            v6,
            metadata,
            tags: tags(tagged),
            ..Options::default()
        });
        let lists = vec![vec![Vec::new(); MANY * DEVICES]; MANY];
        let mut run = Run {
            net,
            wire: [].into(),
            expected: lists.clone(),
            got: lists,
            next: 0,
        };
        for step in steps {
            run.take(step);
        }
        // Until all is done.
        for _ in 0..400 {
            for host in 0..MANY as u8 {
                for step in [Step::Outbound(host), Step::Kernel(host, 200), Step::Wire(200), Step::Inbound(host)] {
                    run.take(step);
                }
            }
        }
        for host in 0..MANY {
            prop_assert_eq!(run.net.dropped(host), []);
        }
        prop_assert!(run.wire.is_empty());
        prop_assert_eq!(&run.got, &run.expected);
        run.net.settle();
    }
}

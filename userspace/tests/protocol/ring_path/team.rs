//! One flow, opened by several workers.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use mio::{Poll, Token, Waker};
use proptest::prelude::*;
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::port::Port;
use ringtun::datapath::rings::{Doorbell, Rings};
use ringtun::datapath::team::{Membership, Team};
use ringtun::drops::DropReason;
use ringtun::net::tun::TunQueue;
use ringtun::tunnel::time::BootTime;

use super::net::{FRAMES, Net, Options, number, numbered};

/// Bytes in each packet: a batch of them is worth a helper, and two batches find
/// room in the socket that stands for the TUN device.
const SIZE: usize = 300;

/// A worker without its thread that has nothing of its own to do.
struct Helper {
    membership: Arc<Membership>,
    frames: Arc<FramePool>,
    inbound: Inbound,
    ports: Vec<Option<Box<Port>>>,
    _poll: Poll,
}

/// A place in the team, behind a bell that nobody hears.
fn membership(team: &Arc<Team>, index: usize) -> (Arc<Membership>, Poll) {
    let poll = Poll::new().expect("epoll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("an eventfd");
    let bell = Arc::new(Doorbell::new(waker));
    (Arc::new(Membership::new(team, index, &bell)), poll)
}

impl Helper {
    /// Number `index` of the team of host 0, whose device it serves. What both
    /// deliver comes out of one TUN queue, so that the order shows.
    fn new(net: &mut Net, team: &Arc<Team>, index: usize) -> Self {
        let port = net.hosts[0].port(0);
        let tun = port.tun.as_fd().try_clone_to_owned().expect("a descriptor");
        let port = Port::new(&port.tunnel, index, TunQueue::from(tun), true);
        let (membership, poll) = membership(team, index);
        membership.set_free(true);
        let frames = FramePool::new(FRAMES);
        let mut inbound = Inbound::new(Arc::clone(&frames), Queues::new(0));
        inbound.join(Arc::clone(&membership));
        Self {
            membership,
            frames,
            inbound,
            ports: vec![Some(Box::new(port))],
            _poll: poll,
        }
    }

    fn help(&mut self, now: BootTime) {
        self.inbound
            .help(&mut self.ports, &mut Rings::default(), now);
    }

    fn helped(&self) -> u64 {
        let ports = self.ports.iter().flatten();
        ports.map(|port| port.stats.helped.get()).sum()
    }
}

/// Host 0 with a helper, and host 1, which sends.
struct Crew {
    net: Net,
    helper: Helper,
    _poll: Poll,
    sent: u32,
    arrived: Vec<u32>,
}

impl Crew {
    fn new(seed: u64) -> Self {
        Self::of(seed, 3)
    }

    /// The two are workers 0 and 1 of so many.
    fn of(seed: u64, workers: usize) -> Self {
        let mut net = Net::new(seed, Options::default());
        let team = Team::new(workers);
        let (first, poll) = membership(&team, 0);
        net.hosts[0].inbound.join(first);
        let helper = Helper::new(&mut net, &team, 1);
        Self {
            net,
            helper,
            _poll: poll,
            sent: 0,
            arrived: Vec::new(),
        }
    }

    /// Brings `n` packets into the ring of host 0, which has room for them.
    fn send(&mut self, n: u32) {
        let packets: Vec<_> = (self.sent..self.sent + n)
            .map(|number| numbered(1, 0, number, SIZE, 0))
            .collect();
        let mut rest = &packets[..];
        while !rest.is_empty() {
            let written = self.net.write(0, 1, rest);
            assert!(written > 0);
            rest = &rest[written..];
            self.net.serve_all(1);
            for frame in self.net.collect(1, u32::MAX) {
                self.net.deliver(&frame.bytes).expect("there is room");
            }
        }
        self.sent += n;
    }

    /// A turn of the worker that has the ring.
    fn serve(&mut self) {
        self.net.serve_in(0);
        self.read();
    }

    fn help(&mut self) {
        self.helper.help(self.net.now);
        self.read();
    }

    fn read(&mut self) {
        let delivered = self.net.hosts[0].delivered();
        self.arrived
            .extend(delivered.iter().map(|(_, p)| number(p).1));
    }

    fn dropped(&self) -> Vec<(DropReason, u64)> {
        self.net.dropped(0)
    }

    /// All that was sent has arrived, once and in order; every frame is back.
    fn settle(mut self) -> u64 {
        self.helper.membership.set_free(false);
        for _ in 0..8 {
            self.help();
            self.serve();
        }
        assert_eq!(self.dropped(), [], "nothing is lost");
        assert_eq!(self.arrived, (0..self.sent).collect::<Vec<_>>());
        let helped = self.helper.helped();
        let frames = Arc::clone(&self.helper.frames);
        drop(self.helper);
        assert_eq!(frames.outstanding(), 0, "a frame was lost");
        self.net.settle();
        helped
    }
}

#[test]
fn what_is_too_much_is_opened_by_who_is_free_and_arrives_in_order() {
    let mut crew = Crew::new(790);
    crew.send(64);
    crew.serve();
    assert!(!crew.helper.membership.is_empty(), "somebody was asked");
    let before = crew.arrived.len();
    // The next batch is opened at once, and waits for the one before.
    crew.send(10);
    crew.serve();
    assert_eq!(crew.arrived.len(), before, "what is missing is waited for");
    crew.help();
    assert_eq!(crew.arrived.len(), 74);
    assert!(crew.settle() > 0);
}

#[test]
fn who_is_busy_is_not_asked_and_little_is_not_worth_it() {
    let mut crew = Crew::new(791);
    crew.send(10);
    crew.serve();
    assert_eq!(crew.arrived.len(), 10, "less than a batch");
    crew.helper.membership.set_free(false);
    crew.send(64);
    crew.serve();
    crew.serve();
    assert_eq!(crew.arrived.len(), 74, "all busy");
    assert_eq!(crew.settle(), 0);
}

#[test]
fn of_two_workers_neither_helps_the_other() {
    let mut crew = Crew::of(793, 2);
    crew.send(64);
    crew.serve();
    assert_eq!(crew.arrived.len(), 64);
    assert_eq!(crew.settle(), 0);
}

#[test]
fn a_device_that_the_helper_does_not_have_is_counted() {
    let mut crew = Crew::new(792);
    crew.helper.ports.clear();
    crew.send(64);
    crew.serve();
    crew.help();
    crew.serve();
    let dropped: u64 = crew.dropped().iter().map(|(_, n)| n).sum();
    assert_eq!(dropped + crew.arrived.len() as u64, 64);
    assert!(dropped > 0);
    // The lane goes on.
    crew.helper.membership.set_free(false);
    crew.send(10);
    crew.serve();
    assert_eq!(crew.arrived.last(), Some(&73));
    crew.net.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whoever_is_when_how_fast_each_packet_arrives_once_and_in_order(
        seed in 0..1_000_000u64,
        turns in prop::collection::vec((1..=64u32, 0..3u8, 0..3u8), 1..20),
    ) {
        let mut crew = Crew::new(seed);
        for (packets, serves, helps) in turns {
            crew.send(packets);
            // The ring has room for one batch: it is served before the next.
            for _ in 0..=serves {
                crew.serve();
            }
            // The socket that stands for the TUN device has room for so much.
            let late = crew.sent as usize - crew.arrived.len() > 128;
            for _ in 0..helps.max(late.into()) {
                crew.help();
            }
        }
        crew.settle();
    }
}

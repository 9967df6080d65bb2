//! A worker without a ring hands its runs to one that has.

use std::sync::Arc;

use mio::{Poll, Token, Waker};
use ringtun::datapath::rings::{Doorbell, RelayInbox};
use ringtun::datapath::runs::Blocked;
use ringtun::drops::DropReason;
use ringtun::xsk::{RingSizes, Which};

use super::net::{self, Helper, Net, Options, number, numbered};

fn inbox() -> (Poll, Arc<RelayInbox>) {
    let poll = Poll::new().expect("epoll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("an eventfd");
    (poll, RelayInbox::new(Arc::new(Doorbell::new(waker))))
}

fn with_helper(seed: u64, options: Options) -> (Net, Helper, Arc<RelayInbox>) {
    let mut net = Net::new(seed, options);
    let (_poll, inbox) = inbox();
    let helper = Helper::new(&mut net, 0, &inbox);
    net.set_exits(0, true);
    (net, helper, inbox)
}

/// Each the first of a run: sizes that go up.
fn rising(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers
        .map(|n| numbered(0, 1, n, 16 * n as usize, 0))
        .collect()
}

/// A turn of the owner; what leaves by its ring.
fn serve(net: &mut Net, inbox: &RelayInbox) -> Vec<u32> {
    let now = net.now;
    let host = &mut net.hosts[0];
    host.rings.serve_inbox(inbox, &mut host.ports, now);
    host.rings.kick(now);
    let frames = net.collect(0, u32::MAX);
    arrived(net, frames)
}

fn arrived(net: &mut Net, frames: Vec<super::wire::Frame>) -> Vec<u32> {
    let frames: Vec<_> = frames.into_iter().map(|f| f.bytes).collect();
    let delivered = &net.carry(&frames)[1];
    delivered.iter().map(|(_, p)| number(p).1).collect()
}

fn settle(net: Net, helper: Helper) {
    net.settle();
    let frames = Arc::clone(&helper.frames);
    assert!(helper.port.runs.is_empty());
    drop(helper);
    assert_eq!(frames.outstanding(), 0, "a frame of the helper was lost");
}

#[test]
fn runs_of_a_worker_without_a_ring_leave_in_order_and_are_counted_where_they_leave() {
    let (mut net, mut helper, inbox) = with_helper(770, Options::default());
    helper.write(&rising(0..20));
    helper.serve_all(net.now);
    assert_eq!(
        helper.frames.outstanding(),
        20,
        "runs take their frames along"
    );
    let mut seen = serve(&mut net, &inbox);
    assert_eq!(seen.len(), 16, "a turn is bounded");
    seen.extend(serve(&mut net, &inbox));
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    // Each counter has one writer.
    assert_eq!(helper.port.stats.outer_tx_packets.get(), 0);
    assert_eq!(net.hosts[0].port(0).stats.outer_tx_packets.get(), 20);
    settle(net, helper);
}

#[test]
fn a_full_inbox_makes_the_device_wait_and_nothing_is_lost_or_doubled() {
    let (mut net, mut helper, inbox) = with_helper(771, Options::default());
    helper.write(&rising(0..60));
    helper.serve_all(net.now);
    assert_eq!(helper.port.blocked, Blocked::Ring);
    assert!(helper.port.stats.backpressure.get() > 0);
    let mut seen = Vec::new();
    while seen.len() < 60 {
        let some = serve(&mut net, &inbox);
        assert!(!some.is_empty(), "after {seen:?}");
        seen.extend(some);
        helper.serve_all(net.now);
    }
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
    assert_eq!(net.dropped(0), []);
    settle(net, helper);
}

/// A run that the ring takes a part of goes on where it stopped, before those
/// behind it.
#[test]
fn a_run_that_finds_the_ring_full_is_the_next_one_again() {
    let (mut net, mut helper, inbox) = with_helper(772, Options::default());
    let packets: Vec<_> = (0..150).map(|n| numbered(0, 1, n, 50, 0)).collect();
    helper.write(&packets);
    helper.serve_all(net.now);
    let now = net.now;
    let host = &mut net.hosts[0];
    for _ in 0..10 {
        host.rings.serve_inbox(&inbox, &mut host.ports, now);
        host.rings.kick(now);
    }
    assert!(host.rings.is_stuck());
    assert!(host.rings.timeout(now).is_some(), "it is tried again");
    let mut seen = Vec::new();
    for _ in 0..20 {
        let frames = net.collect(0, 20);
        seen.extend(arrived(&mut net, frames));
        let host = &mut net.hosts[0];
        host.rings.serve_inbox(&inbox, &mut host.ports, now);
        host.rings.kick(now);
    }
    assert_eq!(seen, (0..150).collect::<Vec<_>>());
    assert!(!net.hosts[0].rings.is_stuck());
    settle(net, helper);
}

#[test]
fn runs_of_a_device_that_the_owner_no_longer_has_are_counted_as_dropped() {
    let (mut net, mut helper, inbox) = with_helper(773, Options::default());
    helper.write(&rising(0..10));
    helper.serve_all(net.now);
    net.hosts[0].ports[0] = None;
    assert!(serve(&mut net, &inbox).is_empty());
    let dropped = helper.port.tunnel.dropped(DropReason::SocketError);
    assert_eq!(dropped, 10);
    settle(net, helper);
}

/// Whether the card goes or its ring fails while a run is in the middle of it:
/// what is left takes the owner's socket, each packet once.
#[test]
fn what_is_stuck_leaves_by_the_socket_when_the_card_goes_or_its_ring_fails() {
    for (seed, goes) in [(774, true), (775, false)] {
        let options = Options {
            sockets: true,
            sizes: RingSizes::all(64),
            ..Options::default()
        };
        let (mut net, mut helper, inbox) = with_helper(seed, options);
        let packets: Vec<_> = (0..100).map(|n| numbered(0, 1, n, 50, 0)).collect();
        helper.write(&packets);
        helper.serve_all(net.now);
        let now = net.now;
        let host = &mut net.hosts[0];
        for _ in 0..4 {
            host.rings.serve_inbox(&inbox, &mut host.ports, now);
        }
        assert!(host.rings.is_stuck());
        let frames = net.collect(0, u32::MAX);
        let host = &mut net.hosts[0];
        let removed: Vec<_> = if goes {
            host.rings.remove(net::ifindex(0)).collect()
        } else {
            host.kernel.corrupt(Which::Tx);
            Vec::new()
        };
        for _ in 0..4 {
            host.rings.serve_inbox(&inbox, &mut host.ports, now);
        }
        assert!(!host.rings.is_stuck() && inbox.is_empty());
        let mut seen = arrived(&mut net, frames);
        assert_eq!(seen.len(), 64);
        for _ in 0..10 {
            net.hosts[1].serve_sockets(now);
            let delivered = net.hosts[1].delivered();
            seen.extend(delivered.iter().map(|(_, p)| number(p).1));
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(net.dropped(0), []);
        drop(removed);
        assert_eq!(helper.frames.outstanding(), 0);
    }
}

/// Two owners of a card's queues could hand a run to each other for ever.
#[test]
fn a_run_is_handed_over_once() {
    let options = Options {
        sockets: true,
        ..Options::default()
    };
    let (mut net, mut helper, inbox) = with_helper(776, options);
    helper.write(&rising(0..10));
    helper.serve_all(net.now);
    // The owner's own way leads to a worker, too, now.
    let now = net.now;
    let (_poll, further) = self::inbox();
    let host = &mut net.hosts[0];
    host.rings.remove(net::ifindex(0)).for_each(drop);
    host.rings.add(ringtun::datapath::rings::Way::Relay {
        ifindex: net::ifindex(0),
        to: Arc::clone(&further),
    });
    host.rings.serve_inbox(&inbox, &mut host.ports, now);
    assert!(further.is_empty() && inbox.is_empty());
    net.hosts[1].serve_sockets(now);
    net.hosts[1].serve_sockets(now);
    assert_eq!(net.hosts[1].delivered().len(), 10);
    assert_eq!(helper.frames.outstanding(), 0);
}

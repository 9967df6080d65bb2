//! Many initiations: limits per source and per peer, timestamps.

use std::net::SocketAddr;

use ringtun::drops::DropReason;
use ringtun::tunnel::time::BootTime;

use crate::support::{Datagram, Host, World, ms, outer, secs};

/// Initiations of `n` strangers who hold a peer's cookie, one after the other.
fn initiations(w: &mut World, n: usize) -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    let b = w.hosts[1].public;
    for _ in 0..n {
        let now = w.now;
        let device = &mut w.hosts[0].device;
        device.remove_peer(&b);
        device.add_peer(b);
        device.set_endpoint(now, &b, outer(1));
        device.set_keepalive(now, &b, 1);
        device.publish();
        w.settle(0, Vec::new());
        made.push(w.last(0, 1).bytes);
        w.link.clear();
    }
    made
}

/// After MAC2: 20 a second, 5 at once, per source; section 7: one global
/// limiter starves everyone.
#[test]
fn under_load_each_source_has_its_own_limit() {
    let mut w = World::strangers(2, 98);
    w.hosts[1].under_load = true;
    let from: SocketAddr = outer(0);
    // A stranger with a cookie: unknown to host 1, yet costs it a DH each.
    let flood = |w: &mut World, from: SocketAddr| {
        let mut passed = 0;
        for bytes in cookied(w, from, 10) {
            let d = Datagram {
                from,
                to: outer(1),
                bytes,
            };
            match w.deliver(1, &d) {
                Err(DropReason::UnknownPeer) => passed += 1,
                Err(DropReason::RateLimited) => {}
                other => panic!("{other:?}"),
            }
        }
        passed
    };
    assert_eq!(flood(&mut w, from), 5, "a burst of five");
    assert_eq!(
        flood(&mut w, "192.0.2.77:1".parse().unwrap()),
        5,
        "another source"
    );
    assert_eq!(flood(&mut w, "[2001:db8:0:1::1]:1".parse().unwrap()), 5);
    assert_eq!(
        flood(&mut w, "[2001:db8:0:1:ffff::2]:9".parse().unwrap()),
        0,
        "the same /64"
    );
    assert_eq!(
        flood(&mut w, "[2001:db8:0:2::1]:1".parse().unwrap()),
        5,
        "another /64"
    );
    w.run(ms(150));
    assert_eq!(flood(&mut w, from), 3, "20 a second: one each 50 ms");
}

/// Initiations by host 0 that carry the MAC2 for `from`.
fn cookied(w: &mut World, from: SocketAddr, n: usize) -> Vec<Vec<u8>> {
    let b = w.hosts[1].public;
    let first = initiations(w, 1).remove(0);
    // Ask for a cookie as `from`, and let host 0 have it.
    let ask = Datagram {
        from,
        to: outer(1),
        bytes: first,
    };
    assert_eq!(w.deliver(1, &ask), Err(DropReason::CookieRequired));
    let reply = w.last(1, 3);
    w.link.clear();
    w.deliver(
        0,
        &Datagram {
            to: outer(0),
            ..reply
        },
    )
    .unwrap();
    let mut made = Vec::new();
    while made.len() < n {
        // A new link state each time: no 5 s distance, and the cookie stays.
        let now = w.now;
        w.hosts[0].device.set_up(now, false);
        w.hosts[0].device.set_up(now, true);
        w.settle(0, Vec::new());
        made.push(w.last(0, 1).bytes);
        w.link.clear();
    }
    let now = w.now;
    w.hosts[0].device.set_keepalive(now, &b, 0);
    made
}

#[test]
fn not_under_load_there_is_no_limit_per_source() {
    let mut w = World::strangers(2, 99);
    for bytes in initiations(&mut w, 50) {
        let d = Datagram {
            from: outer(0),
            to: outer(1),
            bytes,
        };
        assert_eq!(w.deliver(1, &d), Err(DropReason::UnknownPeer));
    }
}

/// At most 50 initiations a second of one peer are answered.
#[test]
fn a_peer_is_answered_at_most_every_20_ms() {
    let mut w = World::pair(100);
    let a = w.hosts[0].public;
    let mut answered = Vec::new();
    for i in 0..200u64 {
        let at = w.now + ms(i * 5);
        w.run_until(at);
        // The peer's wall clock runs fast, so that each timestamp is new.
        w.hosts[0].wall_offset += 1;
        let bytes = one_initiation(&mut w);
        let d = Datagram {
            from: outer(0),
            to: outer(1),
            bytes,
        };
        match w.deliver(1, &d) {
            Ok(()) => answered.push(w.now),
            Err(reason) => assert_eq!(reason, DropReason::InitiationFlood),
        }
    }
    assert!(answered.len() > 20);
    assert!(answered.windows(2).all(|t| t[1] - t[0] >= ms(20)));
    assert!(w.hosts[1].device.peer(&a).is_some());
}

fn one_initiation(w: &mut World) -> Vec<u8> {
    let now = w.now;
    w.hosts[0].device.set_up(now, false);
    w.hosts[0].device.set_up(now, true);
    w.send(0, 1, b"x");
    let bytes = w.last(0, 1).bytes;
    w.link.clear();
    bytes
}

#[test]
fn a_timestamp_must_be_greater_than_the_last() {
    let mut w = World::pair(101);
    let older = one_initiation(&mut w);
    w.run(secs(1));
    let newer = one_initiation(&mut w);
    let deliver = |w: &mut World, bytes: &[u8]| {
        let d = Datagram {
            from: outer(0),
            to: outer(1),
            bytes: bytes.to_vec(),
        };
        w.deliver(1, &d)
    };
    assert_eq!(deliver(&mut w, &newer), Ok(()));
    w.run(secs(1));
    assert_eq!(deliver(&mut w, &older), Err(DropReason::TimestampReplay));
    assert_eq!(deliver(&mut w, &newer), Err(DropReason::TimestampReplay));
    let newest = one_initiation(&mut w);
    assert_eq!(deliver(&mut w, &newest), Ok(()));
}

#[test]
fn a_removed_peer_that_comes_back_starts_with_a_clean_slate() {
    let mut w = World::pair(102);
    let initiation = one_initiation(&mut w);
    let d = Datagram {
        from: outer(0),
        to: outer(1),
        bytes: initiation,
    };
    assert_eq!(w.deliver(1, &d), Ok(()));
    let a = w.hosts[0].public;
    w.hosts[1].device.remove_peer(&a);
    w.hosts[1].device.publish();
    assert_eq!(w.deliver(1, &d), Err(DropReason::UnknownPeer));
    w.introduce(1, 0);
    assert_eq!(w.deliver(1, &d), Ok(()), "the old timestamp is forgotten");
}

/// Memory is what it was: nothing is allocated for an initiation that is not
/// a peer's.
#[test]
fn a_flood_of_strangers_leaves_no_trace() {
    let mut w = World::pair(103);
    w.connect(0, 1);
    let target = w.hosts[1].public;
    let now = BootTime::from_nanos(5);
    let mut stranger = Host::new(999, outer(7), now);
    stranger.device.add_peer(target);
    stranger.device.set_endpoint(now, &target, outer(1));
    let before = w.hosts[1].state();
    for load in [false, true] {
        w.hosts[1].under_load = load;
        for i in 0..200u16 {
            stranger.device.set_up(now, false);
            stranger.device.set_up(now, true);
            stranger.device.set_keepalive(now, &target, 0);
            stranger.device.set_keepalive(now, &target, 1);
            stranger.device.publish();
            let mut out = Vec::new();
            stranger.drive(now, &mut out);
            let mut d = out.into_iter().find(|d| d.kind() == 1).unwrap();
            d.from = SocketAddr::from(([198, 51, (i >> 8) as u8, i as u8], 1));
            assert!(w.deliver(1, &d).is_err());
        }
    }
    assert_eq!(w.hosts[1].state(), before);
    w.assert_connected(0, 1);
}

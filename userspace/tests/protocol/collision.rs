//! Both sides initiate at once.

use std::time::Duration;

use ringtun::tunnel::keypair::Role;

use crate::support::{Quality, World, ms, secs};

/// One session at both ends, initiated by the greater key.
fn assert_converged(w: &World) {
    assert!(w.agree(0, 1), "both ends send with one session");
    assert_eq!(w.role(0, 1), Some(Role::Initiator), "the greater key's");
}

#[test]
fn two_initiations_that_cross_make_one_session() {
    for seed in 0..8 {
        let mut w = World::pair_with_greater_first(seed);
        w.send(0, 1, b"from 0");
        w.send(1, 0, b"from 1");
        w.run(secs(1));
        assert_eq!(w.payloads(1), [b"from 0".to_vec()]);
        assert_eq!(w.payloads(0), [b"from 1".to_vec()]);
        w.assert_connected(0, 1);
        assert_converged(&w);
        // And one end renews it, not both.
        w.run(secs(121));
        w.send(1, 0, b"the responder does not");
        w.send(0, 1, b"the initiator does");
        w.run(secs(5));
        assert_eq!((w.count(0, 1), w.count(1, 1)), (2, 1));
        assert_converged(&w);
    }
}

#[test]
fn rekeys_that_cross_lose_no_packet() {
    let mut w = World::pair_with_greater_first(60);
    w.connect(0, 1);
    w.run(secs(119));
    let mut n = 0u32;
    for _ in 0..40 {
        w.run(ms(50));
        w.send(0, 1, &n.to_le_bytes());
        w.send(1, 0, &n.to_le_bytes());
        n += 1;
    }
    // The responder is made to initiate as well, by an expired key.
    w.run(secs(190));
    let before = (w.count(0, 1), w.count(1, 1));
    w.send(0, 1, b"cross");
    w.send(1, 0, b"cross");
    assert_eq!((w.count(0, 1), w.count(1, 1)), (before.0 + 1, before.1 + 1));
    w.run(secs(1));
    assert_eq!(w.payloads(1).len(), 1 + n as usize + 1);
    assert_eq!(w.payloads(0).len(), n as usize + 1);
    // Nobody speaks: the passive keepalives make them agree.
    w.run(secs(25));
    assert_converged(&w);
}

/// Whatever is lost, late or twice, both ends send with the same session in
/// the end, and no packet that arrives is refused.
#[test]
fn crossing_handshakes_converge_on_a_bad_link() {
    for seed in 0..150 {
        let mut w = World::pair_with_greater_first(seed);
        w.link.quality = Quality {
            flip: 0,
            ..Quality::BAD
        };
        let skew = w.hosts[0].rng.below(80);
        w.send(0, 1, b"x");
        w.run(ms(skew));
        w.send(1, 0, b"y");
        for _ in 0..20 {
            w.run(secs(1));
            w.send(0, 1, b"x");
            w.send(1, 0, b"y");
        }
        w.link.quality = Quality::PERFECT;
        w.run(secs(2));
        w.send(0, 1, b"x");
        w.send(1, 0, b"y");
        w.run(secs(2));
        w.assert_connected(0, 1);
        assert!(w.agree(0, 1), "seed {seed}");
    }
}

/// A peer that forgets its own initiation when it gets one (as Linux does)
/// ends with exactly one session with us, whoever has the greater key.
#[test]
fn a_peer_that_forgets_its_own_initiation_ends_with_one_session() {
    for greater_forgets in [false, true] {
        let mut w = World::pair_with_greater_first(61);
        let (forgets, keeps) = if greater_forgets { (0, 1) } else { (1, 0) };
        w.send(0, 1, b"from 0");
        w.send(1, 0, b"from 1");
        // Our response to the forgotten initiation finds nobody: the same as
        // if it never arrived.
        let from = w.hosts[keeps].addr;
        w.filter = Box::new(move |d| !(d.kind() == 2 && d.from == from));
        w.run(secs(1));
        assert!(w.agree(0, 1));
        assert_eq!(w.role(keeps, forgets), Some(Role::Initiator));
        w.assert_connected(0, 1);
        w.run(secs(60));
        assert!(w.agree(0, 1));
        assert_eq!(w.count(forgets, 1), 1, "and does not try again");
    }
}

/// A peer that lost its sessions and initiates anew is believed at once,
/// however recent our own session is and whoever has the greater key.
#[test]
fn a_peer_that_restarts_right_after_a_handshake_is_heard() {
    for restarts in [0, 1] {
        let mut w = World::pair_with_greater_first(64);
        let stays = 1 - restarts;
        w.connect(stays, restarts);
        let now = w.now;
        w.hosts[restarts].device.set_up(now, false);
        w.hosts[restarts].device.set_up(now, true);
        w.run(ms(500));
        w.send(restarts, stays, b"new");
        w.run(ms(100));
        assert!(w.agree(0, 1));
        assert_eq!(w.role(restarts, stays), Some(Role::Initiator));
        w.assert_connected(0, 1);
    }
}

/// A response may be lost while the crossing one arrives.
#[test]
fn a_collision_in_which_one_response_is_lost_still_makes_a_session() {
    for loser in [0, 1] {
        let mut w = World::pair_with_greater_first(62);
        w.send(0, 1, b"from 0");
        w.send(1, 0, b"from 1");
        let from = w.hosts[loser].addr;
        let mut lost = false;
        w.filter = Box::new(move |d| {
            let drop = !lost && d.kind() == 2 && d.from == from;
            lost |= drop;
            !drop
        });
        w.run(ms(200));
        assert!(w.agree(0, 1), "the other session is used at once");
        w.assert_connected(0, 1);
        w.run(Duration::from_secs(30));
        w.assert_connected(0, 1);
        assert!(w.agree(0, 1));
    }
}

/// The initiation of ours that is still being computed when the peer's
/// arrives is not sent any more: answering it is enough.
#[test]
fn an_initiation_made_too_late_is_not_sent() {
    let mut w = World::pair(63);
    w.hosts[1].hold_jobs = true;
    w.send(1, 0, b"waits for its job");
    assert_eq!(w.hosts[1].held.len(), 1);
    w.send(0, 1, b"faster");
    w.run(ms(100));
    let job = w.hosts[1].held.remove(0);
    let now = w.hosts[1].now(w.now);
    let done = job.run(w.now, &mut crate::support::SeededRng::new(5));
    assert!(w.hosts[1].device.handle_initiated(now, done).is_err());
    w.settle(1, Vec::new());
    assert_eq!(w.count(1, 1), 0);
    assert!(w.agree(0, 1));
    assert_eq!(w.payloads(0), [b"waits for its job".to_vec()]);
}

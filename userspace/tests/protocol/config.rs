//! Configuration while the tunnel runs.

use std::time::Instant;

use ringtun::crypto::os_rng;
use ringtun::crypto::{PrivateKey, PublicKey};
use ringtun::drops::DropReason;
use ringtun::tunnel::allowed_ips::Prefix;
use ringtun::tunnel::cell::PeerId;
use ringtun::tunnel::device::{AddPeer, Device};
use ringtun::tunnel::time::BootTime;

use crate::support::{SeededRng, World, inner4, ms, outer, secs};

#[test]
fn a_device_is_no_peer_of_itself() {
    let mut w = World::pair(150);
    let own = w.hosts[0].public;
    assert_eq!(w.hosts[0].device.add_peer(own), AddPeer::Ourselves);
    assert_eq!(w.hosts[0].device.peers().len(), 1);
    // A peer whose key becomes our own is removed.
    let mut rng = SeededRng::new(5);
    let key = PrivateKey::generate(&mut rng);
    let device = &mut w.hosts[0].device;
    assert_eq!(device.add_peer(key.public()), AddPeer::Added);
    device.add_allowed_ip(&key.public(), "10.7.0.0/16".parse().unwrap());
    let now = w.now;
    device.set_private_key(now, Some(key));
    device.publish();
    assert_eq!(device.peers().len(), 1);
    let snapshot = w.hosts[0].shared.snapshot();
    assert!(
        snapshot
            .allowed_ips
            .lookup("10.7.0.1".parse().unwrap())
            .is_none()
    );
}

#[test]
fn another_private_key_ends_all_sessions_and_handshakes() {
    let mut w = World::pair(151);
    w.connect(0, 1);
    let old = w.last(0, 4);
    w.send(0, 1, b"on its way");
    let on_its_way = w.last(0, 4);
    w.link.clear();
    let key = PrivateKey::generate(&mut SeededRng::new(6));
    let now = w.now;
    w.hosts[1].device.set_private_key(now, Some(key));
    w.hosts[1].device.publish();
    w.settle(1, Vec::new());
    assert!(w.cell(1, 0).current().is_none());
    for d in [old, on_its_way] {
        assert_eq!(w.deliver(1, &d), Err(DropReason::UnknownIndex));
    }
    assert_eq!(w.hosts[1].shared.indices.taken(), 0);
    // The old identity is nobody now.
    w.run(secs(30));
    assert!(w.hosts[1].dropped(DropReason::BadMac1) > 0 || w.count(0, 1) == 1);
}

#[test]
fn the_same_private_key_again_changes_nothing() {
    let mut w = World::pair(152);
    w.connect(0, 1);
    let key = w.hosts[0].device.private_key().cloned();
    let (now, before) = (w.now, w.hosts[0].state());
    w.hosts[0].device.set_private_key(now, key);
    w.hosts[0].device.publish();
    assert_eq!(w.hosts[0].state(), before);
    w.assert_connected(0, 1);
}

#[test]
fn without_a_private_key_nothing_is_sent_or_answered() {
    let mut w = World::pair(153);
    let now = w.now;
    w.hosts[1].device.set_private_key(now, None);
    w.hosts[1].device.publish();
    w.send(0, 1, b"x");
    w.send(1, 0, b"y");
    w.run(secs(3));
    assert_eq!(w.hosts[1].dropped(DropReason::NoIdentity), 1);
    assert_eq!(w.count(1, 1) + w.count(1, 2), 0);
}

/// The handshake was computed for what the device was; it is not any more.
#[test]
fn a_handshake_computed_for_an_old_identity_or_peer_is_not_applied() {
    // Our own initiation.
    let mut w = World::pair(154);
    w.hosts[0].hold_jobs = true;
    w.send(0, 1, b"x");
    let job = w.hosts[0].held.remove(0);
    let done = job.run(w.now, &mut SeededRng::new(1));
    let now = w.now;
    let key = PrivateKey::generate(&mut SeededRng::new(7));
    w.hosts[0].device.set_private_key(now, Some(key));
    let at = w.hosts[0].now(now);
    let result = w.hosts[0].device.handle_initiated(at, done);
    assert_eq!(result, Err(DropReason::HandshakeSuperseded));

    // An answer to a peer that is removed meanwhile.
    let mut w = World::pair(155);
    w.send(0, 1, b"x");
    let d = w.last(0, 1);
    let shared = w.hosts[1].shared.clone();
    let from = ringtun::tunnel::endpoint::Endpoint::new(d.from);
    for change in 0..4 {
        let mut rng = SeededRng::new(change);
        let mut w = World::pair(155);
        w.send(0, 1, b"x");
        let d = w.last(0, 1);
        let outcome = w.hosts[1].shared.gate.process(
            &w.hosts[1].shared,
            w.now,
            false,
            &from,
            &d.bytes,
            &mut os_rng(),
            &mut rng,
        );
        let ringtun::tunnel::gate::GateOutcome::Commit(commit) = outcome else {
            panic!("an authentic initiation");
        };
        let (a, now) = (w.hosts[0].public, w.now);
        let device = &mut w.hosts[1].device;
        match change {
            0 => assert!(device.remove_peer(&a)),
            1 => device.set_private_key(now, Some(PrivateKey::generate(&mut rng))),
            2 => {
                let psk = ringtun::crypto::PresharedKey::from_bytes(&[1; 32]);
                assert!(device.set_preshared_key(&a, psk));
            }
            _ => device.set_up(now, false),
        }
        let at = w.hosts[1].now(now);
        let result = w.hosts[1].device.handle_commit(at, commit);
        assert_eq!(
            result,
            Err(DropReason::HandshakeSuperseded),
            "change {change}"
        );
        assert_eq!(w.hosts[1].shared.indices.taken(), 0);
    }
    drop(shared);
}

#[test]
fn a_removed_peer_is_gone_at_once() {
    let mut w = World::pair(156);
    w.connect(0, 1);
    let a = w.hosts[0].public;
    let cell = w.cell(1, 0);
    assert!(w.hosts[1].device.remove_peer(&a));
    w.hosts[1].device.publish();
    assert!(!w.hosts[1].device.remove_peer(&a));
    assert!(cell.is_removed());
    assert_eq!(w.hosts[1].shared.indices.taken(), 0);
    assert_eq!(w.hosts[1].device.poll_timeout(), None);
    w.send(0, 1, b"x");
    w.run(ms(100));
    assert_eq!(w.hosts[1].dropped(DropReason::UnknownIndex), 1);
    w.send(1, 0, b"y");
    assert_eq!(w.hosts[1].dropped(DropReason::NoPeerForDestination), 1);
}

#[test]
fn removing_a_peer_purges_what_waits_for_it() {
    let mut w = World::pair(157);
    w.filter = Box::new(|_| false);
    for _ in 0..3 {
        w.send(0, 1, b"x");
    }
    let b = w.hosts[1].public;
    w.hosts[0].device.remove_peer(&b);
    w.settle(0, Vec::new());
    assert_eq!(w.hosts[0].purged, 3);
}

#[test]
fn a_prefix_belongs_to_the_peer_that_got_it_last() {
    let mut w = World::mesh(3, 158);
    let (b, c) = (w.hosts[1].public, w.hosts[2].public);
    let moved = Prefix::host(inner4(1));
    let device = &mut w.hosts[0].device;
    assert!(device.add_allowed_ip(&c, moved));
    device.publish();
    let list = |d: &Device, k: &PublicKey| d.peer(k).unwrap().allowed_ips().collect::<Vec<_>>();
    assert!(!list(device, &b).contains(&moved));
    assert!(list(device, &c).contains(&moved));
    // Taking it from whom it no longer belongs to takes it from nobody.
    assert!(device.remove_allowed_ip(&b, moved));
    device.publish();
    let owner = |w: &World| {
        let snapshot = w.hosts[0].shared.snapshot();
        snapshot.allowed_ips.lookup(inner4(1)).map(|c| *c.public())
    };
    assert_eq!(owner(&w), Some(c));
    assert!(w.hosts[0].device.clear_allowed_ips(&c));
    w.hosts[0].device.publish();
    assert_eq!(owner(&w), None);
    assert_eq!(w.hosts[0].device.peer(&b).unwrap().allowed_ips().len(), 1);
}

#[test]
fn nothing_is_visible_before_it_is_published() {
    let mut w = World::strangers(2, 159);
    let b = w.hosts[1].public;
    let device = &mut w.hosts[0].device;
    device.add_peer(b);
    device.add_allowed_ip(&b, "10.0.0.0/8".parse().unwrap());
    let seen = |w: &World| {
        let s = w.hosts[0].shared.snapshot();
        (s.peers.len(), s.allowed_ips.lookup(inner4(1)).is_some())
    };
    assert_eq!(seen(&w), (0, false));
    w.hosts[0].device.publish();
    assert_eq!(seen(&w), (1, true));
}

#[test]
fn a_link_that_goes_down_forgets_sessions_and_sends_nothing() {
    let mut w = World::pair(160);
    w.connect(0, 1);
    let now = w.now;
    w.hosts[0].device.set_up(now, false);
    w.settle(0, Vec::new());
    assert!(w.current(0, 1).is_none());
    assert_eq!(w.hosts[0].device.poll_timeout(), None);
    let sent = w.log.len();
    w.send(0, 1, b"x");
    w.run(secs(60));
    let by_0 = w.log[sent..].iter().filter(|s| s.host == 0).count();
    assert_eq!(by_0, 0);
    let now = w.now;
    w.hosts[0].device.set_up(now, true);
    w.settle(0, Vec::new());
    w.run(secs(6));
    assert!(w.agree(0, 1), "what waited goes out");
}

#[test]
fn the_seven_low_order_keys_get_no_handshake() {
    // The points of small order of Curve25519 and their non-canonical forms
    // (https://cr.yp.to/ecdh.html, "validate").
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        let mut w = World::strangers(2, 161);
        let key = PublicKey::from_hex(point).unwrap();
        let now = w.now;
        let device = &mut w.hosts[0].device;
        device.add_peer(key);
        device.add_allowed_ip(&key, Prefix::host(inner4(1)));
        device.set_endpoint(now, &key, outer(1));
        device.publish();
        w.send(0, 1, b"x");
        w.run(secs(1));
        assert_eq!(w.log.len(), 0, "{point}");
        assert_eq!(w.hosts[0].dropped(DropReason::LowOrderKey), 1);
    }
}

#[test]
fn ten_thousand_peers_are_configured_in_a_moment() {
    let mut rng = SeededRng::new(8);
    let now = BootTime::from_nanos(1);
    let keys: Vec<_> = (0..10_000u32)
        .map(|i| {
            let mut bytes = [7u8; 32];
            bytes[..4].copy_from_slice(&i.to_le_bytes());
            PublicKey::from_bytes(bytes)
        })
        .collect();
    let mut device = Device::new(now, &mut rng, std::sync::Arc::new(|_: PeerId| {}));
    let start = Instant::now();
    device.set_private_key(now, Some(PrivateKey::generate(&mut rng)));
    for (i, key) in keys.iter().enumerate() {
        device.add_peer(*key);
        let [_, b, c, d] = (i as u32).to_be_bytes();
        device.add_allowed_ip(key, Prefix::host([10, b, c, d].into()));
        device.set_endpoint(now, key, ([192, 0, 2, 1], 1).into());
        device.set_keepalive(now, key, 25);
    }
    device.publish();
    let took = start.elapsed();
    assert_eq!(
        device.peers().map(|p| p.allowed_ips().len()).sum::<usize>(),
        10_000
    );
    assert!(took.as_secs() < 3, "{took:?}");
    for key in keys.iter().step_by(2) {
        device.remove_peer(key);
    }
    device.publish();
    assert_eq!(device.shared().snapshot().allowed_ips.iter().count(), 5_000);
}

#[test]
fn statistics_count_authenticated_messages() {
    let mut w = World::pair(162);
    w.connect(0, 1);
    w.run(ms(100));
    let peer = |a: usize, b: usize| w.hosts[a].device.peer(&w.hosts[b].public).unwrap();
    // Initiation, response, "first" in 25 bytes padded to 32.
    assert_eq!(peer(0, 1).tx_bytes(), 148 + 16 + 32 + 16);
    assert_eq!(peer(1, 0).rx_bytes(), 148 + 16 + 32 + 16);
    assert_eq!(peer(1, 0).tx_bytes(), 92);
    assert_eq!(peer(0, 1).rx_bytes(), 92);
}

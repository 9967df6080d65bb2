//! Handshakes between two cores: who may send when, keys, staging.

use ringtun::crypto::PresharedKey;
use ringtun::drops::DropReason;
use ringtun::tunnel::indices::IndexTable;
use ringtun::tunnel::keypair::Role;
use ringtun::tunnel::output::PeerEvent;

use crate::support::{SeededRng, World, inner6, ms, packet, secs};

#[test]
fn a_packet_starts_a_handshake_and_arrives() {
    let mut w = World::pair(1);
    w.send(0, 1, b"hello");
    assert_eq!(w.count(0, 1), 1, "an initiation at once");
    w.run(secs(1));
    assert!(w.agree(0, 1));
    assert_eq!(w.payloads(1), [b"hello".to_vec()]);
    assert_eq!((w.count(0, 1), w.count(1, 2)), (1, 1));
    let complete = |role| PeerEvent::HandshakeComplete { role };
    assert_eq!(w.happened(0, complete(Role::Initiator)), 1);
    assert_eq!(w.happened(1, complete(Role::Responder)), 1);
    for (a, b) in [(0, 1), (1, 0)] {
        assert!(w.cell(a, b).last_handshake().is_some());
    }
    w.assert_connected(0, 1);
}

#[test]
fn either_side_initiates_over_either_family() {
    for first in [0, 1] {
        let mut w = World::pair(2);
        let p = packet::ip(inner6(first), inner6(1 - first), 0, b"six");
        w.send_packet(first, &p);
        w.run(secs(1));
        assert_eq!(w.hosts[1 - first].delivered, [p]);
        w.assert_connected(0, 1);
    }
}

#[test]
fn messages_have_the_lengths_of_the_specification() {
    let mut w = World::pair(3);
    w.send(0, 1, &[7; 100]);
    w.run(secs(30));
    assert_eq!(w.last(0, 1).bytes.len(), 148);
    assert_eq!(w.last(1, 2).bytes.len(), 92);
    assert_eq!(
        w.last(0, 4).bytes.len(),
        16 + 128 + 16,
        "120 bytes padded to 128"
    );
    assert_eq!(w.last(1, 4).bytes.len(), 32, "a keepalive");
    w.hosts[1].under_load = true;
    w.run(secs(600));
    w.send(0, 1, b"again");
    w.run(secs(1));
    assert_eq!(w.last(1, 3).bytes.len(), 64);
}

/// PROTOCOLS.md section 1: a responder sends no data before the first data
/// packet of the initiator.
#[test]
fn the_responder_waits_for_the_first_data_packet() {
    let mut w = World::pair(4);
    w.filter = Box::new(|d| d.kind() != 4);
    w.send(0, 1, b"lost");
    w.run(ms(100));
    assert_eq!(w.role(0, 1), Some(Role::Initiator));
    assert!(w.current(1, 0).is_none(), "not confirmed");
    w.send(1, 0, b"waits");
    w.run(secs(3));
    assert_eq!(w.count(1, 4), 0, "no data by the responder");
    w.filter = Box::new(|_| true);
    w.send(0, 1, b"confirms");
    w.run(ms(100));
    assert!(w.agree(0, 1));
    assert_eq!(w.payloads(0), [b"waits".to_vec()], "flushed when confirmed");
}

#[test]
fn without_a_packet_to_send_the_initiator_confirms_with_a_keepalive() {
    let mut w = World::pair(5);
    let peer = w.hosts[1].public;
    let now = w.now;
    w.hosts[0].device.set_keepalive(now, &peer, 25);
    w.settle(0, Vec::new());
    w.run(ms(100));
    assert!(w.agree(0, 1));
    assert_eq!(w.hosts[1].keepalives, 1);
}

#[test]
fn at_most_128_packets_are_staged_and_the_newest_arrive() {
    let mut w = World::pair(6);
    for n in 0..150u8 {
        w.send(0, 1, &[n]);
    }
    assert_eq!(w.hosts[0].dropped(DropReason::StagedOverflow), 22);
    w.run(secs(1));
    let expected: Vec<_> = (22..150).map(|n| vec![n]).collect();
    assert_eq!(w.payloads(1), expected, "in order, the oldest gone");
}

#[test]
fn preshared_keys_must_match() {
    let psk = |n| PresharedKey::from_bytes(&[n; 32]);
    let mut w = World::pair(7);
    let (a, b) = (w.hosts[0].public, w.hosts[1].public);
    w.hosts[0].device.set_preshared_key(&b, psk(1));
    w.hosts[1].device.set_preshared_key(&a, psk(2));
    w.send(0, 1, b"no");
    w.run(secs(4));
    assert!(!w.agree(0, 1));
    assert_eq!(w.hosts[0].dropped(DropReason::HandshakeAuth), 1);
    w.hosts[1].device.set_preshared_key(&a, psk(1));
    w.run(secs(10));
    assert!(w.agree(0, 1), "the next handshake uses the new key");
}

/// Section 7: PSK change lost until restart. It holds for the next handshake
/// at either end, while the session goes on.
#[test]
fn a_changed_preshared_key_holds_from_the_next_handshake_on() {
    let mut w = World::pair(8);
    w.connect(0, 1);
    let (a, b) = (w.hosts[0].public, w.hosts[1].public);
    w.hosts[1]
        .device
        .set_preshared_key(&a, PresharedKey::from_bytes(&[9; 32]));
    w.assert_connected(0, 1);
    w.run(secs(121));
    w.send(0, 1, b"asks for a rekey");
    w.run(secs(3));
    assert_eq!(
        w.hosts[0].dropped(DropReason::HandshakeAuth),
        1,
        "one end only"
    );
    w.hosts[0]
        .device
        .set_preshared_key(&b, PresharedKey::from_bytes(&[9; 32]));
    let before = w.current(0, 1).map(|k| k.local_index());
    w.run(secs(10));
    assert!(w.agree(0, 1));
    assert_ne!(w.current(0, 1).map(|k| k.local_index()), before);
}

/// The key may change between initiation and response: the response needs it.
#[test]
fn a_preshared_key_set_while_the_response_is_awaited_is_used_for_it() {
    let mut w = World::pair(9);
    let (a, b) = (w.hosts[0].public, w.hosts[1].public);
    w.hosts[1]
        .device
        .set_preshared_key(&a, PresharedKey::from_bytes(&[3; 32]));
    w.send(0, 1, b"hi");
    w.hosts[0]
        .device
        .set_preshared_key(&b, PresharedKey::from_bytes(&[3; 32]));
    w.run(ms(100));
    assert!(w.agree(0, 1));
}

/// Each of the 32 bits is as often one as zero, and neighbours in time are no
/// neighbours in number.
#[test]
fn receiver_indices_are_unpredictable() {
    let table = IndexTable::<()>::default();
    let mut rng = SeededRng::new(3);
    let n = 4000;
    let all: Vec<_> = (0..n).map(|_| table.reserve(&mut rng).unwrap()).collect();
    for bit in 0..32 {
        let ones = all.iter().filter(|r| r.index() >> bit & 1 == 1).count();
        let usual = n * 45 / 100..n * 55 / 100;
        assert!(usual.contains(&ones), "bit {bit}: {ones} of {n}");
    }
    let near = all.windows(2);
    let near = near.filter(|w| w[0].index().abs_diff(w[1].index()) < 1 << 16);
    assert!(near.count() < 3, "indices lie close to the one before");
}

#[test]
fn receiver_indices_are_all_different_and_freed() {
    let mut w = World::pair(10);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..40 {
        w.send(0, 1, b"x");
        w.run(secs(1));
        let k = w.current(0, 1).unwrap();
        assert!(seen.insert(k.local_index()) && seen.insert(k.remote_index()));
        w.run(secs(181));
    }
    assert!(
        w.hosts[0].shared.indices.taken() <= 3,
        "previous, current, next"
    );
    w.run(secs(600));
    for h in &w.hosts {
        assert_eq!(h.shared.indices.taken(), 0);
    }
}

#[test]
fn three_peers_do_not_disturb_each_other() {
    let mut w = World::mesh(3, 11);
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        w.send(a, b, &[a as u8, b as u8]);
    }
    w.run(secs(1));
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        assert!(w.agree(a, b), "{a} and {b}");
        w.assert_connected(a, b);
    }
}

//! Every timer of the protocol, to the second.

use std::time::Duration;

use ringtun::tunnel::keypair::Role;
use ringtun::tunnel::output::PeerEvent;
use ringtun::tunnel::time::BootTime;

use crate::support::{World, ms, secs};

fn cut(w: &mut World) {
    w.filter = Box::new(|_| false);
}

/// Time between neighbours.
fn gaps(times: &[BootTime]) -> Vec<Duration> {
    times.windows(2).map(|t| t[1] - t[0]).collect()
}

#[test]
fn the_initiator_renews_a_key_of_120_s_when_it_sends() {
    let mut w = World::pair(20);
    w.connect(0, 1);
    let created = w.current(0, 1).unwrap().created();
    w.run_until(created + (secs(120) - ms(1)));
    w.send(0, 1, b"too early");
    assert_eq!(w.count(0, 1), 1);
    w.run_until(created + secs(120));
    w.send(0, 1, b"due");
    assert_eq!(w.count(0, 1), 2);
    w.run(secs(1));
    assert!(w.agree(0, 1));
    assert!(w.current(0, 1).unwrap().created() > created);
    assert_eq!(w.payloads(1).len(), 3, "nothing was lost on the way");
    for at in [0, 1] {
        assert_eq!(w.happened(at, PeerEvent::Rekeyed), 1, "and that is a rekey");
    }
    // One that comes after the old key is dead is none.
    w.run(secs(181));
    w.send(0, 1, b"anew");
    w.run(secs(1));
    assert_eq!(w.payloads(1).len(), 4);
    assert_eq!(w.happened(0, PeerEvent::Rekeyed), 1);
}

#[test]
fn the_responder_does_not_renew_when_it_sends() {
    let mut w = World::pair(21);
    w.connect(0, 1);
    let created = w.current(1, 0).unwrap().created();
    w.run_until(created + secs(161));
    w.send(1, 0, b"responder");
    w.run(secs(1));
    assert_eq!(w.count(1, 1), 0);
    assert_eq!(
        w.count(0, 1),
        1,
        "nor does the initiator that only receives"
    );
}

#[test]
fn an_idle_session_is_not_renewed() {
    let mut w = World::pair(22);
    w.connect(0, 1);
    w.run(secs(500));
    assert_eq!(w.count(0, 1) + w.count(1, 1), 1);
}

/// 165 s = 180 − 10 − 5: only the initiator, and only with the current key.
#[test]
fn the_initiator_renews_a_key_of_165_s_when_it_receives() {
    let mut w = World::pair(23);
    w.connect(0, 1);
    let created = w.current(0, 1).unwrap().created();
    w.run_until(created + (secs(165) - ms(50)));
    w.send(1, 0, b"too early");
    w.run(ms(20));
    assert_eq!(w.count(0, 1), 1);
    w.run_until(created + secs(165));
    w.send(1, 0, b"due");
    w.run(ms(100));
    assert_eq!(w.count(0, 1), 2);
    assert_eq!(w.count(1, 1), 0);
    assert!(w.agree(0, 1));
    assert!(w.current(0, 1).unwrap().created() > created);
}

#[test]
fn a_key_of_180_s_neither_seals_nor_opens() {
    let mut w = World::pair(24);
    w.connect(0, 1);
    // The responder's is the older one by a round trip.
    let created = w.current(1, 0).unwrap().created();
    w.run_until(created + (secs(180) - ms(1)));
    let before = w.count(1, 4);
    w.send(1, 0, b"last");
    assert_eq!(w.count(1, 4), before + 1, "sealed under the old key");
    w.run_until(created + secs(180));
    w.send(1, 0, b"too late");
    assert_eq!(w.count(1, 4), before + 1);
    assert_eq!(w.count(1, 1), 1, "a handshake instead");

    // And a packet sealed in time that arrives too late is refused.
    let mut w = World::pair(25);
    w.connect(0, 1);
    let created = w.current(1, 0).unwrap().created();
    w.run_until(created + secs(179));
    w.link.quality.delay = secs(2);
    w.send(0, 1, b"slow");
    w.link.quality.delay = ms(10);
    w.run(secs(1) + ms(900));
    let refused = |w: &World| w.hosts[1].dropped(ringtun::drops::DropReason::KeyExpired);
    assert_eq!(refused(&w), 0);
    w.run(ms(200));
    assert_eq!(refused(&w), 1, "opened after 180 s");
    assert_eq!(w.payloads(1), [b"first".to_vec()]);
}

#[test]
fn an_initiation_is_repeated_every_5_s_with_jitter_up_to_20_times() {
    let mut w = World::pair(26);
    cut(&mut w);
    w.send(0, 1, b"lost");
    w.run(secs(200));
    let times = w.times(0, 1);
    assert_eq!(times.len(), 20, "one and 19 more");
    let gaps = gaps(&times);
    assert!(
        gaps.iter().all(|g| (ms(5000)..=ms(5333)).contains(g)),
        "{gaps:?}"
    );
    let distinct: std::collections::HashSet<_> = gaps.iter().collect();
    assert!(distinct.len() > 10, "no jitter: {gaps:?}");
    assert_eq!(w.happened(0, PeerEvent::HandshakeGaveUp), 1);
    assert_eq!(w.hosts[0].purged, 1, "what waited is dropped");
    let gave_up = w.hosts[0].events.last().unwrap().0 - times[0];
    assert!((secs(95)..secs(107)).contains(&gave_up), "{gave_up:?}");
}

#[test]
fn packets_that_keep_coming_keep_the_handshake_going() {
    let mut w = World::pair(27);
    cut(&mut w);
    for _ in 0..100 {
        w.send(0, 1, b"lost");
        w.run(secs(4));
    }
    assert_eq!(w.happened(0, PeerEvent::HandshakeGaveUp), 0);
    assert!(w.count(0, 1) > 60);
    let last_packet = w.now;
    w.run(secs(300));
    assert_eq!(w.happened(0, PeerEvent::HandshakeGaveUp), 1);
    let gave_up = w.hosts[0].events.last().unwrap().0;
    assert!(gave_up - last_packet > secs(85));
}

#[test]
fn after_giving_up_the_next_packet_starts_anew() {
    let mut w = World::pair(28);
    cut(&mut w);
    w.send(0, 1, b"lost");
    w.run(secs(200));
    w.filter = Box::new(|_| true);
    w.send(0, 1, b"found");
    w.run(secs(1));
    assert_eq!(w.payloads(1), [b"found".to_vec()]);
}

#[test]
fn retransmissions_change_every_secret_and_index() {
    let mut w = World::pair(29);
    cut(&mut w);
    w.send(0, 1, b"lost");
    w.run(secs(50));
    let sent: Vec<_> = w.log.iter().map(|s| s.datagram.bytes.clone()).collect();
    assert!(sent.len() > 5, "{} initiations", sent.len());
    for (i, a) in sent.iter().enumerate() {
        for b in &sent[i + 1..] {
            assert_ne!(a[4..8], b[4..8], "index");
            assert_ne!(a[8..40], b[8..40], "ephemeral key");
            assert_ne!(a[116..132], b[116..132], "MAC1");
        }
    }
}

#[test]
fn keys_are_overwritten_after_540_s() {
    let mut w = World::pair(40);
    w.connect(0, 1);
    let created = w.current(0, 1).unwrap().created();
    w.run_until(created + (secs(540) - ms(100)));
    assert!(w.current(0, 1).is_some() && w.current(1, 0).is_some());
    w.run(ms(100));
    assert!(w.current(0, 1).is_none() && w.current(1, 0).is_none());
    for host in [0, 1] {
        assert_eq!(w.happened(host, PeerEvent::KeysZeroed), 1);
        assert_eq!(w.hosts[host].shared.indices.taken(), 0);
        assert_eq!(
            w.hosts[host].device.poll_timeout(),
            None,
            "nothing left to do"
        );
    }
}

#[test]
fn after_giving_up_what_is_left_of_a_handshake_is_overwritten_too() {
    let mut w = World::pair(41);
    cut(&mut w);
    w.send(0, 1, b"lost");
    w.run(secs(200));
    assert_eq!(w.hosts[0].shared.indices.taken(), 1);
    w.run(secs(500));
    assert_eq!(w.hosts[0].shared.indices.taken(), 0);
}

#[test]
fn a_responder_does_not_initiate_within_5_s_of_its_response() {
    let mut w = World::pair(42);
    w.filter = Box::new(|d| d.kind() != 2);
    w.send(0, 1, b"lost response");
    w.run(secs(1));
    w.filter = Box::new(|d| d.kind() != 1);
    w.send(1, 0, b"wants out");
    assert_eq!(w.count(1, 1), 0);
    w.run(secs(6));
    let answered = w.times(1, 2)[0];
    let first = w.times(1, 1)[0];
    assert_eq!(first - answered, secs(5), "and then it does");
}

/// Section 7: response dropped after 250 ms. A slow path is a path.
#[test]
fn a_response_after_4_s_is_accepted() {
    let mut w = World::pair(43);
    w.link.quality.delay = secs(2);
    w.send(0, 1, b"slow");
    w.run(secs(7));
    assert!(w.agree(0, 1));
    assert_eq!(w.count(0, 1), 1);
    assert_eq!(w.role(0, 1), Some(Role::Initiator));
    assert_eq!(w.payloads(1), [b"slow".to_vec()]);
}

/// Timers do not run per packet: a worker that stamps every batch wakes the
/// control thread a few times a minute.
#[test]
fn a_busy_session_hardly_wakes_the_control_thread() {
    let mut w = World::pair(44);
    w.connect(0, 1);
    let before = w.hosts[0].signals;
    for _ in 0..1000 {
        w.send(0, 1, b"data");
        w.send(1, 0, b"data");
        w.run(ms(50));
    }
    let signals = w.hosts[0].signals - before;
    assert!(signals <= 4, "{signals} signals in 50 s");
}

//! Silence: passive and persistent keepalives, and the wait for an answer.

use std::time::Duration;

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
fn whoever_only_receives_sends_one_keepalive_after_10_s() {
    let mut w = World::pair(30);
    w.connect(0, 1);
    w.run(secs(40));
    let start = w.now;
    w.send(0, 1, b"data");
    w.run(secs(5));
    w.send(0, 1, b"more data");
    w.run(secs(60));
    let after: Vec<_> = w.keepalives(1).into_iter().filter(|t| *t > start).collect();
    assert_eq!(after.len(), 1, "one for both");
    assert_eq!(
        after[0] - start,
        secs(10) + ms(10),
        "10 s after the first arrived"
    );
}

#[test]
fn whoever_answers_sends_no_keepalive() {
    let mut w = World::pair(31);
    w.connect(0, 1);
    w.run(secs(20));
    let before = w.keepalives(0).len() + w.keepalives(1).len();
    for _ in 0..20 {
        w.send(0, 1, b"question");
        w.run(secs(1));
        w.send(1, 0, b"answer");
        w.run(secs(1));
    }
    assert_eq!(w.keepalives(0).len() + w.keepalives(1).len(), before);
}

/// Section 7: idle keepalive ping-pong. A keepalive asks for no answer.
#[test]
fn a_keepalive_is_not_answered() {
    let mut w = World::pair(32);
    w.connect(0, 1);
    w.run(secs(170));
    assert_eq!(w.keepalives(1).len(), 1, "for the first packet");
    assert_eq!(w.keepalives(0).len(), 0);
    assert_eq!(w.log.len(), 4, "initiation, response, data, keepalive");
}

#[test]
fn silence_after_data_starts_a_handshake_after_15_s() {
    let mut w = World::pair(33);
    w.connect(0, 1);
    w.run(secs(20));
    cut(&mut w);
    let start = w.now;
    w.send(0, 1, b"into the void");
    for _ in 0..14 {
        w.run(secs(1));
        w.send(0, 1, b"goes on");
    }
    assert_eq!(w.count(0, 1), 1);
    w.run(secs(2));
    assert_eq!(w.count(0, 1), 2);
    let waited = w.times(0, 1)[1] - start;
    assert!((ms(15_000)..=ms(15_333)).contains(&waited), "{waited:?}");
    assert_eq!(w.happened(0, PeerEvent::StoppedAnswering), 1);
}

#[test]
fn an_answer_or_a_keepalive_stops_that() {
    let mut w = World::pair(34);
    w.connect(0, 1);
    for _ in 0..5 {
        w.send(0, 1, b"answered by a keepalive after 10 s");
        w.run(secs(20));
    }
    assert_eq!(w.count(0, 1), 1);
    assert_eq!(w.happened(0, PeerEvent::StoppedAnswering), 0);
}

/// What is sent after an answer is waited for anew, from its own time.
#[test]
fn the_15_s_begin_with_the_first_packet_after_the_last_answer() {
    let mut w = World::pair(35);
    w.connect(0, 1);
    w.run(secs(20));
    w.send(0, 1, b"a");
    w.run(secs(9));
    w.send(1, 0, b"answer");
    w.run(secs(1));
    cut(&mut w);
    let start = w.now;
    w.send(0, 1, b"b");
    w.run(secs(30));
    let waited = w.times(0, 1)[1] - start;
    assert!((ms(15_000)..=ms(15_333)).contains(&waited), "{waited:?}");
}

#[test]
fn a_keepalive_sent_awaits_no_answer() {
    let mut w = World::pair(36);
    w.connect(0, 1);
    w.run(secs(5));
    cut(&mut w);
    w.run(secs(100));
    assert_eq!(w.keepalives(1).len(), 1, "sent and lost");
    assert_eq!(w.count(1, 1), 0, "the responder sent no data");
}

#[test]
fn a_persistent_keepalive_is_sent_in_silence() {
    let mut w = World::pair(37);
    w.connect(0, 1);
    w.run(secs(30));
    let peer = w.hosts[1].public;
    let (now, before) = (w.now, w.keepalives(0).len());
    w.hosts[0].device.set_keepalive(now, &peer, 25);
    w.settle(0, Vec::new());
    assert_eq!(w.keepalives(0).len(), before + 1, "the first at once");
    w.run(secs(80));
    let times = w.keepalives(0);
    assert_eq!(gaps(&times[before..]), [secs(25); 3]);
    // Traffic in either direction puts it off.
    w.run(secs(15));
    w.send(1, 0, b"x");
    w.run(ms(100));
    let heard = w.now;
    w.run(secs(9));
    let last = *w.keepalives(0).last().unwrap();
    w.run(secs(2));
    let passive = *w.keepalives(0).last().unwrap();
    assert!(
        last < heard && passive > heard,
        "only the one that answers data"
    );
    let now = w.now;
    w.hosts[0].device.set_keepalive(now, &peer, 0);
    let n = w.keepalives(0).len();
    w.run(secs(60));
    assert_eq!(w.keepalives(0).len(), n, "switched off");
}

#[test]
fn a_persistent_keepalive_keeps_the_session_alive_for_hours() {
    let mut w = World::pair(38);
    let peer = w.hosts[1].public;
    let now = w.now;
    w.hosts[0].device.set_keepalive(now, &peer, 25);
    w.settle(0, Vec::new());
    w.run(secs(3 * 3600));
    assert!(w.agree(0, 1));
    let handshakes = w.count(0, 1);
    assert!(
        (80..=90).contains(&handshakes),
        "every 120 to 135 s: {handshakes}"
    );
    assert_eq!(w.count(1, 1), 0);
}

/// The configuration may be written every few seconds by some tool.
#[test]
fn setting_the_same_keepalive_again_does_not_put_it_off() {
    let mut w = World::pair(39);
    let peer = w.hosts[1].public;
    for _ in 0..20 {
        let now = w.now;
        w.hosts[0].device.set_keepalive(now, &peer, 25);
        w.settle(0, Vec::new());
        w.run(secs(10));
    }
    assert!(w.keepalives(0).len() >= 8);
}

//! Cookies: proof of address under load.

use std::net::SocketAddr;

use ringtun::drops::DropReason;
use ringtun::tunnel::output::PeerEvent;

use crate::support::{Datagram, World, ms, secs};

/// Section 7: no cookie under load.
#[test]
fn under_load_an_initiation_is_answered_with_a_cookie_first() {
    let mut w = World::pair(90);
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(secs(1));
    assert_eq!((w.count(1, 2), w.count(1, 3)), (0, 1));
    assert_eq!(w.hosts[1].dropped(DropReason::CookieRequired), 1);
    assert_eq!(w.happened(0, PeerEvent::CookieReceived), 1);
    assert_eq!(w.last(0, 1).bytes[132..], [0; 16], "no MAC2 yet");
    w.run(secs(6));
    assert_eq!(w.count(0, 1), 2, "at the next retransmission");
    assert_ne!(w.last(0, 1).bytes[132..], [0; 16]);
    assert!(w.agree(0, 1));
    assert_eq!(w.payloads(1), [b"x".to_vec()]);
}

#[test]
fn a_response_under_load_needs_a_cookie_too() {
    let mut w = World::pair(91);
    w.hosts[0].under_load = true;
    w.send(0, 1, b"x");
    w.run(secs(1));
    assert_eq!(w.count(0, 3), 1, "for the response");
    assert_eq!(w.happened(1, PeerEvent::CookieReceived), 1);
    assert!(!w.agree(0, 1));
    w.run(secs(6));
    assert!(w.agree(0, 1));
}

#[test]
fn a_cookie_reply_is_smaller_than_what_it_answers() {
    let mut w = World::pair(92);
    w.hosts[0].under_load = true;
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(secs(20));
    assert!(w.agree(0, 1));
    for reply in [w.last(0, 3), w.last(1, 3)] {
        assert_eq!(reply.bytes.len(), 64);
    }
}

#[test]
fn a_cookie_is_bound_to_address_and_port() {
    let mut w = World::pair(93);
    w.hosts[1].under_load = true;
    w.filter = Box::new(|d| d.kind() != 2);
    w.send(0, 1, b"x");
    w.run(secs(6));
    let with_mac2 = w.last(0, 1);
    for other in ["192.0.2.1:51821", "192.0.2.9:51820"] {
        let from: SocketAddr = other.parse().unwrap();
        let moved = Datagram {
            from,
            ..with_mac2.clone()
        };
        assert_eq!(
            w.deliver(1, &moved),
            Err(DropReason::CookieRequired),
            "{other}"
        );
    }
    // From where the cookie was given it is believed, and now a replay.
    assert_eq!(w.deliver(1, &with_mac2), Err(DropReason::TimestampReplay));
}

#[test]
fn a_cookie_is_used_for_115_s() {
    for (age, used) in [(100, true), (114, true), (116, false)] {
        let mut w = World::pair(94);
        w.hosts[1].under_load = true;
        w.send(0, 1, b"x");
        w.run(ms(15));
        // The cookie reply arrives now; after that the peer hears nothing.
        w.run(ms(15));
        assert_eq!(w.happened(0, PeerEvent::CookieReceived), 1);
        w.filter = Box::new(|_| false);
        w.run(secs(age - 6));
        // A fresh series, so that an initiation goes out at that age exactly.
        w.jump(secs(6));
        w.send(0, 1, b"y");
        let stamped = w.last(0, 1).bytes[132..] != [0; 16];
        let at = *w.times(0, 1).last().unwrap();
        assert!(w.now - at < secs(6));
        if age == 116 {
            w.run(secs(6));
            assert_eq!(w.last(0, 1).bytes[132..], [0; 16], "{age} s");
        } else {
            assert_eq!(stamped, used, "{age} s");
        }
    }
}

#[test]
fn a_cookie_secret_lives_120_s() {
    let mut w = World::pair(95);
    w.hosts[1].under_load = true;
    w.filter = Box::new(|d| d.kind() != 2);
    w.send(0, 1, b"x");
    w.run(secs(6));
    let with_mac2 = w.last(0, 1);
    assert_eq!(w.deliver(1, &with_mac2), Err(DropReason::TimestampReplay));
    w.run(secs(121));
    assert_eq!(w.deliver(1, &with_mac2), Err(DropReason::CookieRequired));
}

#[test]
fn a_wrong_mac2_is_ignored_when_not_under_load() {
    let mut w = World::pair(96);
    w.send(0, 1, b"x");
    let mut initiation = w.last(0, 1);
    w.link.clear();
    initiation.bytes[132..].fill(0xaa);
    assert_eq!(w.deliver(1, &initiation), Ok(()));
    assert_eq!(w.count(1, 2), 1);
}

#[test]
fn a_cookie_reply_to_nothing_is_refused() {
    let mut w = World::pair(97);
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(ms(15));
    let reply = w.last(1, 3);
    w.run(ms(10));
    assert_eq!(w.happened(0, PeerEvent::CookieReceived), 1);
    // The same again, and one for an index that nobody has.
    assert_eq!(w.deliver(0, &reply), Err(DropReason::UnexpectedReply));
    let mut other = reply.clone();
    other.bytes[4] ^= 1;
    assert_eq!(w.deliver(0, &other), Err(DropReason::UnexpectedReply));
}

//! Endpoints: who may move them, and the source address.

use std::net::SocketAddr;

use ringtun::drops::DropReason;
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::output::PeerEvent;

use crate::support::{Datagram, World, inner4, ms, outer, packet, secs};

fn elsewhere() -> SocketAddr {
    "[2001:db8::77]:4242".parse().unwrap()
}

fn endpoint(w: &World, a: usize, b: usize) -> SocketAddr {
    w.cell(a, b).endpoint.get().expect("an endpoint").addr
}

#[test]
fn a_data_packet_from_elsewhere_moves_the_endpoint() {
    let mut w = World::pair(70);
    w.connect(0, 1);
    w.hosts[0].addr = elsewhere();
    w.send(0, 1, b"moved");
    w.run(ms(100));
    assert_eq!(endpoint(&w, 1, 0), elsewhere());
    w.assert_connected(0, 1);
}

#[test]
fn a_keepalive_moves_the_endpoint() {
    let mut w = World::pair(71);
    w.connect(0, 1);
    w.send(1, 0, b"data");
    w.run(secs(9));
    w.hosts[0].addr = elsewhere();
    w.filter = Box::new(|d| d.from == elsewhere());
    w.run(secs(2));
    assert_eq!(endpoint(&w, 1, 0), elsewhere());
}

#[test]
fn an_initiation_and_a_response_move_the_endpoint() {
    let mut w = World::strangers(2, 72);
    w.introduce(0, 1);
    w.introduce(1, 0);
    let wrong: SocketAddr = "203.0.113.9:9".parse().unwrap();
    let (now, a) = (w.now, w.hosts[0].public);
    w.hosts[1].device.set_endpoint(now, &a, wrong);
    w.filter = Box::new(|d| d.kind() != 4);
    w.send(0, 1, b"x");
    w.run(ms(15));
    assert_eq!(endpoint(&w, 1, 0), outer(0), "by the initiation");
    assert_eq!(w.happened(1, PeerEvent::Roamed { to: outer(0) }), 1);
    // The response comes from another address than it was expected from.
    let mut response = w.last(1, 2);
    response.from = elsewhere();
    w.link.clear();
    w.deliver(0, &response).unwrap();
    assert_eq!(endpoint(&w, 0, 1), elsewhere(), "by the response");
}

/// Section 7: cookie reply moves the endpoint.
#[test]
fn a_cookie_reply_does_not_move_the_endpoint() {
    let mut w = World::pair(73);
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(ms(15));
    let mut reply = w.last(1, 3);
    w.link.clear();
    reply.from = elsewhere();
    let heard = w.cell(0, 1).activity.last_received();
    w.deliver(0, &reply).unwrap();
    assert_eq!(w.happened(0, PeerEvent::CookieReceived), 1);
    assert_eq!(endpoint(&w, 0, 1), outer(1));
    assert_eq!(w.cell(0, 1).activity.last_received(), heard);
    assert_eq!(w.cell(0, 1).rx_bytes(), 0);
}

#[test]
fn what_does_not_authenticate_moves_nothing() {
    let mut w = World::pair(74);
    w.connect(0, 1);
    w.send(0, 1, b"again");
    w.run(ms(100));
    for kind in [1, 4] {
        let mut forged = w.last(0, kind);
        forged.from = elsewhere();
        let last = forged.bytes.len() - 1;
        forged.bytes[last] ^= 1;
        // An initiation's last bytes are MAC2, which nobody asks for now.
        forged.bytes[60] ^= 1;
        assert!(w.deliver(1, &forged).is_err());
        assert_eq!(endpoint(&w, 1, 0), outer(0));
    }
}

#[test]
fn a_replayed_packet_moves_nothing() {
    let mut w = World::pair(75);
    w.connect(0, 1);
    for kind in [1, 4] {
        let mut replay = w.last(0, kind);
        replay.from = elsewhere();
        assert!(w.deliver(1, &replay).is_err());
        assert_eq!(endpoint(&w, 1, 0), outer(0), "type {kind}");
    }
}

/// PROTOCOLS.md section 1: dropped, yet roams the endpoint.
#[test]
fn a_packet_from_an_inner_address_not_allowed_is_dropped_and_still_roams() {
    let mut w = World::pair(76);
    w.connect(0, 1);
    w.hosts[0].addr = elsewhere();
    let foreign = packet::ip("10.9.9.9".parse().unwrap(), inner4(1), 0, b"spoof");
    w.send_packet(0, &foreign);
    w.run(ms(100));
    assert_eq!(w.hosts[1].dropped(DropReason::SourceNotAllowed), 1);
    assert_eq!(w.payloads(1), [b"first".to_vec()]);
    assert_eq!(endpoint(&w, 1, 0), elsewhere());
}

#[test]
fn answers_leave_from_the_address_that_was_spoken_to() {
    let mut w = World::pair(77);
    w.connect(0, 1);
    let source = w.cell(1, 0).endpoint.get().unwrap().source.unwrap();
    assert_eq!(source.addr, outer(1).ip());
    // `wg set endpoint` lets the kernel choose again.
    let (now, a) = (w.now, w.hosts[0].public);
    w.hosts[1].device.set_endpoint(now, &a, outer(0));
    assert_eq!(w.cell(1, 0).endpoint.get(), Some(Endpoint::new(outer(0))));
}

/// The source address may be the trouble: it is forgotten when a handshake
/// message is repeated and when nothing comes back.
#[test]
fn the_source_address_is_forgotten_when_nothing_comes_back() {
    let mut w = World::pair(78);
    w.connect(0, 1);
    let source = |w: &World| w.cell(0, 1).endpoint.get().unwrap().source;
    w.run(secs(20));
    assert!(source(&w).is_some());
    w.filter = Box::new(|_| false);
    w.send(0, 1, b"lost");
    w.run(secs(14));
    assert!(source(&w).is_some());
    w.run(secs(2));
    assert!(source(&w).is_none(), "by the new handshake");

    let mut w = World::pair(79);
    w.connect(0, 1);
    w.run(secs(200));
    w.filter = Box::new(|_| false);
    w.send(0, 1, b"lost");
    w.run(secs(4));
    assert!(source(&w).is_some());
    w.run(secs(2));
    assert!(source(&w).is_none(), "by the retransmission");
}

#[test]
fn an_endpoint_set_by_the_operator_is_used_at_once() {
    let mut w = World::strangers(2, 80);
    w.introduce(0, 1);
    w.introduce(1, 0);
    let (b, there) = (w.hosts[1].public, elsewhere());
    w.connect(0, 1);
    w.hosts[1].addr = there;
    let now = w.now;
    w.hosts[0].device.set_endpoint(now, &b, there);
    w.assert_connected(0, 1);
}

#[test]
fn packets_staged_without_an_endpoint_go_when_there_is_one() {
    let mut w = World::strangers(2, 81);
    w.introduce(1, 0);
    let (now, b) = (w.now, w.hosts[1].public);
    let device = &mut w.hosts[0].device;
    device.add_peer(b);
    device.add_allowed_ip(&b, "10.0.0.2/32".parse().unwrap());
    device.publish();
    w.send(0, 1, b"staged");
    w.run(secs(1));
    assert_eq!(w.log.len(), 0);
    w.hosts[0].device.set_endpoint(now, &b, outer(1));
    w.settle(0, Vec::<Datagram>::new());
    w.run(secs(1));
    assert_eq!(w.payloads(1), [b"staged".to_vec()]);
}

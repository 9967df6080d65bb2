//! Every truncation and every flipped bit of each message type.

use ringtun::drops::DropReason;

use crate::support::{Datagram, World, ms, secs};

/// Delivers `message` to `host` in every shortened, lengthened and one-bit
/// changed form: each is refused, and nothing changes. `harmless`: bits that
/// may differ.
fn mangle(w: &mut World, host: usize, message: &Datagram, harmless: std::ops::Range<usize>) {
    let before = w.hosts[host].state();
    let sent = w.log.len();
    let refused = |w: &mut World, what: String, bytes: Vec<u8>| {
        let d = Datagram {
            bytes,
            ..message.clone()
        };
        let result = w.deliver(host, &d);
        assert!(result.is_err(), "{what} was accepted");
        assert_eq!(w.hosts[host].state(), before, "{what} changed the state");
    };
    for len in 0..message.bytes.len() {
        refused(
            w,
            format!("truncated to {len}"),
            message.bytes[..len].to_vec(),
        );
    }
    for extra in [1, 4, 16, 1000, 65_000] {
        let mut bytes = message.bytes.clone();
        bytes.resize(bytes.len() + extra, 0);
        refused(w, format!("{extra} bytes more"), bytes);
    }
    for bit in (0..message.bytes.len() * 8).filter(|b| !harmless.contains(&(b / 8))) {
        let mut bytes = message.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(w, format!("bit {bit} flipped"), bytes);
    }
    assert_eq!(w.log.len(), sent, "nothing was sent");
    assert_eq!(
        w.deliver(host, message),
        Ok(()),
        "the message itself is good"
    );
}

#[test]
fn a_mangled_initiation_is_refused_and_changes_nothing() {
    let mut w = World::pair(130);
    w.send(0, 1, b"x");
    w.link.clear();
    let initiation = w.last(0, 1);
    mangle(&mut w, 1, &initiation, 132..148);
    assert_eq!(w.count(1, 2), 1);
}

#[test]
fn a_mangled_response_is_refused_and_changes_nothing() {
    let mut w = World::pair(131);
    w.send(0, 1, b"x");
    w.run(ms(15));
    w.link.clear();
    let response = w.last(1, 2);
    mangle(&mut w, 0, &response, 76..92);
    assert!(w.current(0, 1).is_some());
}

#[test]
fn mac2_flips_are_accepted_when_not_under_load() {
    for bit in 132 * 8..148 * 8 {
        let mut w = World::pair(132);
        w.send(0, 1, b"x");
        w.link.clear();
        let mut d = w.last(0, 1);
        d.bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(w.deliver(1, &d), Ok(()));
    }
    for bit in 76 * 8..92 * 8 {
        let mut w = World::pair(133);
        w.send(0, 1, b"x");
        w.run(ms(15));
        w.link.clear();
        let mut d = w.last(1, 2);
        d.bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(w.deliver(0, &d), Ok(()));
    }
}

#[test]
fn mac2_flips_are_refused_under_load() {
    let mut w = World::pair(134);
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(ms(100));
    w.filter = Box::new(|_| false);
    w.run(secs(6));
    let d = w.last(0, 1);
    assert_ne!(d.bytes[132..], [0; 16]);
    for bit in 132 * 8..148 * 8 {
        let mut flipped = d.clone();
        flipped.bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(w.deliver(1, &flipped), Err(DropReason::CookieRequired));
    }
    assert_eq!(w.deliver(1, &d), Ok(()));
}

#[test]
fn a_mangled_cookie_reply_is_refused_and_changes_nothing() {
    let mut w = World::pair(135);
    w.hosts[1].under_load = true;
    w.send(0, 1, b"x");
    w.run(ms(15));
    w.link.clear();
    let reply = w.last(1, 3);
    mangle(&mut w, 0, &reply, 0..0);
    // It was the true one that was kept: the next initiation proves it.
    w.run(secs(7));
    assert!(w.agree(0, 1));
}

#[test]
fn a_mangled_data_packet_is_refused_and_changes_nothing() {
    let mut w = World::pair(136);
    w.connect(0, 1);
    w.send(0, 1, &[0x55; 70]);
    w.link.clear();
    let data = w.last(0, 4);
    mangle(&mut w, 1, &data, 0..0);
    assert_eq!(w.payloads(1), [b"first".to_vec(), vec![0x55; 70]]);
}

#[test]
fn a_mangled_keepalive_is_refused_and_changes_nothing() {
    let mut w = World::pair(137);
    w.connect(0, 1);
    // It is on its way 10 s after the data arrived.
    w.run(ms(9_935));
    w.link.clear();
    let keepalive = w.last(1, 4);
    assert_eq!(keepalive.bytes.len(), 32);
    mangle(&mut w, 0, &keepalive, 0..0);
}

/// Section 7: oversized datagram panics the receive task.
#[test]
fn a_datagram_of_any_length_and_type_is_survived() {
    let mut w = World::pair(138);
    w.connect(0, 1);
    let index = w.current(1, 0).unwrap().local_index().to_le_bytes();
    let before = w.hosts[1].state();
    for kind in 0..=255u8 {
        for len in [
            0, 1, 3, 4, 15, 16, 31, 32, 63, 64, 91, 92, 147, 148, 1500, 9000, 65_535,
        ] {
            for fill in [0, 0xff, kind] {
                let mut bytes = vec![fill; len];
                for (at, value) in [kind, 0, 0, 0].into_iter().chain(index).enumerate() {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                let d = Datagram {
                    bytes,
                    ..w.last(0, 4)
                };
                assert!(w.deliver(1, &d).is_err());
            }
        }
    }
    assert_eq!(w.hosts[1].state(), before);
}

/// Section 7: spoofed response clears a handshake.
#[test]
fn a_spoofed_response_does_not_end_the_handshake() {
    let mut w = World::pair(139);
    w.send(0, 1, b"x");
    w.run(ms(15));
    w.link.clear();
    let response = w.last(1, 2);
    let before = w.hosts[0].state();
    // Right index, right MAC1, wrong keys: by an attacker who saw the
    // initiation and knows the public keys.
    let mut attacker = World::pair(140);
    attacker.send(0, 1, b"y");
    attacker.run(ms(15));
    let mut spoof = attacker.last(1, 2);
    spoof.bytes[8..12].copy_from_slice(&response.bytes[8..12]);
    let mac1 = mac1(&w.hosts[0].public, &spoof.bytes[..60]);
    spoof.bytes[60..76].copy_from_slice(&mac1);
    spoof.from = response.from;
    for _ in 0..3 {
        assert_eq!(w.deliver(0, &spoof), Err(DropReason::HandshakeAuth));
    }
    assert_eq!(w.hosts[0].state(), before);
    assert_eq!(w.deliver(0, &response), Ok(()));
    w.run(ms(100));
    assert!(w.agree(0, 1));
}

fn mac1(receiver: &ringtun::crypto::PublicKey, body: &[u8]) -> [u8; 16] {
    ringtun::crypto::hash::mac(&ringtun::tunnel::cookie::mac1_key(receiver), &[body])
}

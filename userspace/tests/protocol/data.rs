//! What is inside data packets: padding, lengths, addresses, congestion.

use ringtun::drops::DropReason;
use ringtun::tunnel::keypair::padded_len;
use ringtun::tunnel::transport::Ecn;

use crate::support::{World, inner4, inner6, ms, packet, secs};

#[test]
fn padding_goes_to_the_next_16_and_not_past_the_mtu() {
    for (len, mtu, padded) in [
        (0, 1420, 0),
        (1, 1420, 16),
        (16, 1420, 16),
        (17, 1420, 32),
        (1408, 1420, 1408),
        (1409, 1420, 1420),
        (1420, 1420, 1420),
        (1419, 1420, 1420),
        (33, 0, 48),
        (1430, 1420, 1436),
        (2840, 1420, 2840),
        (9, 10, 10),
    ] {
        assert_eq!(padded_len(len, mtu), padded, "{len} in {mtu}");
    }
    let mut w = World::pair(170);
    w.connect(0, 1);
    w.send(0, 1, &[1; 1400]);
    assert_eq!(w.last(0, 4).bytes.len(), 1452, "a full packet");
    w.run(ms(100));
    assert_eq!(w.payloads(1)[1].len(), 1400, "padding is taken off");
}

#[test]
fn padding_is_zeros_and_is_taken_off_in_both_families() {
    let mut w = World::pair(171);
    w.connect(0, 1);
    for len in 0..70 {
        let v4 = packet::ip(inner4(0), inner4(1), 0, &vec![9; len]);
        let v6 = packet::ip(inner6(0), inner6(1), 0, &vec![9; len]);
        for p in [v4, v6] {
            w.send_packet(0, &p);
            w.run(ms(20));
            assert_eq!(w.hosts[1].delivered.last(), Some(&p));
        }
    }
}

#[test]
fn an_inner_packet_that_lies_about_its_length_or_version_is_dropped() {
    let good = packet::ip(inner4(0), inner4(1), 0, &[1; 40]);
    let good6 = packet::ip(inner6(0), inner6(1), 0, &[1; 40]);
    let change = |p: &[u8], at: usize, value: &[u8]| {
        let mut p = p.to_vec();
        p[at..at + value.len()].copy_from_slice(value);
        p
    };
    let bad = [
        change(&good, 2, &[0xff, 0xff]),
        change(&good, 2, &[0, 19]),
        change(&good, 2, &[0, 80]),
        change(&good, 0, &[0x44]),
        change(&good, 0, &[0x4f, 0, 0, 20]),
        change(&good6, 4, &[0xff, 0xff]),
        change(&good6, 4, &[0, 80]),
    ];
    let mut w = World::pair(172);
    w.connect(0, 1);
    for (i, p) in bad.iter().enumerate() {
        w.send_packet(0, p);
        w.run(ms(20));
        assert_eq!(w.hosts[1].dropped(DropReason::InnerMalformed), i + 1, "{i}");
    }
    // What no router would hand to the tunnel, a peer can still send.
    let cell = w.cell(0, 1);
    for p in [
        &good[..19],
        &[0x45][..],
        &good6[..39],
        &[0x50; 40][..],
        &[0; 16][..],
    ] {
        let mut out = Vec::new();
        w.hosts[0].seal(w.now, &cell, p, &mut out).unwrap();
        let d = out.remove(0);
        assert_eq!(w.deliver(1, &d), Err(DropReason::InnerMalformed), "{p:?}");
    }
    assert_eq!(w.payloads(1), [b"first".to_vec()]);
}

/// Section 7: packet whose source is covered by another peer's subnet
/// accepted. The longest prefix decides, not the sender's own.
#[test]
fn a_source_covered_by_another_peers_subnet_is_refused() {
    let mut w = World::mesh(3, 173);
    let b = w.hosts[1].public;
    // Host 1 may use the whole net; 10.0.0.3/32 of it is host 2's.
    w.hosts[0]
        .device
        .add_allowed_ip(&b, "10.0.0.0/8".parse().unwrap());
    w.hosts[0].device.publish();
    w.connect(1, 0);
    let from = |source: &str| packet::ip(source.parse().unwrap(), inner4(0), 0, b"x");
    for (source, allowed) in [
        ("10.0.0.2", true),
        ("10.200.0.1", true),
        ("10.0.0.3", false),
        ("11.0.0.1", false),
    ] {
        let before = w.hosts[0].delivered.len();
        w.send_packet(1, &from(source));
        w.run(ms(50));
        assert_eq!(w.hosts[0].delivered.len() > before, allowed, "{source}");
    }
    assert_eq!(w.hosts[0].dropped(DropReason::SourceNotAllowed), 2);
}

#[test]
fn a_congestion_mark_outside_is_carried_inside() {
    for (from, to) in [(inner4(0), inner4(1)), (inner6(0), inner6(1))] {
        for (tos, outer, expected) in [
            (0xb9, Ecn::Ce, Some(0xbb)),
            (0xba, Ecn::Ce, Some(0xbb)),
            (0xba, Ecn::NotEct, Some(0xba)),
            (0xba, Ecn::Ect1, Some(0xb9)),
            (0xbb, Ecn::NotEct, Some(0xbb)),
            (0xb8, Ecn::Ect0, Some(0xb8)),
            (0xb8, Ecn::Ce, None),
        ] {
            let mut w = World::pair(174);
            w.connect(0, 1);
            w.hosts[1].outer_ecn = outer;
            let p = packet::ip(from, to, tos, b"marked");
            assert_eq!(Ecn::of_packet(&p), Ecn::from_tos(tos));
            w.send_packet(0, &p);
            w.run(ms(50));
            match expected {
                Some(tos) => {
                    let q = packet::ip(from, to, tos, b"marked");
                    assert_eq!(w.hosts[1].delivered.last(), Some(&q), "checksum included");
                }
                None => assert_eq!(w.hosts[1].dropped(DropReason::EcnNotCapable), 1),
            }
        }
    }
}

#[test]
fn a_packet_under_the_previous_key_still_arrives_after_a_rekey() {
    let mut w = World::pair(175);
    w.connect(0, 1);
    w.run(secs(121));
    w.filter = Box::new(|d| d.kind() != 4);
    w.send(1, 0, b"old key back");
    w.send(0, 1, b"old key");
    let old = [w.last(1, 4), w.last(0, 4)];
    w.filter = Box::new(|_| true);
    w.run(secs(1));
    assert!(w.agree(0, 1));
    for (host, datagram) in old.iter().enumerate() {
        assert_eq!(w.deliver(host, datagram), Ok(()), "host {host}");
    }
    assert!(w.payloads(1).contains(&b"old key".to_vec()));
    assert!(w.payloads(0).contains(&b"old key back".to_vec()));
}

#[test]
fn a_packet_for_nobody_is_not_sent() {
    let mut w = World::pair(176);
    w.send_packet(0, &packet::ip(inner4(0), inner4(9), 0, b"x"));
    assert_eq!(w.log.len(), 0);
    assert_eq!(w.hosts[0].dropped(DropReason::NoPeerForDestination), 1);
}

//! Long runs over a link that loses, reorders, duplicates, delays and flips.

use std::collections::HashSet;

use ringtun::drops::DropReason;

use crate::support::{Quality, World, ms, secs};

/// Ten minutes of traffic both ways: nothing is delivered twice or changed,
/// nothing refused that should not be, and afterwards all is well.
fn soak(w: &mut World, pairs: &[(usize, usize)]) {
    w.link.quality = Quality::BAD;
    let mut n = 0u64;
    let mut sent = 0;
    for round in 0..1200 {
        for &(a, b) in pairs {
            // Not always, so that keepalives and silences occur.
            if (round / 100) % 3 != 2 || w.hosts[0].rng.chance(2) {
                w.send(a, b, &n.to_le_bytes());
                n += 1;
                sent += 1;
            }
        }
        w.run(ms(500));
    }
    w.link.quality = Quality::PERFECT;
    w.run(secs(30));
    let mut delivered = 0;
    for host in 0..w.hosts.len() {
        let payloads = w.payloads(host);
        let distinct: HashSet<_> = payloads.iter().collect();
        assert_eq!(distinct.len(), payloads.len(), "nothing twice");
        for p in &payloads {
            let p: [u8; 8] = p.as_slice().try_into().expect("as it was sent");
            assert!(u64::from_le_bytes(p) < n);
        }
        delivered += payloads.len();
        for never in [
            DropReason::KeyExpired,
            DropReason::SourceNotAllowed,
            DropReason::InnerMalformed,
            DropReason::NonceLimit,
        ] {
            assert_eq!(w.hosts[host].dropped(never), 0, "{never:?}");
        }
    }
    let share = delivered * 100 / sent;
    assert!(share >= 70, "{delivered} of {sent} arrived");
    for &(a, b) in pairs {
        w.assert_connected(a, b);
        assert!(w.agree(a, b));
    }
}

#[test]
fn two_peers_on_a_bad_link() {
    for seed in 0..6 {
        soak(&mut World::pair(200 + seed), &[(0, 1), (1, 0)]);
    }
}

#[test]
fn three_peers_on_a_bad_link() {
    for seed in 0..3 {
        let pairs = [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)];
        soak(&mut World::mesh(3, 220 + seed), &pairs);
    }
}

#[test]
fn a_bad_link_and_endpoints_that_change() {
    let mut w = World::pair(230);
    w.link.quality = Quality::BAD;
    for i in 0..60u16 {
        w.hosts[0].addr = ([198, 51, 100, (i % 250) as u8], 1000 + i).into();
        for _ in 0..5 {
            w.send(0, 1, b"client");
            w.send(1, 0, b"server");
            w.run(ms(400));
        }
    }
    w.link.quality = Quality::PERFECT;
    w.run(secs(20));
    w.assert_connected(0, 1);
}

/// A path that loses almost everything is no path, and one that comes back is.
#[test]
fn an_outage_of_any_length_is_overcome() {
    for outage in [3, 11, 16, 60, 110, 181, 300, 700] {
        let mut w = World::pair(240 + outage);
        w.connect(0, 1);
        w.filter = Box::new(|_| false);
        for _ in 0..outage {
            w.send(0, 1, b"x");
            w.run(secs(1));
        }
        w.filter = Box::new(|_| true);
        w.run(secs(6));
        w.assert_connected(0, 1);
    }
}

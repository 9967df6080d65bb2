//! Whose an address is, against a list that is searched from end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringtun::tunnel::allowed_ips::{AllowedIps, Prefix};
use ringtun::tunnel::owners::Owners;

use crate::support::{SeededRng, World, inner4, inner6};

type Model = BTreeMap<Prefix, u32>;

/// An address: in bytes 1 to 2 and the last but one any value, in the others a few, so that
/// prefixes nest, part at every bit, and are many in some places.
fn address(rng: &mut SeededRng) -> IpAddr {
    let [family, a, b, c, d, last, ..] = rng.next().to_ne_bytes();
    if family & 1 == 0 {
        Ipv4Addr::new(a & 0x81, b, c & 0x11, last).into()
    } else {
        let mut octets = [0; 16];
        octets[0] = a & 0x81;
        octets[1] = b;
        octets[7] = c & 0x11;
        octets[8] = d & 0x80;
        octets[14] = last;
        octets[15] = d & 0x03;
        Ipv6Addr::from(octets).into()
    }
}

fn prefix(rng: &mut SeededRng) -> Prefix {
    let address = address(rng);
    let width = if address.is_ipv4() { 32 } else { 128 };
    // Of all lengths, and many of those at which bytes end.
    let any = rng.below(width + 1) as u8;
    let len = if rng.chance(50) { any } else { any / 8 * 8 };
    Prefix::new(address, len).unwrap()
}

fn slow_lookup(model: &Model, address: IpAddr) -> Option<&u32> {
    let width = if address.is_ipv4() { 32 } else { 128 };
    (0..=width)
        .rev()
        .find_map(|len| model.get(&Prefix::new(address, len)?))
}

fn agree(allowed_ips: &AllowedIps<u32>, model: &Model, rng: &mut SeededRng) {
    let all: Vec<_> = allowed_ips.iter().map(|(p, v)| (p, *v)).collect();
    let expected: Vec<_> = model.iter().map(|(p, v)| (*p, *v)).collect();
    assert_eq!(all, expected, "all, in the order of their bits");
    let near = |p: &Prefix| match p.addr() {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() ^ 1).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() ^ 1 << 64).into(),
    };
    let of_prefixes = model.keys().flat_map(|p| [p.addr(), near(p)]);
    let random: Vec<_> = (0..2000).map(|_| address(rng)).collect();
    for address in of_prefixes.chain(random) {
        let found = allowed_ips.lookup(address);
        assert_eq!(found, slow_lookup(model, address), "{address}");
    }
}

/// Grows to thousands of prefixes and shrinks to none, three times over.
#[test]
fn every_lookup_finds_what_a_list_does() {
    let mut rng = SeededRng::new(1);
    let mut allowed_ips = AllowedIps::default();
    let mut model = Model::new();
    for round in 0..60u64 {
        let grows = round % 20 < 10;
        for value in 0..400 {
            let prefix = prefix(&mut rng);
            if grows == rng.chance(88) {
                let before = model.insert(prefix, value);
                assert_eq!(allowed_ips.insert(prefix, value), before, "{prefix}");
            }
            // One that is there, mostly.
            let known = model.range(prefix..).next().map(|(p, _)| *p);
            let gone = if value % 5 == 0 { Some(prefix) } else { known };
            if let Some(gone) = gone.filter(|_| !grows) {
                assert_eq!(allowed_ips.get(gone), model.get(&gone), "{gone}");
                assert_eq!(allowed_ips.remove(gone), model.remove(&gone), "{gone}");
            }
        }
        if round % 3 == 0 {
            allowed_ips.settle();
        }
        agree(&allowed_ips, &model, &mut rng);
    }
    for prefix in model.clone().into_keys() {
        assert_eq!(allowed_ips.remove(prefix), model.remove(&prefix));
    }
    agree(&allowed_ips, &model, &mut rng);
}

#[test]
fn every_snapshot_stays_as_it_was() {
    let mut rng = SeededRng::new(2);
    let mut allowed_ips = AllowedIps::default();
    let mut model = Model::new();
    let mut snapshots = Vec::new();
    for value in 0..3000 {
        let prefix = prefix(&mut rng);
        if value % 3 == 2 {
            let known = model.range(prefix..).next().map(|(p, _)| *p);
            let gone = known.unwrap_or(prefix);
            assert_eq!(allowed_ips.remove(gone), model.remove(&gone));
        } else {
            assert_eq!(
                allowed_ips.insert(prefix, value),
                model.insert(prefix, value)
            );
        }
        if value % 250 == 0 {
            allowed_ips.settle();
            snapshots.push((allowed_ips.clone(), model.clone()));
        }
    }
    for (allowed_ips, model) in snapshots {
        agree(&allowed_ips, &model, &mut rng);
    }
}

/// Every length on one path, from either end, and each of them taken away once.
#[test]
fn all_lengths_nest_on_one_path() {
    for (host, width) in [("203.0.113.77", 32), ("2001:db8:f0f0::cafe:1", 128)] {
        let host: IpAddr = host.parse().unwrap();
        let prefixes = |reverse: bool| {
            let all = (0..=width).map(|len| Prefix::new(host, len).unwrap());
            let mut all: Vec<_> = all.collect();
            if reverse {
                all.reverse();
            }
            all
        };
        for reverse in [false, true] {
            let mut allowed_ips = AllowedIps::default();
            for prefix in prefixes(reverse) {
                allowed_ips.insert(prefix, prefix.len());
            }
            for left in (0..=width).rev() {
                assert_eq!(allowed_ips.lookup(host), Some(&left));
                let longest = Prefix::new(host, left).unwrap();
                assert_eq!(allowed_ips.remove(longest), Some(left));
            }
            assert_eq!(allowed_ips.lookup(host), None);
        }
    }
}

/// Peers in a row, as most gateways number them.
#[test]
fn neighbours_are_told_apart() {
    let mut allowed_ips = AllowedIps::default();
    let host = |i: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i));
    for i in 0..3000 {
        allowed_ips.insert(Prefix::host(host(2 * i)), i);
    }
    for i in 0..3000 {
        assert_eq!(allowed_ips.lookup(host(2 * i)), Some(&i));
        assert_eq!(allowed_ips.lookup(host(2 * i + 1)), None);
    }
    let distinct: BTreeSet<u32> = allowed_ips.iter().map(|(_, v)| *v).collect();
    assert_eq!(distinct.len(), 3000);
}

/// What is remembered of the last address is of no other.
#[test]
fn owners_of_one_after_the_other_are_those_of_each() {
    let mut world = World::strangers(5, 41);
    for other in 1..5 {
        world.introduce(0, other);
    }
    let snapshot = world.hosts[0].shared.snapshot();
    let owners = Owners::new(&snapshot);
    let mut rng = SeededRng::new(42);
    let mut strangers = 0;
    for _ in 0..1000 {
        let [family, who, ..] = rng.next().to_ne_bytes();
        let who = usize::from(who % 7);
        let address = if family & 1 == 0 {
            inner4(who)
        } else {
            inner6(who)
        };
        let expected = snapshot.allowed_ips.lookup(address);
        let owner = match address {
            IpAddr::V4(v4) => owners.of_v4(v4.octets()),
            IpAddr::V6(v6) => owners.of_v6(v6.octets()),
        };
        assert_eq!(
            owner.map(std::sync::Arc::as_ptr),
            expected.map(std::sync::Arc::as_ptr)
        );
        strangers += usize::from(owner.is_none());
    }
    assert!((100..900).contains(&strangers), "{strangers}");
}

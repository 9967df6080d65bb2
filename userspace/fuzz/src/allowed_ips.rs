//! The AllowedIPs trie against a list that is searched from end to end.

use crate::Seed;
use ringtun::tunnel::allowed_ips::{AllowedIps, Prefix};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses close together, so that prefixes nest.
fn address(bytes: &[u8]) -> IpAddr {
    let v4 = bytes[0] & 1 == 0;
    if v4 {
        Ipv4Addr::new(10, bytes[1] & 3, bytes[2], bytes[3]).into()
    } else {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[7] = bytes[1] & 3;
        octets[8] = bytes[2];
        octets[15] = bytes[3];
        Ipv6Addr::from(octets).into()
    }
}

type Model = BTreeMap<(IpAddr, u8), u8>;

fn slow_lookup(model: &Model, ip: IpAddr) -> Option<u8> {
    model
        .iter()
        .filter(|((addr, len), _)| Prefix::new(*addr, *len).is_some_and(|p| p.contains(ip)))
        .max_by_key(|((_, len), _)| *len)
        .map(|(_, value)| *value)
}

/// Inserting, removing and looking up do what the list does; a clone taken
/// before a change does not see it.
pub fn run(data: &[u8]) {
    let mut trie = AllowedIps::default();
    let mut model = Model::new();
    let mut before: Option<(AllowedIps<u8>, Model)> = None;
    for step in data.chunks_exact(7) {
        let ip = address(&step[1..5]);
        let bits = if ip.is_ipv4() { 33 } else { 129 };
        let Some(prefix) = Prefix::new(ip, step[5] % bits) else {
            panic!("{ip}/{} is a prefix", step[5] % bits);
        };
        let key = (prefix.addr(), prefix.len());
        match step[0] % 8 {
            0..=2 => assert_eq!(trie.insert(prefix, step[6]), model.insert(key, step[6])),
            3 | 4 => assert_eq!(trie.remove(prefix), model.remove(&key)),
            5 => assert_eq!(trie.get(prefix), model.get(&key)),
            6 => before = Some((trie.clone(), model.clone())),
            _ => {}
        }
        assert_eq!(trie.lookup(ip).copied(), slow_lookup(&model, ip), "{ip}");
        if let Some((trie, model)) = &before {
            assert_eq!(
                trie.lookup(ip).copied(),
                slow_lookup(model, ip),
                "{ip}, earlier"
            );
        }
    }
    let all: Model = trie
        .iter()
        .map(|(p, v)| ((p.addr(), p.len()), *v))
        .collect();
    assert_eq!(all, model);
}

/// Nested prefixes of both families.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let v4 = |op, c, d, len, value| [op, 0, 1, c, d, len, value];
    let v6 = |op, c, d, len, value| [op, 1, 1, c, d, len, value];
    // As many as a bucket has no room for: one of each two in a row, then all lengths of one path.
    let many = |of: &dyn Fn(u8, u8, u8, u8, u8) -> [u8; 7], width: u8| {
        let hosts = (0..40).flat_map(|i| of(0, 2 * i, 1, width, i));
        let nested = (0..=width).flat_map(|len| of(1, 9, 9, len, len));
        let gone = (0..40).flat_map(|i| of(3, 2 * i, 1, width, 0));
        hosts.chain(nested).chain(gone).collect()
    };
    vec![
        ("many-v4", many(&v4, 32)),
        ("many-v6", many(&v6, 128)),
        (
            "default-routes",
            [v4(0, 0, 0, 0, 1), v6(0, 0, 0, 0, 2), v4(7, 9, 9, 0, 0)].concat(),
        ),
        (
            "nested",
            [
                v4(0, 0, 0, 16, 1),
                v4(0, 0, 0, 24, 2),
                v4(0, 0, 5, 32, 3),
                v4(3, 0, 0, 24, 0),
            ]
            .concat(),
        ),
        (
            "moved-to-another-peer",
            [
                v6(0, 7, 0, 72, 1),
                v6(6, 7, 0, 72, 0),
                v6(0, 7, 0, 72, 2),
                v6(3, 7, 0, 72, 0),
            ]
            .concat(),
        ),
        (
            "siblings",
            [v4(0, 0, 4, 31, 1), v4(0, 0, 6, 31, 2), v4(4, 0, 4, 31, 0)].concat(),
        ),
    ]
}

//! Ten prefixes for each peer, spread over both address spaces, none inside another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringtun::tunnel::allowed_ips::Prefix;

/// Prefixes of one peer: of each family its own address, and four networks behind it.
pub const EACH: usize = 10;
const NETWORKS: u32 = 4;

/// An odd number: multiplying by it puts numbers in another order and makes no two of them alike.
const SPREAD: u32 = 0x9e37_79b1;

/// The prefixes of peer number `peer`, of at most a million.
pub fn of(peer: u32) -> Vec<Prefix> {
    let inside = Ipv4Addr::from_bits(0x0a00_0000 | peer);
    let mut prefixes = vec![Prefix::host(inside.into())];
    let inside = Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(peer));
    prefixes.push(Prefix::host(inside.into()));
    for network in NETWORKS * peer..NETWORKS * (peer + 1) {
        // 23 bits behind the one that keeps clear of the peers' own addresses.
        let bits = 1 << 31 | network.wrapping_mul(SPREAD) << 9 >> 1;
        let v4 = Ipv4Addr::from_bits(bits);
        let bits = 0x20 << 120 | u128::from(network.wrapping_mul(SPREAD)) << 80;
        let v6 = Ipv6Addr::from_bits(bits);
        let networks = [(IpAddr::from(v4), 24), (IpAddr::from(v6), 48)];
        prefixes.extend(
            networks
                .into_iter()
                .filter_map(|(addr, len)| Prefix::new(addr, len)),
        );
    }
    prefixes
}

/// An address in `prefix`: its bits, and behind them those of `random`.
fn address(prefix: &Prefix, random: u128) -> IpAddr {
    match prefix.addr() {
        IpAddr::V4(addr) => {
            let host = u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            Ipv4Addr::from_bits(addr.to_bits() | random as u32 & host).into()
        }
        IpAddr::V6(addr) => {
            let host = u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            Ipv6Addr::from_bits(addr.to_bits() | random & host).into()
        }
    }
}

/// SplitMix64: the same seed gives the same addresses.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Random addresses of these peers, without an end, and whose each is.
pub fn random(peers: u32, seed: u64) -> impl Iterator<Item = (IpAddr, u32)> {
    let mut random = Random(seed);
    std::iter::repeat_with(move || {
        let owner = random.next() as u32 % peers;
        let prefixes = of(owner);
        let prefix = prefixes[random.next() as usize % prefixes.len()];
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        (address(&prefix, bits), owner)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_peer_has_ten_that_are_in_no_other() {
        let all: Vec<Prefix> = (0..10_000).flat_map(of).collect();
        assert_eq!(all.len(), 10_000 * EACH);
        let distinct: BTreeSet<Prefix> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all.iter().filter(|p| p.addr().is_ipv4()).count(), 50_000);
        // In the order of their addresses a prefix would be followed by what is inside it.
        let ordered: Vec<&Prefix> = distinct.iter().collect();
        assert!(
            ordered
                .windows(2)
                .all(|pair| !pair[0].contains(pair[1].addr()))
        );
    }

    #[test]
    fn an_address_is_in_its_prefix_and_as_random_as_it_can_be() {
        for prefix in (0..100).flat_map(of) {
            for random in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef << 40] {
                assert!(prefix.contains(address(&prefix, random)), "{prefix}");
            }
            let is_host = prefix.len() == 32 || prefix.len() == 128;
            let differ = address(&prefix, 0) != address(&prefix, u128::MAX);
            assert_eq!(differ, !is_host, "{prefix}");
        }
    }
}

//! Addresses replaced so that whoever reads them still sees which networks hold
//! which addresses: two that share their first n bits share n bits afterwards, too
//! (prefix-preserving, after Xu, Fan, Ammar, Moon: Crypto-PAn, 2002). What kind of
//! address it is stays; of public IPv4 addresses the first byte is another one, so
//! that n counts from 8 there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::crypto::hash::{HASH_LEN, mac};

/// Networks that say what kind an address is of, as their bits from the left and how
/// many there are: whatever lies in one stays in it, and nothing else gets into it.
const KINDS_V4: [(u32, u8); 5] = [
    (10 << 24, 8),
    (100 << 24 | 64 << 16, 10),
    (169 << 24 | 254 << 16, 16),
    (172 << 24 | 16 << 16, 12),
    (192 << 24 | 168 << 16, 16),
];
/// Link-local with what is the same in all of them, unique local, translated (RFC 6052),
/// compatible with IPv4 (RFC 4291, 2.5.5.1), multicast, global.
const KINDS_V6: [(u128, u8); 7] = [
    (0xfe80 << 112, 64),
    (0xfc << 120, 8),
    (0xfd << 120, 8),
    (NAT64.to_bits(), 96),
    (0, 96),
    (0xff << 120, 8),
    (1 << 125, 3),
];
/// Beyond: multicast and what is reserved.
const UNICAST_V4: [std::ops::RangeInclusive<u8>; 2] = [1..=126, 128..=223];

/// Replaces addresses, each always by the same one.
pub struct Addresses {
    key: [u8; HASH_LEN],
    first: [u8; 256],
    known: HashMap<IpAddr, IpAddr>,
}

impl Addresses {
    /// By a key that is thrown away afterwards, so that nobody can go back.
    #[must_use]
    pub fn new(key: [u8; HASH_LEN]) -> Self {
        Self {
            key,
            first: first_bytes(&key),
            known: HashMap::new(),
        }
    }

    /// What stands for this address. Those that say nothing of anybody stay:
    /// loopback, unspecified, multicast, broadcast, net masks.
    pub fn replace(&mut self, address: IpAddr) -> IpAddr {
        if stays(address) {
            return address;
        }
        if let Some(known) = self.known.get(&address) {
            return *known;
        }
        let new = match address {
            IpAddr::V4(v4) => IpAddr::V4(self.v4(v4)),
            IpAddr::V6(v6) => IpAddr::V6(match v6.to_ipv4_mapped() {
                Some(v4) => self.v4(v4).to_ipv6_mapped(),
                None => self.v6(v6),
            }),
        };
        self.known.insert(address, new);
        new
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let kinds = KINDS_V4.map(|(bits, len)| (u128::from(bits) << 96, len));
        let bits = u128::from(address.to_bits()) << 96;
        let rest = (self.permute(b"4", bits, 8..32, &kinds) >> 96) as u32;
        let first = u32::from(self.first[usize::from(address.octets()[0])]) << 24;
        Ipv4Addr::from_bits(first | (rest & 0x00ff_ffff))
    }

    fn v6(&self, address: Ipv6Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.permute(b"6", address.to_bits(), 0..128, &KINDS_V6))
    }

    /// Turns each of these bits, or not, as the bits before it say. Those on the way to
    /// a kind stay, so that the networks beside it change places among themselves.
    fn permute(
        &self,
        family: &[u8],
        bits: u128,
        which: std::ops::Range<u8>,
        kinds: &[(u128, u8)],
    ) -> u128 {
        let mut turned = 0;
        for at in which {
            let before = bits & !(u128::MAX >> at);
            let is_on_the_way =
                |(kind, len): &(u128, u8)| at < *len && kind & !(u128::MAX >> at) == before;
            if kinds.iter().any(is_on_the_way) {
                continue;
            }
            let tag = mac(&self.key, &[family, &[at], &before.to_be_bytes()]);
            turned |= u128::from(tag[0] & 1) << (127 - at);
        }
        bits ^ turned
    }
}

/// What stands for each first byte: another one of the same half, as 0.0.0.0/1 and
/// 128.0.0.0/1 are what the whole Internet is called in two halves.
fn first_bytes(key: &[u8; HASH_LEN]) -> [u8; 256] {
    let mut bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    for range in UNICAST_V4 {
        let is_kind = |byte: &u8| {
            KINDS_V4
                .iter()
                .any(|(kind, _)| kind >> 24 == u32::from(*byte))
        };
        let from: Vec<u8> = range.filter(|byte| !is_kind(byte)).collect();
        let mut to = from.clone();
        to.sort_by_cached_key(|byte| mac(key, &[b"first", &[*byte]]));
        for (from, to) in from.into_iter().zip(to) {
            bytes[usize::from(from)] = to;
        }
    }
    bytes
}

fn stays(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            let mask = bits.leading_ones() + bits.trailing_zeros() == 32;
            v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || mask || bits == 1 << 31
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Whether an address tells of nobody: what stays as it is, and the bases of networks
/// that everybody has.
pub(super) fn is_of_everybody(address: IpAddr) -> bool {
    let is_base = match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            bits << 8 == 0 || COMMON_V4.contains(&v4)
        }
        IpAddr::V6(v6) => v6.to_bits() << 16 == 0 || v6 == NAT64,
    };
    is_base || stays(address)
}

/// Shared address space, link-local, and the two private networks that do not end
/// with a byte (RFC 6890).
const COMMON_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(100, 64, 0, 0),
    Ipv4Addr::new(169, 254, 0, 0),
    Ipv4Addr::new(172, 16, 0, 0),
    Ipv4Addr::new(192, 168, 0, 0),
];
/// RFC 6052.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn common(a: IpAddr, b: IpAddr) -> u32 {
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => panic!("the family changed"),
        }
    }

    proptest! {
        #[test]
        fn addresses_share_as_many_bits_as_before(
            key: [u8; 32], a: u32, len in 8..32u32, other: u32,
        ) {
            let b = a ^ ((1 << 31) >> len) ^ (other & (u32::MAX >> len >> 1));
            let (a, b) = (IpAddr::V4(a.into()), IpAddr::V4(b.into()));
            prop_assume!(!stays(a) && !stays(b));
            let mut to = Addresses::new(key);
            let (new_a, new_b) = (to.replace(a), to.replace(b));
            prop_assert_eq!(common(a, b), common(new_a, new_b));
            prop_assert_eq!(to.replace(a), new_a);
        }

        #[test]
        fn so_do_those_of_ipv6(key: [u8; 32], a: u128, len in 0..128u32, other: u128) {
            let b = a ^ ((1 << 127) >> len) ^ (other & (u128::MAX >> len >> 1));
            let (a, b) = (IpAddr::V6(a.into()), IpAddr::V6(b.into()));
            prop_assume!(!stays(a) && !stays(b));
            let mut to = Addresses::new(key);
            prop_assert_eq!(common(a, b), common(to.replace(a), to.replace(b)));
        }
    }

    #[test]
    fn first_bytes_are_exchanged_among_those_of_a_kind() {
        let to = first_bytes(&[5; 32]);
        let mut all = to;
        all.sort_unstable();
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, byte)| at == usize::from(*byte))
        );
        for stays in [0, 10, 100, 127, 169, 172, 192, 224, 255] {
            assert_eq!(usize::from(to[stays]), stays);
        }
        assert!(
            to.iter()
                .enumerate()
                .all(|(from, to)| from >> 7 == usize::from(*to >> 7))
        );
        let moved = to
            .iter()
            .enumerate()
            .filter(|(from, to)| *from != usize::from(**to));
        assert!(moved.count() > 150);
    }

    /// Of public networks that begin like a private one nothing stays but what is
    /// shared with it.
    #[test]
    fn public_addresses_beside_private_ones_are_replaced_too() {
        for address in [
            "192.0.2.2",
            "172.217.3.4",
            "100.1.2.3",
            "169.1.2.3",
            "fec0::1:2",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let all = (0..64).map(|key| Addresses::new([key; 32]).replace(address));
            let all: std::collections::HashSet<IpAddr> = all.collect();
            assert!(all.len() > 60, "{address}: {all:?}");
            let second = |address: &IpAddr| match address {
                IpAddr::V4(v4) => v4.octets()[1],
                IpAddr::V6(v6) => v6.octets()[2],
            };
            let seconds: std::collections::HashSet<u8> = all.iter().map(second).collect();
            assert!(seconds.len() > 10, "{address}: {all:?}");
            for new in all {
                let private =
                    matches!(new, IpAddr::V4(v4) if v4.is_private() || v4.is_link_local());
                assert!(!private, "{address} is {new}");
            }
        }
    }

    #[test]
    fn an_address_tells_its_kind_and_no_more() {
        let mut to = Addresses::new([7; 32]);
        for (address, begins) in [
            ("10.1.2.3", "10."),
            ("192.168.77.5", "192.168."),
            ("fe80::5054:ff:fe12:3456", "fe80::"),
        ] {
            let new = to.replace(address.parse().unwrap());
            assert!(new.to_string().starts_with(begins), "{address} is {new}");
            assert_ne!(new.to_string(), address);
        }
        for stays in [
            "127.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "255.255.255.0",
            "224.0.0.1",
        ] {
            let address: IpAddr = stays.parse().unwrap();
            assert_eq!(to.replace(address), address);
        }
    }
}

//! AllowedIPs: which peer an inner address belongs to, by longest prefix
//! (WireGuard paper, section 2, cryptokey routing).
//!
//! ```text
//!          ┌ node ──────────┐  ┌ slots ─────┐  ┌ node ──────────┐  ┌ slots ─┐  ┌ bucket ──┐
//! Trie ─▶  │ 8 bits ─ count ├─▶│ … │ … │ … ─┼─▶│ 8 bits ─ count ├─▶│ … │ … ─┼─▶│ 1 … 16   │
//!          └ prefixes ──────┘  └────────────┘  └ prefixes ──────┘  └────────┘  │ prefixes │
//!                                                                              └──────────┘
//! ```
//!
//! One `trie` for each family. A `node` looks at eight bits of the address and skips those
//! that all below it have in common (path compression); it finds what is behind them in a block
//! of `slot`s by counting the bits of a `bitmap` (Tree Bitmap, Eatherton et al., CCR 34(2),
//! 2004; Poptrie, Asai and Ohara, SIGCOMM 2015). Unlike there, a slot is for a range of values,
//! and ends in a bucket of up to 16 prefixes (`leaf`) that are compared one by one, as in a
//! B-tree: so there are few nodes and slots, they stay in the nearer caches, and a lookup among
//! 100,000 prefixes waits once for the farther one.
//!
//! **Persistent**: a clone shares every `block`; a change afterwards makes anew those on the
//! way to what changed: per level a node and its slots, at most 256 of 16 bytes, then a bucket.
//!
//! Blocks that were made while other things were too lie far apart, and then a lookup waits for
//! the translation of addresses rather than for memory. So once half of all has changed, all
//! blocks are made anew, one after the other ([`AllowedIps::settle`]).
//!
//! **Bounds**: at most 4 nodes on a way for IPv4 and 16 for IPv6. With values of eight bytes a
//! prefix takes 16 or 32, and what is around it as much again where they are many, in a bucket
//! that is half full. No set takes more than 288 bytes for each of its prefixes, with the
//! allocator's own: every node has two prefixes or slots at least, so that there are fewer nodes
//! (160 bytes, and 64 for slots) than prefixes, each in the worst case in a bucket of its own
//! (64). 256 × 1024 prefixes, chosen by an enemy: 72 MiB.

mod bitmap;
mod bits;
mod block;
mod leaf;
mod node;
mod position;
mod prefix;
mod slot;
mod trie;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use prefix::{Prefix, PrefixError};
use trie::Trie;

/// Map from prefixes of both families to `V`. Cloning takes constant time and
/// shares everything; a change to a clone copies only what it touches.
#[derive(Clone, Debug)]
pub struct AllowedIps<V> {
    v4: Trie<u32, V>,
    v6: Trie<u128, V>,
    /// How many prefixes there are.
    count: usize,
    /// How many were added, replaced or removed since all blocks were made.
    changed: usize,
}

/// Fewer changes than this scatter too little to be worth the work.
const SCATTERED: usize = 1024;

impl<V> Default for AllowedIps<V> {
    fn default() -> Self {
        Self {
            v4: Trie::default(),
            v6: Trie::default(),
            count: 0,
            changed: 0,
        }
    }
}

impl<V: Clone> AllowedIps<V> {
    /// Gives `prefix` to `value`, and returns whose it was before.
    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<V> {
        let before = match prefix.addr() {
            IpAddr::V4(a) => self.v4.insert(a.to_bits(), prefix.len(), value),
            IpAddr::V6(a) => self.v6.insert(a.to_bits(), prefix.len(), value),
        };
        self.count += usize::from(before.is_none());
        self.changed += 1;
        before
    }

    /// Removes exactly `prefix`, and returns whose it was.
    pub fn remove(&mut self, prefix: Prefix) -> Option<V> {
        let before = match prefix.addr() {
            IpAddr::V4(a) => self.v4.remove(a.to_bits(), prefix.len()),
            IpAddr::V6(a) => self.v6.remove(a.to_bits(), prefix.len()),
        };
        self.count -= usize::from(before.is_some());
        self.changed += usize::from(before.is_some());
        before
    }

    /// Moves all together if many were added or removed: what was made while other things were
    /// too is spread over as many pages of memory, and looking a page up takes longer than what
    /// is in it. For whoever is about to show a clone to others; without that, nothing is wrong.
    pub fn settle(&mut self) {
        if self.changed >= SCATTERED.max(self.count / 2) {
            self.v4.renew();
            self.v6.renew();
            self.changed = 0;
        }
    }

    /// Whose exactly `prefix` is.
    #[must_use]
    pub fn get(&self, prefix: Prefix) -> Option<&V> {
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.get(a.to_bits(), prefix.len()),
            IpAddr::V6(a) => self.v6.get(a.to_bits(), prefix.len()),
        }
    }

    /// Whose `addr` is: the value of the longest prefix that holds it.
    #[must_use]
    pub fn lookup(&self, addr: IpAddr) -> Option<&V> {
        match addr {
            IpAddr::V4(a) => self.v4.lookup(a.to_bits()),
            IpAddr::V6(a) => self.v6.lookup(a.to_bits()),
        }
    }

    /// [`Self::lookup`] for an IPv4 address as it stands in a packet.
    #[must_use]
    pub fn lookup_v4(&self, addr: [u8; 4]) -> Option<&V> {
        self.v4.lookup(u32::from_be_bytes(addr))
    }

    /// [`Self::lookup`] for an IPv6 address as it stands in a packet.
    #[must_use]
    pub fn lookup_v6(&self, addr: [u8; 16]) -> Option<&V> {
        self.v6.lookup(u128::from_be_bytes(addr))
    }

    /// All prefixes: IPv4 before IPv6, each in the order of their bits.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &V)> {
        let v4 = self
            .v4
            .iter()
            .map(|(k, len, v)| (IpAddr::V4(Ipv4Addr::from_bits(k)), len, v));
        let v6 = self
            .v6
            .iter()
            .map(|(k, len, v)| (IpAddr::V6(Ipv6Addr::from_bits(k)), len, v));
        v4.chain(v6)
            .filter_map(|(addr, len, v)| Some((Prefix::new(addr, len)?, v)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn p(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut t = AllowedIps::default();
        for (i, s) in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "::/0",
            "fd00::/8",
            "fd00::1/128",
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(t.insert(p(s), i), None);
        }
        for (addr, i) in [
            ("9.9.9.9", 0),
            ("10.9.9.9", 1),
            ("10.1.9.9", 2),
            ("10.1.2.3", 3),
            ("2001:db8::1", 4),
            ("fd00::2", 5),
            ("fd00::1", 6),
        ] {
            assert_eq!(t.lookup(addr.parse().unwrap()), Some(&i), "{addr}");
        }
        assert_eq!(t.lookup_v4([10, 1, 2, 3]), Some(&3));
        assert_eq!(t.remove(p("10.1.0.0/16")), Some(2));
        assert_eq!(t.lookup("10.1.9.9".parse().unwrap()), Some(&1));
        assert_eq!(t.lookup("10.1.2.3".parse().unwrap()), Some(&3));
    }

    #[test]
    fn ten_thousand_peers_are_inserted_quickly_and_a_clone_is_free() {
        let mut t = AllowedIps::default();
        let mut clones = Vec::new();
        for i in 0..10_000u32 {
            t.insert(
                Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i))),
                i,
            );
            if i % 100 == 0 {
                clones.push((i, t.clone()));
            }
        }
        for (i, clone) in clones {
            assert_eq!(clone.iter().count(), i as usize + 1);
        }
    }

    #[test]
    fn once_half_has_changed_all_is_moved_together() {
        let host = |i: u32| Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(i)));
        let mut t = AllowedIps::default();
        let settles_after = |t: &mut AllowedIps<u32>, changes: std::ops::Range<u32>| {
            for i in changes {
                t.insert(host(i), i);
            }
            let before = t.changed;
            t.settle();
            (before, t.changed)
        };
        assert_eq!(settles_after(&mut t, 0..1023), (1023, 1023));
        assert_eq!(settles_after(&mut t, 1023..5000), (5000, 0));
        assert_eq!(settles_after(&mut t, 0..2499), (2499, 2499));
        assert_eq!(settles_after(&mut t, 0..1), (2500, 0));
        for i in 0..5000 {
            assert_eq!(t.lookup(IpAddr::V4(Ipv4Addr::from_bits(i))), Some(&i));
            assert_eq!(t.remove(host(i)), Some(i));
            assert_eq!(t.remove(host(i)), None);
        }
        assert_eq!((t.count, t.changed), (0, 5000));
    }

    /// Few distinct bits, so that prefixes nest, collide and share paths.
    fn prefix() -> impl Strategy<Value = Prefix> {
        prop_oneof![
            (any::<[u8; 2]>(), 0u8..=32).prop_map(|([a, b], len)| {
                Prefix::new(IpAddr::V4(Ipv4Addr::new(a & 0x83, 0, 0, b)), len).unwrap()
            }),
            (any::<[u8; 2]>(), 0u8..=128).prop_map(|([a, b], len)| {
                let bits = u128::from(a & 0x83) << 120 | u128::from(b & 0x0f);
                Prefix::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), len).unwrap()
            }),
        ]
    }

    proptest! {
        /// Against a plain list; every version kept aside must stay as it was.
        #[test]
        fn agrees_with_a_plain_list(
            steps in prop::collection::vec((0u8..4, prefix(), 0u32..6), 1..120),
            probes in prop::collection::vec(prefix(), 1..20),
        ) {
            let mut t = AllowedIps::default();
            let mut oracle = BTreeMap::new();
            let mut versions = Vec::new();
            for (what, prefix, value) in steps {
                match what {
                    0 => {
                        prop_assert_eq!(t.remove(prefix), oracle.remove(&prefix));
                    }
                    3 => versions.push((t.clone(), oracle.clone())),
                    _ => {
                        prop_assert_eq!(t.insert(prefix, value), oracle.insert(prefix, value));
                    }
                }
            }
            versions.push((t, oracle));
            for (t, oracle) in versions {
                let all: BTreeMap<_, _> = t.iter().map(|(p, v)| (p, *v)).collect();
                prop_assert_eq!(&all, &oracle);
                for addr in probes.iter().map(Prefix::addr) {
                    let expected = oracle
                        .iter()
                        .filter(|(p, _)| p.contains(addr))
                        .max_by_key(|(p, _)| p.len())
                        .map(|(_, v)| v);
                    prop_assert_eq!(t.lookup(addr), expected);
                }
                for prefix in &probes {
                    prop_assert_eq!(t.get(*prefix), oracle.get(prefix));
                }
            }
        }
    }
}

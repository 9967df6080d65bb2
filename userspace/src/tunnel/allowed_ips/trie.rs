//! A persistent longest-prefix trie whose nodes look at eight bits of an address at a time.

use std::sync::Arc;

use super::bits::Bits;
use super::block::drain;
use super::leaf::Leaf;
use super::node::Node;
use super::slot::{BUCKET, Slot};

/// Map from prefixes of `K` to `V`, found by longest match.
#[derive(Clone, Debug)]
pub struct Trie<K: Bits, V> {
    root: Slot<K, V>,
}

impl<K: Bits, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self {
            root: Slot::default(),
        }
    }
}

impl<K: Bits, V: Clone> Trie<K, V> {
    /// Sets the value of the prefix; returns the one it replaces.
    pub fn insert(&mut self, key: K, len: u8, value: V) -> Option<V> {
        let replaced = self.root.insert(Leaf::new(key, len, value));
        if let Slot::Bucket(bucket) = &mut self.root
            && bucket.len() > BUCKET
        {
            self.root = Slot::Node(Arc::new(Node::of(drain(bucket).collect())));
        }
        replaced
    }

    /// Makes all blocks anew, one after the other, so that they are in as few pages of memory
    /// as they can be.
    pub fn renew(&mut self) {
        self.root = self.root.renewed();
    }

    /// Removes exactly this prefix.
    pub fn remove(&mut self, key: K, len: u8) -> Option<V> {
        // Looked for first, so that a miss copies nothing.
        self.get(key, len)?;
        self.root.remove(key.masked(len), len)
    }
}

impl<K: Bits, V> Trie<K, V> {
    /// The value of exactly this prefix.
    pub fn get(&self, key: K, len: u8) -> Option<&V> {
        self.root.get(key.masked(len), len)?.value()
    }

    /// The value of the longest prefix that `address` is in.
    pub fn lookup(&self, address: K) -> Option<&V> {
        let mut best = None;
        let mut slot = &self.root;
        loop {
            match slot {
                Slot::Node(node) if node.holds(address, K::WIDTH) => {
                    best = node.longest(address).or(best);
                    match node.below(address) {
                        Some(below) => slot = below,
                        None => break,
                    }
                }
                Slot::Node(_) => break,
                Slot::Bucket(bucket) => {
                    // Counted in place of a search that would wait for one cache line after
                    // the other. A prefix stands before those that are in it, so it is mostly
                    // the last of these.
                    let is_before = |leaf: &&Leaf<K, V>| leaf.key() <= address;
                    let before = &bucket[..bucket.iter().filter(is_before).count()];
                    best = before.iter().rfind(|leaf| leaf.holds(address)).or(best);
                    break;
                }
            }
        }
        best?.value()
    }

    /// All prefixes, in the order of their bits, shorter first.
    pub fn iter(&self) -> impl Iterator<Item = (K, u8, &V)> {
        let mut all = Vec::new();
        self.root.gather(&mut all);
        // Stable, which is fast with what is mostly in order.
        all.sort_by_key(|leaf| leaf.order());
        all.into_iter()
            .filter_map(|leaf| Some((leaf.key(), leaf.len(), leaf.value()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Value = Arc<()>;

    /// Bytes of each block by its address, as the allocator sees them: 8 more than asked for,
    /// in steps of 16.
    fn blocks<K: Bits, V>(slot: &Slot<K, V>, all: &mut BTreeMap<usize, usize>) {
        const COUNTERS: usize = 2 * size_of::<usize>();
        let mut add = |at: usize, bytes: usize| {
            let is_own = bytes > 0;
            let chunk = (bytes + COUNTERS + 8).next_multiple_of(16);
            all.extend(is_own.then_some((at, chunk)));
        };
        match slot {
            Slot::Bucket(bucket) => add(bucket.as_ptr().addr(), size_of_val(&**bucket)),
            Slot::Node(node) => {
                add(Arc::as_ptr(node).addr(), size_of_val(&**node));
                for (at, bytes) in node.blocks() {
                    add(at, bytes);
                }
                node.slots().iter().for_each(|slot| blocks(slot, all));
            }
        }
    }

    fn of<K: Bits, V>(trie: &Trie<K, V>) -> BTreeMap<usize, usize> {
        let mut all = BTreeMap::new();
        blocks(&trie.root, &mut all);
        all
    }

    #[test]
    fn renewed_it_has_no_block_in_common_and_all_that_it_had() {
        let mut t = Trie::<u128, u32>::default();
        for i in 0..3000 {
            t.insert(spread(i), (i % 129) as u8, i);
        }
        let before = t.clone();
        t.renew();
        let [old, new] = [&before, &t].map(of);
        assert_eq!(old.len(), new.len());
        assert!(new.keys().all(|at| !old.contains_key(at)));
        assert!(before.iter().eq(t.iter()));
    }

    /// Numbers that look random.
    fn spread(i: u32) -> u128 {
        u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn sizes_are_those_that_the_bounds_are_made_of() {
        assert_eq!(size_of::<Leaf<u32, Value>>(), 16);
        assert_eq!(size_of::<Leaf<u128, Value>>(), 32);
        assert_eq!(size_of::<Slot<u32, Value>>(), 16);
        assert_eq!(size_of::<Slot<u128, Value>>(), 16);
        assert!(size_of::<Node<u128, Value>>() <= 136);
    }

    #[test]
    fn a_change_copies_only_what_is_on_the_way_to_it() {
        let mut t = Trie::<u128, u32>::default();
        for i in 0..10_000 {
            t.insert(spread(i), 48, i);
        }
        for i in 0..10_000 {
            let key = spread(i);
            let before = t.clone();
            assert_eq!(of(&before), of(&t), "a clone has everything in common");
            let (is, was) = match i % 3 {
                0 => (t.insert(key, 48, i + 1), Some(i)),
                1 => (t.insert(key, 128, i), None),
                _ => (t.remove(key, 48), Some(i)),
            };
            assert_eq!(is, was);
            let [old, new] = [&before, &t].map(of);
            let copied = new.keys().filter(|at| !old.contains_key(at)).count();
            // Two nodes with their slots, and what one bucket becomes: two, or a third node.
            assert!(copied <= 8, "{copied} blocks of {}", new.len());
            assert_eq!(before.get(key, 48), Some(&i));
            if i > 300 {
                // Often enough.
                return;
            }
        }
    }

    /// Whatever the order, and whether a snapshot sees it.
    #[test]
    fn removing_everything_leaves_nothing() {
        for (multiplier, held) in [(1, false), (7919, false), (7919, true)] {
            let mut t = Trie::<u128, u32>::default();
            let prefix = |i: u32| (spread(i / 3), (i % 129) as u8);
            for i in 0..2000 {
                t.insert(prefix(i).0, prefix(i).1, i);
            }
            let all: Vec<_> = t.iter().map(|(k, l, _)| (k, l)).collect();
            let snapshot = t.clone();
            for i in 0..all.len() {
                let (key, len) = all[i * multiplier % all.len()];
                let kept = held.then(|| t.clone());
                assert!(t.remove(key, len).is_some());
                assert_eq!(t.remove(key, len), None);
                drop(kept);
            }
            assert!(of(&t).is_empty());
            assert_eq!(snapshot.iter().count(), all.len());
        }
    }

    /// Bytes of each prefix.
    fn each<K: Bits, V>(trie: &Trie<K, V>) -> usize {
        of(trie).values().sum::<usize>() / trie.iter().count().max(1)
    }

    #[test]
    fn no_set_takes_more_memory_than_is_said() {
        let value = Arc::new(());
        let build = |prefixes: &mut dyn Iterator<Item = (u128, u8)>| {
            let mut t = Trie::<u128, Value>::default();
            for (key, len) in prefixes {
                t.insert(key, len, Arc::clone(&value));
            }
            t
        };
        let random = build(&mut (0..50_000).map(|i| (spread(i), 64)));
        assert!(each(&random) <= 64, "{}", each(&random));
        let nested = build(&mut (0..=128).map(|len| (u128::MAX, len)));
        assert!(each(&nested) <= 100, "{}", each(&nested));

        // As few as keep a way of nodes alive: fill, then take away all but one of each eight
        // bits and two at the end.
        let ways = 300;
        let of_way = |way: u32| {
            let base = u128::from(way.wrapping_mul(0x9e37_79b1)) << 96;
            (4..16u8).flat_map(move |at| {
                (0..17u8).map(move |i| (base | u128::from(i) << (120 - 8 * at), 8 + 8 * at, i))
            })
        };
        let mut t = build(&mut (0..ways).flat_map(of_way).map(|(key, len, _)| (key, len)));
        for (key, len, i) in (0..ways).flat_map(of_way) {
            if i != 1 {
                assert!(t.remove(key, len).is_some());
            }
        }
        assert_eq!(t.iter().count(), 300 * 12);
        assert!(each(&t) <= 288, "{}", each(&t));
    }
}

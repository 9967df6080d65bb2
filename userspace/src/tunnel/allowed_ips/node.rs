//! A node: eight bits of an address, and what there is behind each value of them.
//!
//! ```text
//! key, begin       the bits before the stride, which all that is below has in common
//! shift            how many bits are behind the stride
//! inner, prefixes  a bitmap of prefixes that end within the stride, and these
//! starts, slots    a bitmap of the strides at which another slot begins, and these
//! ```
//!
//! A slot is for all strides from its own to before the next one's (those before the first have
//! none), so that buckets do not get as small as chance would have them with one for each stride:
//! a full one is divided between two strides, and becomes a node only if all in it have the same.

use std::mem;
use std::sync::Arc;

use super::bitmap::Bitmap;
use super::bits::Bits;
use super::block::{drain, with, without};
use super::leaf::Leaf;
use super::position;
use super::slot::{BUCKET, MERGED, Slot};

/// Bits that one node looks at.
pub const STRIDE: u8 = 8;

/// See the [module](self).
#[derive(Clone, Debug)]
// What a lookup reads comes first, so that it is in two cache lines.
#[repr(C)]
pub struct Node<K: Bits, V> {
    begin: u8,
    /// A multiple of [`STRIDE`], so that no node overlaps with another one.
    shift: u8,
    key: K::Stored,
    /// As many as there are slots.
    starts: Bitmap,
    slots: Arc<[Slot<K, V>]>,
    prefixes: Arc<[Leaf<K, V>]>,
    /// By their `position`.
    inner: Bitmap,
}

impl<K: Bits, V> Node<K, V> {
    /// An empty one, in which two part that lead to it with their first `shared` bits.
    pub fn new(key: K, shared: u8) -> Self {
        let shift = (K::WIDTH - shared - 1) / STRIDE * STRIDE;
        Self {
            key: key.store(),
            begin: K::WIDTH - shift - STRIDE,
            shift,
            inner: Bitmap::default(),
            starts: Bitmap::default(),
            prefixes: Arc::default(),
            slots: Arc::default(),
        }
    }

    /// A key whose first [`begin`](Self::begin) bits are those of all below.
    pub fn key(&self) -> K {
        K::load(self.key)
    }

    /// Whether the first `len` bits of `key` lead here.
    #[inline]
    pub fn holds(&self, key: K, len: u8) -> bool {
        len >= self.begin && K::load(self.key).agrees(key, self.begin)
    }

    #[inline]
    fn stride(&self, key: K) -> u8 {
        key.byte_at(self.shift)
    }

    /// The position of a prefix that ends within the stride.
    fn position(&self, key: K, len: u8) -> Option<u8> {
        let behind = K::WIDTH - len;
        let missing = behind.checked_sub(self.shift).filter(|bits| *bits > 0)?;
        Some(position::of(self.stride(key), missing))
    }

    /// The index of the prefix at a position where there is one.
    #[inline]
    const fn rank(&self, position: u8) -> usize {
        self.inner.up_to(position) - 1
    }

    /// The longest prefix that ends within the stride and holds the address.
    #[inline]
    pub fn longest(&self, address: K) -> Option<&Leaf<K, V>> {
        if self.prefixes.is_empty() {
            return None;
        }
        let position = position::longest(&self.inner, self.stride(address))?;
        self.prefixes.get(self.rank(position))
    }

    /// The index of the slot for a stride; out of bounds before the first.
    #[inline]
    const fn index(&self, stride: u8) -> usize {
        self.starts.up_to(stride).wrapping_sub(1)
    }

    /// What goes on behind the stride.
    #[inline]
    pub fn below(&self, key: K) -> Option<&Slot<K, V>> {
        self.slots.get(self.index(self.stride(key)))
    }

    /// Exactly this prefix, which leads here.
    pub fn get(&self, key: K, len: u8) -> Option<&Leaf<K, V>> {
        match self.position(key, len) {
            Some(at) if self.inner.has(at) => self.prefixes.get(self.rank(at)),
            Some(_) => None,
            None => self.below(key)?.get(key, len),
        }
    }

    /// Appends all that there is, in no order.
    pub fn gather<'a>(&'a self, all: &mut Vec<&'a Leaf<K, V>>) {
        all.extend(&*self.prefixes);
        self.slots.iter().for_each(|slot| slot.gather(all));
    }
}

impl<K: Bits, V: Clone> Node<K, V> {
    /// The node for prefixes in their order, of which there are too many for a bucket.
    pub fn of(leaves: Vec<Leaf<K, V>>) -> Self {
        let (first, last) = (&leaves[0], &leaves[leaves.len() - 1]);
        let shortest = leaves.iter().map(Leaf::len).min().unwrap_or(0);
        // No two of them share less.
        let shared = first.key().common(last.key()).min(shortest);
        let mut node = Self::new(first.key(), shared);
        let ends = |leaf: &Leaf<K, V>| node.position(leaf.key(), leaf.len()).is_some();
        let (inner, outer): (Vec<_>, Vec<_>) = leaves.into_iter().partition(ends);
        for leaf in inner {
            node.insert(leaf);
        }
        if !outer.is_empty() {
            node.put(0, 0, Slot::Bucket(outer.into()));
            node.divide(0);
        }
        node
    }

    /// The node above another and a prefix that does not lead to that.
    pub fn above(below: Slot<K, V>, key: K, leaf: Leaf<K, V>) -> Self {
        let shared = key.common(leaf.key()).min(leaf.len());
        let mut node = Self::new(key, shared);
        node.put(0, 0, below);
        node.insert(leaf);
        node
    }

    /// Inserts a prefix that leads here; returns the value that it replaces.
    pub fn insert(&mut self, leaf: Leaf<K, V>) -> Option<V> {
        let (key, len) = (leaf.key(), leaf.len());
        if let Some(position) = self.position(key, len) {
            let is_there = self.inner.has(position);
            self.inner.set(position, true);
            let rank = self.rank(position);
            if is_there {
                return Arc::make_mut(&mut self.prefixes)[rank].replace(leaf);
            }
            self.prefixes = with(&mut self.prefixes, rank, leaf);
            return None;
        }
        let stride = self.stride(key);
        let at = self.index(stride);
        match self.slots.get(at) {
            None => self.put(0, 0, Slot::of(leaf)),
            // A node is for one stride. What is beside it gets the others.
            Some(Slot::Node(node)) if self.stride(node.key()) < stride => {
                self.put(at + 1, self.stride(node.key()) + 1, Slot::of(leaf));
            }
            Some(Slot::Node(node)) if self.stride(node.key()) > stride => {
                self.put(at, self.stride(node.key()), Slot::of(leaf));
            }
            Some(_) => {
                let replaced = self.slots_mut()[at].insert(leaf);
                self.divide(at);
                return replaced;
            }
        }
        None
    }

    /// Makes a slot; another stride begins one.
    fn put(&mut self, at: usize, start: u8, slot: Slot<K, V>) {
        self.starts.set(start, true);
        self.slots = with(&mut self.slots, at, slot);
    }

    /// Makes two slots, or a node, of a bucket that has got too many.
    fn divide(&mut self, at: usize) {
        let Slot::Bucket(bucket) = &self.slots[at] else {
            return;
        };
        if bucket.len() <= BUCKET {
            return;
        }
        let middle = self.stride(bucket[bucket.len() / 2].key());
        let of_bucket = |is_before: &dyn Fn(u8) -> bool| {
            bucket.partition_point(|leaf| is_before(self.stride(leaf.key())))
        };
        // Before or behind those with the middle stride, so that neither half is empty.
        let cut = match of_bucket(&|stride| stride < middle) {
            0 => of_bucket(&|stride| stride <= middle),
            cut => cut,
        };
        let start = bucket.get(cut).map(|leaf| self.stride(leaf.key()));
        let Slot::Bucket(mut bucket) = mem::take(&mut self.slots_mut()[at]) else {
            return;
        };
        let mut lower: Vec<_> = drain(&mut bucket).collect();
        self.slots_mut()[at] = match start {
            // All in it have the same stride.
            None => Slot::Node(Arc::new(Self::of(lower))),
            Some(start) => {
                let upper = lower.split_off(cut);
                self.put(at + 1, start, Slot::Bucket(upper.into()));
                Slot::Bucket(lower.into())
            }
        };
    }

    fn slots_mut(&mut self) -> &mut [Slot<K, V>] {
        Arc::make_mut(&mut self.slots)
    }

    /// The same in blocks of its own.
    pub fn renewed(&self) -> Self {
        Self {
            slots: self.slots.iter().map(Slot::renewed).collect(),
            prefixes: self.prefixes.iter().cloned().collect(),
            starts: self.starts.clone(),
            inner: self.inner.clone(),
            ..*self
        }
    }

    /// Removes a prefix that is here or below.
    pub fn remove(&mut self, key: K, len: u8) -> Option<V> {
        if let Some(position) = self.position(key, len) {
            let rank = self.rank(position);
            self.inner.set(position, false);
            let (rest, leaf) = without(&mut self.prefixes, rank);
            self.prefixes = rest;
            return leaf.into_value();
        }
        let at = self.index(self.stride(key));
        let removed = self.slots_mut()[at].remove(key, len);
        self.merge(at);
        removed
    }

    /// Makes one slot of a bucket that has lost a prefix and one beside it, if they are small.
    fn merge(&mut self, at: usize) {
        let len = |at: usize| match self.slots.get(at) {
            Some(Slot::Bucket(bucket)) => bucket.len(),
            _ => BUCKET,
        };
        if len(at) == 0 {
            self.clear(at);
        } else if len(at) + len(at + 1) <= MERGED {
            self.join(at);
        } else if at > 0 && len(at - 1) + len(at) <= MERGED {
            self.join(at - 1);
        }
    }

    /// Makes one bucket of this one and the next.
    fn join(&mut self, at: usize) {
        let [lower, upper] = [at, at + 1].map(|at| match &self.slots[at] {
            Slot::Bucket(bucket) => Arc::clone(bucket),
            Slot::Node(_) => Arc::default(),
        });
        let both = lower.iter().chain(&*upper).cloned().collect();
        self.slots_mut()[at] = Slot::Bucket(both);
        self.clear(at + 1);
    }

    /// Takes a slot away: its strides go to the one before, if there is one.
    fn clear(&mut self, at: usize) {
        if let Some(start) = self.starts.nth(at) {
            self.starts.set(start, false);
        }
        self.slots = without(&mut self.slots, at).0;
    }

    /// What there is, if it does not need a node.
    pub fn dissolve(&self) -> Option<Slot<K, V>> {
        let inner = self.prefixes.len();
        match &*self.slots {
            [slot] if inner == 0 => Some(slot.clone()),
            [] | [Slot::Bucket(_)] => {
                let mut all = Vec::new();
                self.gather(&mut all);
                if all.len() > MERGED {
                    return None;
                }
                all.sort_unstable_by_key(|leaf| leaf.order());
                Some(Slot::Bucket(all.into_iter().cloned().collect()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
impl<K: Bits, V> Node<K, V> {
    /// What goes on.
    pub fn slots(&self) -> &[Slot<K, V>] {
        &self.slots
    }

    /// Addresses and bytes of the blocks that it has.
    pub fn blocks(&self) -> [(usize, usize); 2] {
        [
            (self.slots.as_ptr().addr(), size_of_val(&*self.slots)),
            (self.prefixes.as_ptr().addr(), size_of_val(&*self.prefixes)),
        ]
    }
}

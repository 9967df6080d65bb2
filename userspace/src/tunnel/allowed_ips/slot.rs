//! What is behind some strides of a node, or all that there is.

use std::mem;
use std::sync::Arc;

use super::bits::Bits;
use super::block::{with, without};
use super::leaf::Leaf;
use super::node::Node;

/// The most prefixes of a bucket: a few cache lines, read one after the other.
pub const BUCKET: usize = 16;
/// Buckets beside each other that have no more than this together become one.
pub const MERGED: usize = BUCKET / 2;

/// A few prefixes in their order, in one block.
pub type Bucket<K, V> = Arc<[Leaf<K, V>]>;

/// 16 bytes: a pointer, and the number of prefixes that a bucket has.
#[derive(Clone, Debug)]
pub enum Slot<K: Bits, V> {
    /// Prefixes that are looked at one after the other.
    Bucket(Bucket<K, V>),
    /// More of them, apart.
    Node(Arc<Node<K, V>>),
}

impl<K: Bits, V> Default for Slot<K, V> {
    fn default() -> Self {
        Self::Bucket(Arc::default())
    }
}

fn find<K: Bits, V>(bucket: &Bucket<K, V>, key: K, len: u8) -> Result<usize, usize> {
    bucket.binary_search_by_key(&(key, len), Leaf::order)
}

impl<K: Bits, V> Slot<K, V> {
    /// A bucket of one.
    pub fn of(leaf: Leaf<K, V>) -> Self {
        Self::Bucket(Arc::new([leaf]))
    }

    /// Exactly this prefix.
    pub fn get(&self, key: K, len: u8) -> Option<&Leaf<K, V>> {
        match self {
            Self::Bucket(bucket) => bucket.get(find(bucket, key, len).ok()?),
            Self::Node(node) if node.holds(key, len) => node.get(key, len),
            Self::Node(_) => None,
        }
    }

    /// Appends all that there is, in no order.
    pub fn gather<'a>(&'a self, all: &mut Vec<&'a Leaf<K, V>>) {
        match self {
            Self::Bucket(bucket) => all.extend(&**bucket),
            Self::Node(node) => node.gather(all),
        }
    }
}

// Nodes are at most `WIDTH / STRIDE` deep, so recursion is safe.
impl<K: Bits, V: Clone> Slot<K, V> {
    /// Inserts a prefix; returns the value that it replaces. A bucket may have one too many
    /// afterwards.
    pub fn insert(&mut self, leaf: Leaf<K, V>) -> Option<V> {
        match self {
            Self::Bucket(bucket) => match find(bucket, leaf.key(), leaf.len()) {
                Ok(at) => return Arc::make_mut(bucket)[at].replace(leaf),
                Err(at) => *bucket = with(bucket, at, leaf),
            },
            Self::Node(node) if node.holds(leaf.key(), leaf.len()) => {
                return Arc::make_mut(node).insert(leaf);
            }
            Self::Node(node) => {
                let key = node.key();
                *self = Self::Node(Arc::new(Node::above(mem::take(self), key, leaf)));
            }
        }
        None
    }

    /// The same in blocks of its own, made one after the other.
    pub fn renewed(&self) -> Self {
        match self {
            Self::Bucket(bucket) => Self::Bucket(bucket.iter().cloned().collect()),
            Self::Node(node) => Self::Node(Arc::new(node.renewed())),
        }
    }

    /// Removes a prefix that is here or below.
    pub fn remove(&mut self, key: K, len: u8) -> Option<V> {
        match self {
            Self::Bucket(bucket) => {
                let (rest, leaf) = without(bucket, find(bucket, key, len).ok()?);
                *bucket = rest;
                leaf.into_value()
            }
            Self::Node(node) => {
                let node = Arc::make_mut(node);
                let removed = node.remove(key, len);
                if let Some(slot) = node.dissolve() {
                    *self = slot;
                }
                removed
            }
        }
    }
}

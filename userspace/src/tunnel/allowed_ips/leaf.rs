//! A prefix with its value.

use std::mem;

use super::bits::Bits;

/// A prefix with its value: with values of eight bytes, 16 bytes for IPv4 and 32 for IPv6.
#[derive(Clone, Debug)]
pub struct Leaf<K: Bits, V> {
    key: K::Stored,
    len: u8,
    /// None: it was moved elsewhere, and what it was in is about to go.
    value: Option<V>,
}

impl<K: Bits, V> Default for Leaf<K, V> {
    fn default() -> Self {
        Self {
            key: K::Stored::default(),
            len: 0,
            value: None,
        }
    }
}

impl<K: Bits, V> Leaf<K, V> {
    /// The bits of `key` behind the first `len` do not matter.
    pub fn new(key: K, len: u8, value: V) -> Self {
        Self {
            key: key.masked(len).store(),
            len,
            value: Some(value),
        }
    }

    /// Its bits; those behind its length are zero.
    #[inline]
    pub fn key(&self) -> K {
        K::load(self.key)
    }

    /// How many of them count.
    #[inline]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Its value.
    #[inline]
    pub const fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Its value alone.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// Takes the value of the same prefix; returns the one before.
    pub fn replace(&mut self, same: Self) -> Option<V> {
        mem::replace(self, same).value
    }

    /// Order of bits, what is shorter first: a prefix stands before all that are in it.
    pub fn order(&self) -> (K, u8) {
        (self.key(), self.len)
    }

    /// Whether the address is in it.
    #[inline]
    pub fn holds(&self, address: K) -> bool {
        self.key().agrees(address, self.len)
    }
}

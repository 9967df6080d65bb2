//! A persistent, path-compressed binary trie over the bits of an address.
//!
//! Persistent: a clone shares all nodes, and a change afterwards copies only
//! the nodes between the root and what changed ([`Arc::make_mut`]).

use std::sync::Arc;

/// Bits of an address, most significant first.
pub trait Bits: Copy + Eq {
    /// Number of bits.
    const WIDTH: u8;
    /// Bit `i`, 0 being the most significant.
    fn bit(self, i: u8) -> usize;
    /// Number of leading bits that both share.
    fn common(self, other: Self) -> u8;
    /// The first `len` bits, the others zero.
    fn masked(self, len: u8) -> Self;
}

macro_rules! bits {
    ($t:ty) => {
        impl Bits for $t {
            const WIDTH: u8 = <$t>::BITS as u8;
            fn bit(self, i: u8) -> usize {
                usize::from(self & (1 << (Self::WIDTH - 1 - i)) != 0)
            }
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }
            fn masked(self, len: u8) -> Self {
                match len {
                    0 => 0,
                    n => self & (<$t>::MAX << (Self::WIDTH - n)),
                }
            }
        }
    };
}
bits!(u32);
bits!(u128);

#[derive(Clone, Debug)]
struct Node<K, V> {
    /// The bits from the root to here; those after `len` are zero.
    key: K,
    len: u8,
    /// None: a fork that is no prefix itself, and always has both children.
    value: Option<V>,
    children: [Link<K, V>; 2],
}

type Link<K, V> = Option<Arc<Node<K, V>>>;

/// Map from prefixes of `K` to `V`, found by longest match.
#[derive(Clone, Debug)]
pub struct Trie<K, V> {
    root: Link<K, V>,
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<K: Bits, V: Clone> Trie<K, V> {
    /// Sets the value of the prefix; returns the one it replaces.
    pub fn insert(&mut self, key: K, len: u8, value: V) -> Option<V> {
        insert(&mut self.root, key.masked(len), len, value)
    }

    /// Removes exactly this prefix.
    pub fn remove(&mut self, key: K, len: u8) -> Option<V> {
        let key = key.masked(len);
        // Looked for first, so that a miss copies nothing.
        self.get(key, len)?;
        remove(&mut self.root, key, len)
    }

    /// The value of exactly this prefix.
    pub fn get(&self, key: K, len: u8) -> Option<&V> {
        let key = key.masked(len);
        let mut link = &self.root;
        while let Some(node) = link {
            if node.len > len || node.key.common(key) < node.len {
                return None;
            }
            if node.len == len {
                return node.value.as_ref();
            }
            link = &node.children[key.bit(node.len)];
        }
        None
    }

    /// The value of the longest prefix that `address` is in.
    pub fn lookup(&self, address: K) -> Option<&V> {
        let mut best = None;
        let mut link = &self.root;
        while let Some(node) = link {
            if node.key.common(address) < node.len {
                break;
            }
            if let Some(value) = &node.value {
                best = Some(value);
            }
            if node.len == K::WIDTH {
                break;
            }
            link = &node.children[address.bit(node.len)];
        }
        best
    }

    /// All prefixes, in the order of their bits, shorter first.
    pub fn iter(&self) -> impl Iterator<Item = (K, u8, &V)> {
        let mut stack: Vec<&Node<K, V>> = self.root.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                let node = stack.pop()?;
                stack.extend(node.children.iter().rev().filter_map(Option::as_deref));
                if let Some(value) = &node.value {
                    return Some((node.key, node.len, value));
                }
            }
        })
    }
}

fn leaf<K, V>(key: K, len: u8, value: V) -> Node<K, V> {
    Node {
        key,
        len,
        value: Some(value),
        children: [None, None],
    }
}

// Depth is at most the number of bits, so recursion is safe.
fn insert<K: Bits, V: Clone>(link: &mut Link<K, V>, key: K, len: u8, value: V) -> Option<V> {
    let Some(node) = link else {
        *link = Some(Arc::new(leaf(key, len, value)));
        return None;
    };
    let common = node.key.common(key).min(node.len).min(len);
    if common == node.len {
        let node = Arc::make_mut(node);
        if len == node.len {
            return node.value.replace(value);
        }
        return insert(&mut node.children[key.bit(node.len)], key, len, value);
    }
    // The new prefix leaves the path in the middle of this node.
    let below = Arc::clone(node);
    let mut above = if common == len {
        leaf(key, len, value)
    } else {
        let mut fork = Node {
            key: key.masked(common),
            len: common,
            value: None,
            children: [None, None],
        };
        fork.children[key.bit(common)] = Some(Arc::new(leaf(key, len, value)));
        fork
    };
    let side = below.key.bit(common);
    above.children[side] = Some(below);
    *link = Some(Arc::new(above));
    None
}

fn remove<K: Bits, V: Clone>(link: &mut Link<K, V>, key: K, len: u8) -> Option<V> {
    let node = Arc::make_mut(link.as_mut()?);
    let removed = if node.len == len {
        node.value.take()
    } else {
        remove(&mut node.children[key.bit(node.len)], key, len)
    };
    // A node without a value is kept only where the path forks.
    if node.value.is_none() {
        match &mut node.children {
            [Some(_), Some(_)] => {}
            [only, None] | [None, only] => *link = only.take(),
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<K, V>(link: &Link<K, V>) -> usize {
        link.as_ref()
            .map_or(0, |n| 1 + nodes(&n.children[0]) + nodes(&n.children[1]))
    }

    #[test]
    fn a_change_copies_only_the_path_to_it() {
        let mut t = Trie::<u32, u32>::default();
        for i in 0..1024u32 {
            t.insert(i << 22, 10, i);
        }
        let before = t.clone();
        t.insert(5 << 22, 10, 99_999);
        let mut shared = 0;
        let mut stack = vec![(t.root.as_ref(), before.root.as_ref())];
        while let Some(pair) = stack.pop() {
            let (Some(a), Some(b)) = pair else { continue };
            if Arc::ptr_eq(a, b) {
                shared += nodes(&Some(a.clone()));
            } else {
                for i in 0..2 {
                    stack.push((a.children[i].as_ref(), b.children[i].as_ref()));
                }
            }
        }
        assert_eq!(nodes(&t.root), 2047);
        assert_eq!(shared, 2047 - 11, "ten forks and one leaf were copied");
        assert_eq!(before.lookup(5 << 22), Some(&5));
        assert_eq!(t.lookup(5 << 22), Some(&99_999));
    }

    #[test]
    fn removing_everything_leaves_no_node() {
        let mut t = Trie::<u128, u32>::default();
        for i in 0..500u32 {
            t.insert(
                u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
                (i % 129) as u8,
                i,
            );
        }
        let all: Vec<_> = t.iter().map(|(k, l, _)| (k, l)).collect();
        for (k, l) in all {
            assert!(t.remove(k, l).is_some());
        }
        assert!(t.root.is_none());
    }
}

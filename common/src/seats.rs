//! Small tables in front of the kernel's hash maps: an array in which each key has
//! one seat. As long as no two keys want the same, a look-up is an array's, which
//! the kernel's compiler turns into a few instructions in place of a call, a hash
//! and a walk: 10 ns in place of 25 for an endpoint.
//!
//! The hash map stays the truth: it holds all keys, and where keys crowd at a seat,
//! it is asked.

use crate::hash::{MULTIPLIER, mix};
use crate::tables::LocalEndpoint;

/// What is looked up this way.
pub trait Key: Copy + PartialEq {
    /// Seats, a power of two.
    const SEATS: u32;

    /// The seat of this key, below [`SEATS`](Self::SEATS).
    fn seat(&self) -> u32;
}

/// An interface, by its index: they are numbered one after the other.
impl Key for u32 {
    const SEATS: u32 = 256;

    #[inline(always)]
    fn seat(&self) -> u32 {
        *self % Self::SEATS
    }
}

impl Key for LocalEndpoint {
    const SEATS: u32 = 4096;

    #[inline(always)]
    fn seat(&self) -> u32 {
        let mut hash = MULTIPLIER;
        for word in self.words() {
            hash = mix(hash, word);
        }
        // A multiplication carries upwards only: the uppermost bits depend on all.
        (hash >> (u64::BITS - Self::SEATS.ilog2())) as u32
    }
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const CROWD: u32 = 2;

/// An element of the array.
///
/// ```text
/// 0: nobody, 1: the key, 2: several keys (4) | key | value
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Seat<K, V> {
    state: u32,
    key: K,
    value: V,
}

const _: () = assert!(size_of::<Seat<LocalEndpoint, u32>>() == 4 + 20 + 4);

/// Who has a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<V> {
    /// The key that was looked for.
    Here(V),
    /// Nobody, or another key: the map has not the one that was looked for.
    Absent,
    /// Several keys want it: the map knows.
    Crowd,
}

impl<K: Default, V: Default> Seat<K, V> {
    /// The seat that all of these want.
    #[must_use]
    pub fn of(those: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut those = those.into_iter();
        let Some((key, value)) = those.next() else {
            return Self::default();
        };
        let state = if those.next().is_some() { CROWD } else { TAKEN };
        Self { state, key, value }
    }
}

impl<K: Key, V: Copy> Seat<K, V> {
    /// Whether the key has it.
    #[must_use]
    #[inline(always)]
    pub fn find(&self, key: &K) -> Found<V> {
        match self.state {
            FREE => Found::Absent,
            TAKEN if self.key == *key => Found::Here(self.value),
            TAKEN => Found::Absent,
            _ => Found::Crowd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::mapped;

    #[test]
    fn one_is_found_another_is_not_and_of_several_the_map_knows() {
        let seat = Seat::of([(7u32, 'a')]);
        assert_eq!(seat.find(&7), Found::Here('a'));
        assert_eq!(seat.find(&(7 + u32::SEATS)), Found::Absent);
        let seat = Seat::of([(7u32, 'a'), (7 + u32::SEATS, 'b')]);
        assert_eq!(seat.find(&7), Found::Crowd);
        let seat = Seat::<u32, char>::of([]);
        assert_eq!(
            seat.find(&0),
            Found::Absent,
            "also of a key like that of nobody"
        );
    }

    #[test]
    fn a_thousand_addresses_and_ports_hardly_crowd() {
        let mut seats = vec![0u32; LocalEndpoint::SEATS as usize];
        for host in 0..32u8 {
            for port in 0..32u16 {
                let endpoint = LocalEndpoint::new(mapped([192, 0, 2, host]), 51_820 + port);
                seats[endpoint.seat() as usize] += 1;
            }
        }
        // 1,024 over 4,096 by chance: (1 - 1/4096)^1023 = 78 % have theirs alone.
        let alone = seats.iter().filter(|seat| **seat == 1).count();
        assert!((700..900).contains(&alone), "{alone}");
    }

    #[test]
    fn every_byte_of_an_endpoint_counts() {
        let base = LocalEndpoint::new([0x20; 16], 51_820);
        for byte in 0..16 {
            let mut address = [0x20; 16];
            address[byte] ^= 1;
            assert_ne!(
                LocalEndpoint::new(address, 51_820).seat(),
                base.seat(),
                "{byte}"
            );
        }
        assert_ne!(LocalEndpoint::new([0x20; 16], 51_821).seat(), base.seat());
        assert_ne!(
            LocalEndpoint::new([0x20; 16], 51_820 ^ 256).seat(),
            base.seat()
        );
    }
}

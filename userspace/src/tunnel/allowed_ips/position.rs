//! Positions of the prefixes that end within the eight bits of a node.
//!
//! They are those of a binary heap: 1 for a prefix that ends before the first bit, 2 and 3 for
//! those that end after it, and so on to 128 to 255. Shifted right by one, a position is that of a
//! prefix one bit shorter; 0 is none.

use super::bitmap::Bitmap;

/// That of a prefix which lacks the last `missing` of these bits, one to eight.
pub fn of(stride: u8, missing: u8) -> u8 {
    ((1 << 8 | u16::from(stride)) >> missing) as u8
}

/// That of the longest prefix which holds these bits.
#[inline]
pub fn longest(prefixes: &Bitmap, stride: u8) -> Option<u8> {
    let [seven, six] = [1 << 7 | stride >> 1, 1 << 6 | stride >> 2];
    if prefixes.has(seven) {
        return Some(seven);
    }
    if prefixes.has(six) {
        return Some(six);
    }
    // All others are in one word.
    let five = 1 << 5 | stride >> 3;
    let path = 1 << five | 1 << (five >> 1) | 1 << (five >> 2);
    let path = path | 1 << (five >> 3) | 1 << (five >> 4) | 1u64 << (five >> 5);
    prefixes.largest_of(path)
}

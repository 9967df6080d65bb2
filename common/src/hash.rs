//! How what tells flows apart becomes one number.

/// 2⁶⁴ over the golden ratio, odd.
pub const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Takes `word` into `hash`. Each bit of both changes about half of the upper half,
/// which goes into the lower one for the next word; the upper half is the result.
#[must_use]
#[inline(always)]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    hash ^ hash >> u32::BITS
}

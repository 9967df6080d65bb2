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

/// An address as two words.
#[inline(always)]
pub(crate) fn halves(address: &[u8; 16]) -> [u64; 2] {
    let [
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a6,
        a7,
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
    ] = *address;
    [
        u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
        u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_a_word_changes_about_half_of_the_result_once_another_followed() {
        const WORDS: u64 = 256;
        for bit in 0..u64::BITS {
            let changed: u32 = (0..WORDS)
                .map(|word| {
                    let of = |first| mix(mix(MULTIPLIER, first), word) >> u32::BITS;
                    (of(word) ^ of(word ^ 1 << bit)).count_ones()
                })
                .sum();
            let mean = f64::from(changed) / WORDS as f64;
            assert!((10.0..22.0).contains(&mean), "bit {bit}: {mean} of 32");
        }
    }
}

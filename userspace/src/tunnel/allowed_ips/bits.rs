//! Addresses as numbers, of which the trie looks at a few bits at a time.

use std::fmt;

/// Bits of an address, most significant first.
pub trait Bits: Copy + Ord {
    /// Number of bits.
    const WIDTH: u8;
    /// The same bits without an alignment of their own: with that of an [`u128`] a prefix with
    /// its length and an eight-byte value would take 48 bytes, not 32.
    type Stored: Copy + Default + fmt::Debug;
    /// Number of leading bits that both share.
    fn common(self, other: Self) -> u8;
    /// Whether both share their first `len` bits.
    fn agrees(self, other: Self, len: u8) -> bool;
    /// The first `len` bits, the others zero.
    fn masked(self, len: u8) -> Self;
    /// Eight bits from number `shift` upwards, 0 being the least significant; zeros above the
    /// most significant.
    fn byte_at(self, shift: u8) -> u8;
    /// For a place where many are kept.
    fn store(self) -> Self::Stored;
    /// From that place.
    fn load(stored: Self::Stored) -> Self;
}

macro_rules! bits {
    ($t:ty) => {
        impl Bits for $t {
            const WIDTH: u8 = <$t>::BITS as u8;
            type Stored = [u8; size_of::<$t>()];
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }
            #[inline]
            fn agrees(self, other: Self, len: u8) -> bool {
                let behind = u32::from(Self::WIDTH - len);
                (self ^ other).checked_shr(behind).unwrap_or(0) == 0
            }
            fn masked(self, len: u8) -> Self {
                match len {
                    0 => 0,
                    n => self & (<$t>::MAX << (Self::WIDTH - n)),
                }
            }
            #[inline]
            fn byte_at(self, shift: u8) -> u8 {
                (self >> shift) as u8
            }
            #[inline]
            fn store(self) -> Self::Stored {
                self.to_ne_bytes()
            }
            #[inline]
            fn load(stored: Self::Stored) -> Self {
                Self::from_ne_bytes(stored)
            }
        }
    };
}
bits!(u32);
bits!(u128);

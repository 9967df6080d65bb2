//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A [`Sum`] is kept in the machine's byte order: the ones' complement sum does
//! not care in which order the bytes of its words are taken, as long as the
//! result is stored the way the words were loaded (RFC 1071 section 2 (B)).
//! That is why results leave this module as bytes and never as a number.

use core::ops::{Add, AddAssign};

/// A ones' complement sum under way: of 16-bit words, held in 64 bits.
///
/// Sums of pieces may be added if each piece but the last has even length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

/// The same sum in 33 bits: two of them can be added without a carry, and so
/// without a branch, of which the kernel's verifier would walk both sides.
#[inline(always)]
const fn narrow(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of `data`; an odd last byte is padded with a zero (RFC 1071).
    // Always inlined, so that a caller compiled for wider vectors gets them.
    #[inline(always)]
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        // Eight independent lanes of 32-bit words in 64-bit accumulators: no
        // carry to propagate, so that the compiler turns this into vectors. They
        // overflow together after 2^32 words, far past any packet.
        let mut lanes = [0u64; 8];
        let (blocks, rest) = data.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let mut sum: u64 = lanes.iter().sum();
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut tail = [0u8; 4];
        for (to, from) in tail.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_ne_bytes(tail)))
    }

    /// A sum as the kernel's `bpf_csum_diff` gives it: 32 bits in the machine's
    /// byte order.
    #[inline]
    #[must_use]
    pub const fn of_kernel(sum: u32) -> Self {
        Self(sum as u64)
    }

    /// The sum of one 16-bit number that stands in network byte order in the packet.
    #[inline]
    #[must_use]
    pub const fn of_u16(value: u16) -> Self {
        Self(u16::from_ne_bytes(value.to_be_bytes()) as u64)
    }

    /// The sum of one 32-bit number that stands in network byte order in the packet.
    #[inline]
    #[must_use]
    pub const fn of_u32(value: u32) -> Self {
        Self(u32::from_ne_bytes(value.to_be_bytes()) as u64)
    }

    /// The sum of a checksum field as it stands in the packet.
    #[inline]
    #[must_use]
    pub const fn of_field(field: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(field) as u64)
    }

    /// The TCP or UDP pseudo header over IPv4 (RFC 9293 section 3.1, RFC 768)
    /// or IPv6 (RFC 8200 section 8.1): both addresses, protocol, length of the
    /// transport header and payload in bytes. `addresses` is source and
    /// destination, 8 or 32 bytes.
    #[inline]
    #[must_use]
    pub fn pseudo_header(addresses: &[u8], protocol: u8, length: u32) -> Self {
        Self::of(addresses) + Self::of_u16(protocol as u16) + Self::of_u32(length)
    }

    /// This sum without `other`, which was added before.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        // Ones' complement subtraction is addition of the complement (RFC 1624 eqn. 3).
        Self(narrow(self.0) + !other.folded() as u64)
    }

    const fn folded(self) -> u16 {
        let sum = narrow(self.0);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        ((sum >> 16) + (sum & 0xffff)) as u16
    }

    /// The checksum field for this sum: its complement, as bytes of the packet.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> [u8; 2] {
        (!self.folded()).to_ne_bytes()
    }

    /// As [`finish`](Self::finish), with zero sent as 0xffff: for UDP, where
    /// zero means that there is no checksum (RFC 768).
    #[inline]
    #[must_use]
    pub const fn finish_nonzero(self) -> [u8; 2] {
        match self.finish() {
            [0, 0] => [0xff, 0xff],
            field => field,
        }
    }

    /// The sum itself as bytes of the packet, not complemented: what a
    /// *partial* checksum field holds (the pseudo header, to be finished by
    /// whoever sends the packet).
    #[inline]
    #[must_use]
    pub const fn partial(self) -> [u8; 2] {
        self.folded().to_ne_bytes()
    }

    /// Whether a range that includes its own checksum field adds up.
    #[inline]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        // Zero can come only from all-zero data, whose checksum field is wrong.
        self.folded() == 0xffff
    }
}

impl Add for Sum {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(narrow(self.0) + narrow(other.0))
    }
}

impl AddAssign for Sum {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The checksum field after the bytes that added up to `old` became bytes that
/// add up to `new` (RFC 1624 eqn. 3: `HC' = ~(~HC + ~m + m')`).
///
/// The old field must have been right: an error in it stays in the result.
#[inline]
#[must_use]
pub fn update(field: [u8; 2], old: Sum, new: Sum) -> [u8; 2] {
    let before = Sum(!u16::from_ne_bytes(field) as u64);
    (before.without(old) + new).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 1 word by word, in big endian: the slow oracle.
    fn oracle(data: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in data.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        sum as u16
    }

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&data).partial(), [0xdd, 0xf2]);
        assert_eq!(Sum::of(&data).finish(), [!0xdd, !0xf2]);
    }

    #[test]
    fn the_example_of_rfc_1624_section_4() {
        // HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000, not 0xFFFF.
        let new = update([0xdd, 0x2f], Sum::of_u16(0x5555), Sum::of_u16(0x3285));
        assert_eq!(new, [0x00, 0x00]);
    }

    #[test]
    fn all_ones_of_every_length_never_lose_a_carry() {
        let data = [0xff; 4096];
        for len in 0..data.len() {
            assert_eq!(
                Sum::of(&data[..len]).partial(),
                oracle(&data[..len]).to_be_bytes(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn zero_is_sent_as_all_ones_only_where_it_is_asked_for() {
        let all_ones = Sum::of(&[0xff, 0xff]);
        assert_eq!(all_ones.finish(), [0, 0]);
        assert_eq!(all_ones.finish_nonzero(), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_slow_sum(data in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::of(&data).partial(), oracle(&data).to_be_bytes());
        }

        #[test]
        fn pieces_add_up(data in proptest::collection::vec(any::<u8>(), 0..500), at in 0usize..250) {
            let at = (at * 2).min(data.len() & !1);
            let (a, b) = data.split_at(at);
            prop_assert_eq!((Sum::of(a) + Sum::of(b)).partial(), Sum::of(&data).partial());
        }

        #[test]
        fn an_update_is_the_checksum_of_the_changed_bytes(
            mut data in proptest::collection::vec(any::<u8>(), 40..200),
            at in 0usize..18,
            new in any::<[u8; 4]>(),
        ) {
            let at = 2 * at;
            // Not all zero: then the field would have two right values.
            data[39] = 1;
            let field = Sum::of(&data).finish();
            let old = Sum::of(&data[at..at + 4]);
            data[at..at + 4].copy_from_slice(&new);
            prop_assert_eq!(update(field, old, Sum::of(&new)), Sum::of(&data).finish());
        }

        #[test]
        fn finished_packets_are_valid_and_a_flipped_bit_is_seen(
            mut data in proptest::collection::vec(any::<u8>(), 4..200),
            bit in 0usize..1600,
        ) {
            data[0..2].fill(0);
            let field = Sum::of(&data).finish();
            data[0..2].copy_from_slice(&field);
            prop_assert!(Sum::of(&data).is_valid());
            let bit = bit % (8 * data.len());
            data[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!Sum::of(&data).is_valid());
        }
    }
}

//! A set of bytes that counts those below one quickly.

const WORDS: usize = 4;

/// A set of bytes.
#[derive(Clone, Debug, Default)]
pub struct Bitmap {
    words: [u64; WORDS],
    /// How many are in the words before each: counting bits takes time without an instruction
    /// for it, which not every processor of the architecture has.
    before: [u8; WORDS],
}

impl Bitmap {
    /// Whether it is in.
    #[inline]
    pub const fn has(&self, byte: u8) -> bool {
        self.words[byte as usize / 64] >> (byte % 64) & 1 != 0
    }

    /// How many are in up to this one.
    #[inline]
    pub const fn up_to(&self, byte: u8) -> usize {
        let word = byte as usize / 64;
        let counted = self.words[word] & (u64::MAX >> (63 - byte % 64));
        self.before[word] as usize + counted.count_ones() as usize
    }

    /// Puts it in, or takes it out.
    pub const fn set(&mut self, byte: u8, is_in: bool) {
        let bit = 1 << (byte % 64);
        let word = &mut self.words[byte as usize / 64];
        *word = if is_in { *word | bit } else { *word & !bit };
        let mut at = 1;
        while at < WORDS {
            // At most 192.
            self.before[at] = self.before[at - 1] + self.words[at - 1].count_ones() as u8;
            at += 1;
        }
    }

    /// The one before which this many are.
    pub fn nth(&self, n: usize) -> Option<u8> {
        (0..=u8::MAX).filter(|byte| self.has(*byte)).nth(n)
    }

    /// The largest of those up to 63 that are in `word` too.
    #[inline]
    pub const fn largest_of(&self, word: u64) -> Option<u8> {
        match (self.words[0] & word).checked_ilog2() {
            Some(byte) => Some(byte as u8),
            None => None,
        }
    }
}

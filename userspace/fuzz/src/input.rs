//! The fuzzer's bytes, read from the front.

/// What is left of the fuzzer's bytes.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two, the lower first.
    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Up to `n` bytes.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// Flips so many bits, or groups of them, somewhere in `bytes`.
    pub fn edit(&mut self, bytes: &mut [u8], edits: u8) {
        for _ in 0..edits {
            let (at, flip) = (usize::from(self.word()), self.byte());
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] ^= flip;
            }
        }
    }
}

//! TCP options (RFC 9293, section 3.1), in a copy.

use super::{MSS_LEN, Truncated};
use crate::checksum::Sum;
use crate::cursor::{Editor, Steps};

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;

/// The most that a TCP header has room for, in bytes.
const MAX_LEN: usize = 40;

/// The options of one segment. What is behind them is zero, the end of options.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    bytes: [u8; MAX_LEN],
    len: usize,
    /// Where the next one begins.
    next: usize,
    limit: u16,
    lowered: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Room for those of any segment.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_LEN],
            len: 0,
            next: 0,
            limit: 0,
            lowered: false,
        }
    }

    /// Takes the `len` bytes from byte `at` of the frame on: a multiple of four up
    /// to 40, as a data offset has it.
    #[inline(always)]
    pub(super) fn load<C: Editor>(
        &mut self,
        frame: &C,
        at: usize,
        len: usize,
    ) -> Result<(), Truncated> {
        self.bytes = [0; MAX_LEN];
        self.len = len;
        if len > 0 {
            frame.load(at, &mut self.bytes, len)?;
        }
        Ok(())
    }

    /// Lowers every MSS option that is above `limit`: receivers differ in which of
    /// several they believe. What stands behind a length that cannot be is not
    /// looked at. Whether there was one to lower.
    #[inline(always)]
    pub(super) fn lower<C: Editor>(&mut self, frame: &C, limit: u16) -> bool {
        self.next = 0;
        self.limit = limit;
        self.lowered = false;
        // The shortest has one byte.
        frame.repeat(self, MAX_LEN as u32);
        self.lowered
    }

    /// Their sum.
    #[inline(always)]
    pub(super) fn sum(&self) -> Sum {
        Sum::of(&self.bytes)
    }

    /// Writes them to byte `at` of the frame and behind, from where they are.
    #[inline(always)]
    pub(super) fn store<C: Editor>(&self, frame: &mut C, at: usize) -> Result<(), Truncated> {
        frame.store(at, &self.bytes, self.len)
    }
}

impl Steps for Options {
    /// Looks at one option.
    #[inline(always)]
    fn step(&mut self) -> bool {
        let at = self.next;
        // The last place that has room for what is looked for.
        if at > MAX_LEN - MSS_LEN {
            return false;
        }
        let [kind, len, high, low] = [0, 1, 2, 3].map(|i| self.bytes[at + i]);
        if kind == KIND_END {
            return false;
        }
        if kind == KIND_NOP {
            self.next = at + 1;
            return true;
        }
        let len = usize::from(len);
        if len < 2 || at + len > self.len {
            return false;
        }
        if kind == KIND_MSS && len == MSS_LEN && u16::from_be_bytes([high, low]) > self.limit {
            let place = at + 2;
            [self.bytes[place], self.bytes[place + 1]] = self.limit.to_be_bytes();
            self.lowered = true;
        }
        self.next = at + len;
        true
    }
}

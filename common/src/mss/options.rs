//! TCP options (RFC 9293, section 3.1), in a copy.

use super::{MSS_LEN, Truncated};
use crate::checksum::Sum;
use crate::cursor::Editor;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;

/// The most that a TCP header has room for, in bytes.
const MAX_LEN: usize = 40;

/// The options of one segment. What is behind them is zero, the end of options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Options {
    /// The `len` bytes from byte `at` of the frame on: a multiple of four up to 40,
    /// as a data offset has it.
    #[inline(always)]
    pub(super) fn load<C: Editor>(frame: &C, at: usize, len: usize) -> Result<Self, Truncated> {
        let mut bytes = [0; MAX_LEN];
        if len > 0 {
            frame.load(at, &mut bytes, len)?;
        }
        Ok(Self { bytes, len })
    }

    /// Lowers every MSS option that is above `limit`: receivers differ in which of
    /// several they believe. What stands behind a length that cannot be is not
    /// looked at. Whether there was one to lower.
    ///
    /// Goes byte by byte and asks of each whether an option begins there: an index
    /// that does not depend on the packet costs the kernel's verifier one walk of
    /// the loop, one that does costs it a walk for each way to get there.
    // Neither this nor the sum is inlined: the compiler would keep each byte in a
    // word of the XDP program's stack.
    #[inline(never)]
    pub(super) fn lower(&mut self, limit: u16) -> bool {
        let mut lowered = false;
        let mut next = 0;
        for at in 0..=MAX_LEN - MSS_LEN {
            if at != next {
                continue;
            }
            let [kind, len, high, low] = [0, 1, 2, 3].map(|i| self.bytes[at + i]);
            if kind == KIND_END {
                break;
            }
            if kind == KIND_NOP {
                next = at + 1;
                continue;
            }
            let len = usize::from(len);
            if len < 2 || at + len > self.len {
                break;
            }
            if kind == KIND_MSS && len == MSS_LEN && u16::from_be_bytes([high, low]) > limit {
                let place = at + 2;
                [self.bytes[place], self.bytes[place + 1]] = limit.to_be_bytes();
                lowered = true;
            }
            next = at + len;
        }
        lowered
    }

    /// Their sum.
    #[inline(never)]
    pub(super) fn sum(&self) -> Sum {
        Sum::of(&self.bytes)
    }

    /// Writes them to byte `at` of the frame and behind, from where they are.
    #[inline(always)]
    pub(super) fn store<C: Editor>(&self, frame: &mut C, at: usize) -> Result<(), Truncated> {
        frame.store(at, &self.bytes, self.len)
    }
}

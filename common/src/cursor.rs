//! How the parser reads a packet.
//!
//! The parser is generic over [`Cursor`], so that one and the same function
//! runs in the XDP program (over the frame, with the bounds check that the
//! kernel's verifier wants to see) and on the host (over a slice, in unit
//! tests, property tests and fuzzing).

/// The packet ends before the header that its contents announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// A position in a packet that only moves forward.
pub trait Cursor {
    /// Length of the whole frame in bytes, from its first byte. It may be more
    /// than the cursor can reach: the rest of a frame in several buffers.
    fn frame_len(&self) -> usize;

    /// Bytes between the start of the frame and the position.
    fn offset(&self) -> usize;

    /// Copies the next `N` bytes and moves past them.
    ///
    /// # Errors
    /// [`Truncated`] when fewer than `N` bytes are within reach; the position
    /// is then unchanged.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated>;

    /// Moves `n` bytes forward. Whether there are that many shows at the next
    /// [`take`](Self::take).
    ///
    /// # Errors
    /// [`Truncated`] when the position would pass the end of what the cursor
    /// can address.
    fn skip(&mut self, n: usize) -> Result<(), Truncated>;
}

/// A cursor over a frame in host memory.
#[derive(Clone, Debug)]
pub struct SliceCursor<'a> {
    frame: &'a [u8],
    offset: usize,
}

impl<'a> SliceCursor<'a> {
    /// A cursor at the first byte of `frame`.
    #[must_use]
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { frame, offset: 0 }
    }
}

impl Cursor for SliceCursor<'_> {
    fn frame_len(&self) -> usize {
        self.frame.len()
    }

    fn offset(&self) -> usize {
        self.offset
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let rest = self.frame.get(self.offset..).ok_or(Truncated)?;
        let bytes = *rest.first_chunk().ok_or(Truncated)?;
        self.offset += N;
        Ok(bytes)
    }

    fn skip(&mut self, n: usize) -> Result<(), Truncated> {
        let offset = self.offset.checked_add(n).ok_or(Truncated)?;
        if offset > self.frame.len() {
            return Err(Truncated);
        }
        self.offset = offset;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_skips_to_the_last_byte_and_not_past_it() {
        let mut cursor = SliceCursor::new(&[1, 2, 3, 4, 5]);
        assert_eq!(cursor.take::<2>(), Ok([1, 2]));
        assert_eq!(cursor.skip(1), Ok(()));
        assert_eq!(cursor.take::<3>(), Err(Truncated));
        assert_eq!(cursor.offset(), 3, "a failed take does not move");
        assert_eq!(cursor.take::<2>(), Ok([4, 5]));
        assert_eq!(cursor.take::<1>(), Err(Truncated));
        assert_eq!(cursor.skip(usize::MAX), Err(Truncated));
    }
}

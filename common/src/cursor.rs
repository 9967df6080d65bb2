//! How the parser reads a packet.
//!
//! The parser is generic over [`Cursor`], so that one and the same function
//! runs in the XDP program (over the frame, with the bounds check that the
//! kernel's verifier wants to see) and on the host (over a slice, in unit
//! tests, property tests and fuzzing).

use crate::checksum::Sum;

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

/// A cursor that goes back to what was read, and changes it.
pub trait Editor: Cursor {
    /// Moves to byte `at` of the frame.
    ///
    /// # Errors
    /// As [`skip`](Cursor::skip).
    fn seek(&mut self, at: usize) -> Result<(), Truncated>;

    /// Copies the `len` bytes from byte `at` of the frame on to the beginning of
    /// `to`; the position stays.
    ///
    /// # Errors
    /// [`Truncated`] when they are not all within reach, or more than `to` holds.
    fn load<const N: usize>(
        &self,
        at: usize,
        to: &mut [u8; N],
        len: usize,
    ) -> Result<(), Truncated>;

    /// Overwrites the `len` bytes from byte `at` of the frame on with the
    /// beginning of `from`; the position stays.
    ///
    /// # Errors
    /// As [`load`](Self::load); nothing is changed then.
    fn store<const N: usize>(
        &mut self,
        at: usize,
        from: &[u8; N],
        len: usize,
    ) -> Result<(), Truncated>;

    /// The sum of the `len` bytes from byte `at` of the frame on; the position
    /// stays.
    ///
    /// # Errors
    /// [`Truncated`] when they are not all within reach.
    fn sum(&self, at: usize, len: usize) -> Result<Sum, Truncated>;

    /// Does one step after the other until there is none any more, `max` at most.
    fn repeat<S: Steps>(&self, steps: &mut S, max: u32) {
        for _ in 0..max {
            if !steps.step() {
                break;
            }
        }
    }
}

/// Work of many steps whose number depends on the packet. All that one leaves to
/// the next is in `self`: an [`Editor`] of an XDP program keeps the kernel's
/// verifier from walking each way through all of them.
pub trait Steps {
    /// The next step. Whether there may be one more.
    fn step(&mut self) -> bool;
}

/// A cursor over a frame in host memory: an [`Editor`] if it may be changed.
#[derive(Clone, Debug)]
pub struct SliceCursor<B> {
    frame: B,
    offset: usize,
}

impl<B: AsRef<[u8]>> SliceCursor<B> {
    /// A cursor at the first byte of `frame`.
    #[must_use]
    #[inline]
    pub const fn new(frame: B) -> Self {
        Self { frame, offset: 0 }
    }

    #[inline]
    fn frame(&self) -> &[u8] {
        self.frame.as_ref()
    }
}

impl<B: AsRef<[u8]>> Cursor for SliceCursor<B> {
    #[inline]
    fn frame_len(&self) -> usize {
        self.frame().len()
    }

    #[inline]
    fn offset(&self) -> usize {
        self.offset
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let rest = self.frame().get(self.offset..).ok_or(Truncated)?;
        let bytes = *rest.first_chunk().ok_or(Truncated)?;
        self.offset += N;
        Ok(bytes)
    }

    #[inline]
    fn skip(&mut self, n: usize) -> Result<(), Truncated> {
        self.seek_to(self.offset.checked_add(n).ok_or(Truncated)?)
    }
}

impl<B: AsRef<[u8]>> SliceCursor<B> {
    #[inline]
    fn part(&self, at: usize, len: usize) -> Result<&[u8], Truncated> {
        let rest = self.frame().get(at..).ok_or(Truncated)?;
        rest.get(..len).ok_or(Truncated)
    }

    #[inline]
    fn seek_to(&mut self, at: usize) -> Result<(), Truncated> {
        if at > self.frame().len() {
            return Err(Truncated);
        }
        self.offset = at;
        Ok(())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Editor for SliceCursor<B> {
    #[inline]
    fn seek(&mut self, at: usize) -> Result<(), Truncated> {
        self.seek_to(at)
    }

    #[inline]
    fn load<const N: usize>(
        &self,
        at: usize,
        to: &mut [u8; N],
        len: usize,
    ) -> Result<(), Truncated> {
        let to = to.get_mut(..len).ok_or(Truncated)?;
        to.copy_from_slice(self.part(at, len)?);
        Ok(())
    }

    #[inline]
    fn store<const N: usize>(
        &mut self,
        at: usize,
        from: &[u8; N],
        len: usize,
    ) -> Result<(), Truncated> {
        let from = from.get(..len).ok_or(Truncated)?;
        let place = self.frame.as_mut().get_mut(at..).ok_or(Truncated)?;
        place.get_mut(..len).ok_or(Truncated)?.copy_from_slice(from);
        Ok(())
    }

    #[inline]
    fn sum(&self, at: usize, len: usize) -> Result<Sum, Truncated> {
        self.part(at, len).map(Sum::of)
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

    #[test]
    fn goes_back_and_changes_what_is_there_and_nothing_behind() {
        let mut bytes = [1, 2, 3, 4, 5];
        let mut cursor = SliceCursor::new(&mut bytes);
        assert_eq!(cursor.seek(5), Ok(()));
        assert_eq!(cursor.seek(6), Err(Truncated));
        assert_eq!(cursor.store(3, &[9, 8, 7], 2), Ok(()));
        assert_eq!(cursor.store(4, &[7, 7], 2), Err(Truncated));
        assert_eq!(cursor.store(0, &[7, 7], 3), Err(Truncated));
        assert_eq!(cursor.store(usize::MAX, &[7], 1), Err(Truncated));
        let mut copy = [0; 4];
        assert_eq!(cursor.load(2, &mut copy, 3), Ok(()));
        assert_eq!(copy, [3, 9, 8, 0]);
        assert_eq!(cursor.load(2, &mut copy, 4), Err(Truncated));
        assert_eq!(cursor.load(0, &mut copy, 5), Err(Truncated));
        let sum = cursor.sum(1, 4).unwrap();
        assert_eq!(sum.partial(), Sum::of(&[2, 3, 9, 8]).partial());
        assert_eq!(cursor.sum(2, 4).err(), Some(Truncated));
        assert_eq!(cursor.sum(usize::MAX, 1).err(), Some(Truncated));
        assert_eq!(cursor.offset(), 5, "none of these moves");
        assert_eq!(cursor.seek(2), Ok(()));
        assert_eq!(cursor.take::<3>(), Ok([3, 9, 8]));
    }
}

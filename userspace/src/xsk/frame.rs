//! Frames: move-only tokens for the chunks of a UMEM.
//!
//! ```text
//!          take              refill            receive
//!  Free ─────────▶ Frame   ─────────▶ Filled ─────────▶ Frame
//!    ▲                │ submit                            │ submit
//!    │   complete     ▼                                   ▼
//!    └──────────── Sent ◀─────────────────────────────────┘
//! ```
//!
//! While the kernel has a chunk (filled, sent) there is no token for it, so no
//! reference to its bytes. Whoever holds a [`Frame`] is the only one who can
//! touch it. Moving it into a ring or a queue gives it away; dropping it, on any
//! thread, gives it back to its UMEM.

use super::region::Region;
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

/// One chunk of a UMEM, owned, and where in it a packet lies.
///
/// Not `Clone`: the type is the proof of ownership.
pub struct Frame {
    region: NonNull<Region>,
    index: u32,
    at: u16,
    len: u16,
    continued: bool,
}

// SAFETY: a token is the only way to its chunk, whichever thread it is on; the
// list that Drop pushes to is atomic.
unsafe impl Send for Frame {}
// SAFETY: a shared token only reads its chunk.
unsafe impl Sync for Frame {}

/// The packet does not fit where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {start}..{end} are not in a frame of {size} bytes")]
pub struct OutOfFrame {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Bytes of the frame.
    pub size: usize,
}

impl Frame {
    /// A token for a chunk.
    ///
    /// # Safety
    /// There is no other token for this chunk, the kernel does not have it, and
    /// the region stays as long as the token.
    pub(super) unsafe fn new(
        region: NonNull<Region>,
        index: u32,
        packet: Range<u16>,
        continued: bool,
    ) -> Self {
        Self {
            region,
            index,
            at: packet.start,
            len: packet.end - packet.start,
            continued,
        }
    }

    fn region(&self) -> &Region {
        // SAFETY: the region stays as long as there are tokens (`Umem::drop`).
        unsafe { self.region.as_ref() }
    }

    /// The packet will be read soon: another processor wrote it, mostly.
    #[inline(always)]
    pub fn prefetch(&self) {
        super::prefetch::prefetch(self.packet());
    }

    /// Bytes of the frame.
    #[must_use]
    pub fn size(&self) -> usize {
        self.region().chunk_size()
    }

    /// All bytes of the frame: before, in and after the packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let chunk = self.region().chunk(self.index);
        // SAFETY: the chunk has `size` bytes, initialised since they were
        // mapped, and this token is the only way to them.
        unsafe { std::slice::from_raw_parts(chunk.as_ptr(), self.size()) }
    }

    /// All bytes of the frame, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let chunk = self.region().chunk(self.index);
        // SAFETY: as in `bytes`; `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(chunk.as_ptr(), self.size()) }
    }

    /// Where in the frame the packet lies.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }

    /// The packet, from its Ethernet header on.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.bytes()[self.range()]
    }

    /// The packet, to write.
    pub fn packet_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        &mut self.bytes_mut()[range]
    }

    /// Says where the packet lies.
    ///
    /// # Errors
    /// Not within the frame; the packet is where it was.
    pub fn set_range(&mut self, range: Range<usize>) -> Result<(), OutOfFrame> {
        let size = self.size();
        let fits = range.start <= range.end && range.end <= size;
        match (u16::try_from(range.start), u16::try_from(range.len())) {
            (Ok(at), Ok(len)) if fits => {
                (self.at, self.len) = (at, len);
                Ok(())
            }
            _ => Err(OutOfFrame {
                start: range.start,
                end: range.end,
                size,
            }),
        }
    }

    /// Copies a packet into the frame, `headroom` bytes from its start.
    ///
    /// # Errors
    /// It does not fit; the frame is as it was.
    pub fn write(&mut self, headroom: usize, packet: &[u8]) -> Result<(), OutOfFrame> {
        self.set_range(headroom..headroom.saturating_add(packet.len()))?;
        self.packet_mut().copy_from_slice(packet);
        self.continued = false;
        Ok(())
    }

    /// The packet goes on in the next frame (multi-buffer).
    #[must_use]
    pub const fn is_continued(&self) -> bool {
        self.continued
    }

    pub(super) const fn index(&self) -> u32 {
        self.index
    }

    /// Whether the frame is of this region.
    pub(super) fn is_of(&self, region: &Region) -> bool {
        self.region == NonNull::from(region)
    }

    /// Ends the token without giving the chunk back: its state tells who has it.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

impl AsMut<[u8]> for Frame {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they may be somebody's plaintext.
        write!(f, "Frame({}, packet {:?})", self.index, self.range())
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.region().give_back(self.index);
    }
}

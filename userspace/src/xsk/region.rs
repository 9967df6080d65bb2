//! The memory of a UMEM: equal chunks in one mapping.

use super::sys::{Mapping, page_size};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the memory of a UMEM is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages that the administrator reserved (`vm.nr_hugepages`).
    Huge,
    /// Normal pages; the kernel may join them to huge ones.
    Normal,
}

/// The end of the list of returned frames.
const NONE: u32 = u32::MAX;

/// Size of the huge pages of every architecture that has AF_XDP drivers, in bytes.
const HUGE_PAGE: usize = 2 << 20;

/// Chunks of memory, and the list of those whose tokens were dropped.
#[derive(Debug)]
pub(super) struct Region {
    map: Mapping,
    pages: Pages,
    frames: u32,
    shift: u32,
    /// Head of the list of returned frames: pushed by any thread, taken whole.
    returned: AtomicU32,
    next: Box<[AtomicU32]>,
}

impl Region {
    /// `frames` chunks of `1 << shift` bytes.
    pub(super) fn new(frames: u32, shift: u32) -> io::Result<Self> {
        let bytes = (frames as usize) << shift;
        let huge = Mapping::anonymous(bytes.next_multiple_of(HUGE_PAGE), true);
        let (map, pages) = match huge {
            Ok(map) => (map, Pages::Huge),
            Err(_) => (
                Mapping::anonymous(bytes.next_multiple_of(page_size()), false)?,
                Pages::Normal,
            ),
        };
        Ok(Self {
            map,
            pages,
            frames,
            shift,
            returned: AtomicU32::new(NONE),
            next: (0..frames).map(|_| AtomicU32::new(NONE)).collect(),
        })
    }

    pub(super) const fn pages(&self) -> Pages {
        self.pages
    }

    pub(super) const fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes of a chunk.
    pub(super) const fn chunk_size(&self) -> usize {
        1 << self.shift
    }

    /// First byte of the region, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.map.start().as_ptr() as u64
    }

    /// Bytes of the region that are chunks.
    pub(super) const fn bytes(&self) -> u64 {
        (self.frames as u64) << self.shift
    }

    /// Offset of a frame's chunk, as the rings name it.
    pub(super) const fn offset(&self, index: u32) -> u64 {
        (index as u64) << self.shift
    }

    /// The frame in whose chunk an offset lies.
    pub(super) fn index(&self, offset: u64) -> Option<u32> {
        let index = u32::try_from(offset >> self.shift).ok()?;
        (index < self.frames).then_some(index)
    }

    /// First byte of a frame's chunk.
    pub(super) fn chunk(&self, index: u32) -> NonNull<u8> {
        assert!(index < self.frames, "frame {index} of {}", self.frames);
        debug_assert!(self.map.len() as u64 >= self.bytes());
        // SAFETY: the mapping has `frames << shift` bytes or more.
        unsafe { self.map.start().add((index as usize) << self.shift) }
    }

    /// Puts a frame on the list of those to be taken back. Nothing of the region
    /// is touched after the frame is visible there.
    pub(super) fn give_back(&self, index: u32) {
        let mut head = self.returned.load(Ordering::Relaxed);
        loop {
            self.next[index as usize].store(head, Ordering::Relaxed);
            // Release: what was done with the frame happens before it is taken.
            match self.returned.compare_exchange_weak(
                head,
                index,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all that was given back.
    pub(super) fn take_back(&self) -> impl Iterator<Item = u32> + '_ {
        // An empty list is the usual case, and costs no write.
        let mut head = match self.returned.load(Ordering::Relaxed) {
            NONE => NONE,
            _ => self.returned.swap(NONE, Ordering::Acquire),
        };
        std::iter::from_fn(move || {
            let index = (head != NONE).then_some(head)?;
            head = self.next[index as usize].load(Ordering::Relaxed);
            Some(index)
        })
    }
}

//! Where a ring lies: in a mapping of the kernel's, or on the heap.

use super::{Consumer, Descriptor, Producer};
use crate::xsk::sys::Mapping;
use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bits of the flags word: the kernel sleeps until it is called.
const NEED_WAKEUP: u32 = libc::XDP_RING_NEED_WAKEUP;

/// The shared words of a ring, and what keeps them in memory.
pub(super) struct Words<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    size: u32,
    _memory: Memory<T>,
}

/// Held for its Drop.
enum Memory<T> {
    Kernel { _map: Mapping },
    Heap { _ring: Arc<Heap<T>> },
}

// SAFETY: the words are atomic, and a slot is touched only by the end whose
// turn it is according to the indices; descriptors are plain data.
unsafe impl<T: Descriptor> Send for Words<T> {}

impl<T> fmt::Debug for Words<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indices = [
            self.producer(Ordering::Relaxed),
            self.consumer(Ordering::Relaxed),
        ];
        write!(f, "Ring({} slots, {indices:?})", self.size)
    }
}

impl<T> Words<T> {
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn producer(&self, order: Ordering) -> u32 {
        // SAFETY: points to an aligned u32 in memory that `_memory` keeps.
        unsafe { self.producer.as_ref() }.load(order)
    }

    pub(super) fn consumer(&self, order: Ordering) -> u32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }.load(order)
    }

    pub(super) fn set_producer(&self, index: u32, order: Ordering) {
        // SAFETY: as above.
        unsafe { self.producer.as_ref() }.store(index, order);
    }

    pub(super) fn set_consumer(&self, index: u32, order: Ordering) {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }.store(index, order);
    }

    pub(super) fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    pub(super) fn set_needs_wakeup(&self, needed: bool) {
        // SAFETY: as above.
        let flags = unsafe { self.flags.as_ref() };
        flags.store(if needed { NEED_WAKEUP } else { 0 }, Ordering::Relaxed);
    }
}

impl<T: Descriptor> Words<T> {
    /// The slot of a free-running index.
    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the size is a power of two, so the masked index is below it,
        // and `slots` has as many elements.
        unsafe { self.slots.add((index & (self.size - 1)) as usize) }
    }

    /// Copies a slot; volatile, so that what was checked is what is used even if
    /// the other end breaks the rules and writes at the same time.
    ///
    /// # Safety
    /// The slot is this end's to read, by the indices.
    pub(super) unsafe fn read(&self, index: u32) -> T {
        // SAFETY: in bounds and aligned (see `slot`), any bytes are a value, and
        // the caller has the turn.
        unsafe { self.slot(index).read_volatile() }
    }

    /// Writes a slot.
    ///
    /// # Safety
    /// The slot is this end's to write, by the indices.
    pub(super) unsafe fn write(&self, index: u32, value: T) {
        // SAFETY: in bounds and aligned (see `slot`), and the caller has the turn.
        unsafe { self.slot(index).write_volatile(value) };
    }
}

/// Where in its mapping a ring's words lie (`struct xdp_ring_offset`).
pub(in crate::xsk) type RingOffsets = libc::xdp_ring_offset;

/// A ring of the kernel's, not yet a cursor.
pub(in crate::xsk) struct MappedRing<T> {
    words: Words<T>,
}

impl<T: Descriptor> MappedRing<T> {
    /// Maps the ring at `page_offset` of the socket; `size` is what it was made with.
    pub(in crate::xsk) fn new(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &RingOffsets,
        size: u32,
    ) -> io::Result<Self> {
        let invalid = || io::Error::other("the kernel's ring layout makes no sense");
        if !size.is_power_of_two() {
            return Err(invalid());
        }
        let at = |offset: u64, align: usize| match usize::try_from(offset) {
            Ok(offset) if offset.is_multiple_of(align) => Ok(offset),
            _ => Err(invalid()),
        };
        let word = align_of::<AtomicU32>();
        let producer = at(offsets.producer, word)?;
        let consumer = at(offsets.consumer, word)?;
        let flags = at(offsets.flags, word)?;
        let slots = at(offsets.desc, align_of::<T>())?;
        let len = slots
            .checked_add(size as usize * size_of::<T>())
            .ok_or_else(invalid)?;
        if [producer, consumer, flags].iter().any(|at| at + 4 > slots) {
            return Err(invalid());
        }
        let map = Mapping::ring(fd, page_offset, len)?;
        let start = map.start();
        // SAFETY: each offset plus what lies there ends within `len` bytes, as
        // was just checked.
        let words = unsafe {
            Words {
                producer: start.add(producer).cast(),
                consumer: start.add(consumer).cast(),
                flags: start.add(flags).cast(),
                slots: start.add(slots).cast(),
                size,
                _memory: Memory::Kernel { _map: map },
            }
        };
        Ok(Self { words })
    }

    /// The program's end of a fill or transmit ring.
    pub(in crate::xsk) fn producer(self) -> Producer<T> {
        Producer::new(self.words)
    }

    /// The program's end of a receive or completion ring.
    pub(in crate::xsk) fn consumer(self) -> Consumer<T> {
        Consumer::new(self.words)
    }
}

/// A ring on the heap. Each word has a cache line of its own, as in the kernel.
struct Heap<T> {
    producer: Line,
    consumer: Line,
    flags: Line,
    slots: Box<[UnsafeCell<T>]>,
}

#[repr(align(64))]
struct Line(AtomicU32);

// SAFETY: slots are touched by the end whose turn it is; see `Words`.
unsafe impl<T: Descriptor> Sync for Heap<T> {}

/// A ring in the memory of this process, empty, with both ends at index `start`.
///
/// # Panics
/// `size` is no power of two.
#[must_use]
pub fn pair<T: Descriptor>(size: u32, start: u32) -> (Producer<T>, Consumer<T>) {
    assert!(size.is_power_of_two(), "a ring of {size} slots");
    let heap = Arc::new(Heap {
        producer: Line(AtomicU32::new(start)),
        consumer: Line(AtomicU32::new(start)),
        flags: Line(AtomicU32::new(0)),
        slots: (0..size).map(|_| UnsafeCell::new(T::default())).collect(),
    });
    let end = |heap: Arc<Heap<T>>| Words {
        producer: NonNull::from(&heap.producer.0),
        consumer: NonNull::from(&heap.consumer.0),
        flags: NonNull::from(&heap.flags.0),
        // An UnsafeCell has the layout of what it holds.
        slots: NonNull::from(&*heap.slots).cast(),
        size,
        _memory: Memory::Heap { _ring: heap },
    };
    (
        Producer::new(end(Arc::clone(&heap))),
        Consumer::new(end(heap)),
    )
}

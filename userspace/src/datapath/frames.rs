//! Frames: move-only tokens for the buffers that packets live in.
//!
//! A pool is filled once and never grows. Whoever holds a [`Frame`] is the only
//! one who can touch its bytes; dropping it gives the buffer back, from any
//! thread. So no frame is in two places, none is lost, and when all work is
//! done [`FramePool::outstanding`] is zero.
//!
//! The free frame of the lowest number is taken first: few are in use at a time,
//! and the bytes of those are in the cache still, where those of the whole pool
//! have no room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::atomic::AtomicCell;

/// Bytes of a frame: the longest datagram (65,507 B) or TUN read (virtio
/// header plus 65,535 B) and room for the tags of a segmented super-packet.
pub const FRAME_LEN: usize = 68 * 1024;

/// Datagrams the kernel coalesces into one receive (`UDP_GRO_CNT_MAX`).
pub const SEGMENTS_MAX: usize = 64;

/// Where one packet lies in its frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// First byte of the inner packet.
    pub at: usize,
    /// Its bytes: after opening with padding, after the checks without; 0 is dropped or keepalive.
    pub len: usize,
    /// Its nonce, until the replay window has seen it.
    pub counter: u64,
}

/// A fixed set of equally long buffers. Taking and giving back wait for nobody.
pub struct FramePool {
    /// A bit for each frame that is free and in its place. Whoever clears it may
    /// take what is there.
    free: Box<[AtomicU64]>,
    places: Box<[AtomicCell<Option<Box<Body>>>]>,
}

// Else a place would be guarded by a lock.
const _: () = assert!(AtomicCell::<Option<Box<Body>>>::is_lock_free());

/// What a frame owns: its bytes and the list of packets found in them, which
/// is reused with the buffer so that filling it never allocates.
#[derive(Debug)]
struct Body {
    bytes: Box<[u8]>,
    packets: Vec<Packet>,
}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePool")
            .field("total", &self.total())
            .field("outstanding", &self.outstanding())
            .finish()
    }
}

impl FramePool {
    /// A pool of `total` frames of [`FRAME_LEN`] bytes. Pages that are never
    /// written cost no memory.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        let body = || Body {
            bytes: vec![0; FRAME_LEN].into_boxed_slice(),
            packets: Vec::with_capacity(SEGMENTS_MAX),
        };
        let bits = |word: usize| match total - word {
            left @ 0..64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        Arc::new(Self {
            free: (0..total).step_by(64).map(|w| bits(w).into()).collect(),
            places: (0..total)
                .map(|_| AtomicCell::new(Some(Box::new(body()))))
                .collect(),
        })
    }

    /// Takes a free frame, or `None` when all are in use.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Frame> {
        for (at, word) in self.free.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let lowest = bits & bits.wrapping_neg();
                // Acquires what was written into the place before the bit was set.
                bits = word.fetch_and(!lowest, Ordering::Acquire);
                if bits & lowest != 0 {
                    let place = at * 64 + lowest.trailing_zeros() as usize;
                    return Some(Frame {
                        body: self.places[place].take(),
                        place,
                        home: Arc::clone(self),
                    });
                }
            }
        }
        None
    }

    /// Frames in the pool, free or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.places.len()
    }

    /// Frames that somebody holds at this moment.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let free = self.free.iter();
        let free: u32 = free.map(|w| w.load(Ordering::Relaxed).count_ones()).sum();
        self.total() - free as usize
    }
}

/// One buffer, owned. Not `Clone`: the type is the proof of ownership.
#[derive(Debug)]
pub struct Frame {
    body: Option<Box<Body>>,
    /// Where in the pool its place is.
    place: usize,
    home: Arc<FramePool>,
}

impl Frame {
    fn body(&self) -> &Body {
        self.body.as_ref().expect("present until dropped")
    }

    fn body_mut(&mut self) -> &mut Body {
        self.body.as_mut().expect("present until dropped")
    }

    /// The frame's bytes, [`FRAME_LEN`] of them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body().bytes
    }

    /// The frame's bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.body_mut().bytes
    }

    /// The packets found in this frame, in order of arrival.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.body().packets
    }

    /// Bytes and packet list at once.
    pub fn parts_mut(&mut self) -> (&mut [u8], &mut Vec<Packet>) {
        let body = self.body_mut();
        (&mut body.bytes, &mut body.packets)
    }
}

impl AsMut<[u8]> for Frame {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        body.packets.clear();
        let before = self.home.places[self.place].swap(Some(body));
        debug_assert!(before.is_none(), "a pool got a frame it never gave");
        let (word, bit) = (self.place / 64, 1 << (self.place % 64));
        self.home.free[word].fetch_or(bit, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_each_frame_once_and_takes_it_back_from_any_thread() {
        let pool = FramePool::new(3);
        let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((frames.len(), pool.outstanding()), (3, 3));
        std::thread::spawn(move || drop(frames))
            .join()
            .expect("thread");
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn few_frames_are_used_again_and_again() {
        let pool = FramePool::new(200);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let two = [pool.take(), pool.take()];
            seen.extend(two.iter().flatten().map(|frame| frame.bytes().as_ptr()));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_pool_of_any_size_has_that_many() {
        for total in [0, 1, 63, 64, 65, 127, 128, 129] {
            let pool = FramePool::new(total);
            let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
            assert_eq!([frames.len(), pool.outstanding(), pool.total()], [total; 3]);
            drop(frames);
            assert_eq!(pool.outstanding(), 0);
        }
    }

    #[test]
    fn threads_that_take_and_give_back_at_once_share_no_frame() {
        let pool = FramePool::new(3);
        std::thread::scope(|scope| {
            for me in 1..=4 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Some(mut frame) = pool.take() else {
                            continue;
                        };
                        assert_eq!(frame.bytes()[0], 0, "somebody else has it");
                        frame.bytes_mut()[0] = me;
                        std::hint::spin_loop();
                        assert_eq!(frame.bytes()[0], me, "somebody else got it");
                        frame.bytes_mut()[0] = 0;
                    }
                });
            }
        });
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn a_frame_comes_back_without_the_packets_of_its_last_use() {
        let pool = FramePool::new(1);
        let mut frame = pool.take().expect("free");
        frame.parts_mut().1.push(Packet::default());
        drop(frame);
        assert!(pool.take().expect("free again").packets().is_empty());
    }
}

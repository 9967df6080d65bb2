//! Frames: move-only tokens for the buffers that packets live in.
//!
//! A pool is filled once and never grows. Whoever holds a [`Frame`] is the only
//! one who can touch its bytes; dropping it gives the buffer back, from any
//! thread. So no frame is in two places, none is lost, and when all work is
//! done [`FramePool::outstanding`] is zero.
//!
//! The frame that came back last is taken first: its bytes are in the cache
//! still, where those of the whole pool have no room. The lock is held for the
//! length of one pop or push, once per run or datagram.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// A fixed set of equally long buffers.
#[derive(Debug)]
pub struct FramePool {
    /// A stack that has room for all of them from the start.
    free: Mutex<Vec<Body>>,
    total: usize,
}

/// What a frame owns: its bytes and the list of packets found in them, which
/// is reused with the buffer so that filling it never allocates.
#[derive(Debug)]
struct Body {
    bytes: Box<[u8]>,
    packets: Vec<Packet>,
}

impl FramePool {
    /// A pool of `total` frames of [`FRAME_LEN`] bytes. Pages that are never
    /// written cost no memory.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        let bodies = (0..total).map(|_| Body {
            bytes: vec![0; FRAME_LEN].into_boxed_slice(),
            packets: Vec::with_capacity(SEGMENTS_MAX),
        });
        Arc::new(Self {
            free: Mutex::new(bodies.collect()),
            total,
        })
    }

    /// Takes a free frame, or `None` when all are in use.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Frame> {
        self.free().pop().map(|body| Frame {
            body: Some(body),
            home: Arc::clone(self),
        })
    }

    /// Frames in the pool, free or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Frames that somebody holds at this moment.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.total - self.free().len()
    }

    fn free(&self) -> MutexGuard<'_, Vec<Body>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One buffer, owned. Not `Clone`: the type is the proof of ownership.
#[derive(Debug)]
pub struct Frame {
    body: Option<Body>,
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
        let mut free = self.home.free();
        debug_assert!(
            free.len() < self.home.total,
            "a pool got a frame it never gave"
        );
        free.push(body);
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
    fn the_frame_that_came_back_last_is_taken_first() {
        let pool = FramePool::new(3);
        let mut frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let last = frames.remove(1);
        let bytes = last.bytes().as_ptr();
        drop(frames);
        drop(last);
        assert_eq!(pool.take().expect("free").bytes().as_ptr(), bytes);
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

//! UMEM: the packet memory of a worker, shared by its sockets.

mod exchange;
mod registration;

use super::XskError;
use super::frame::Frame;
use super::port::Port;
use super::region::{Pages, Region};
use super::states::{PORTS_MAX, PortId, State, States};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Bytes that the kernel leaves free before a packet it receives, besides the
/// headroom of the UMEM (`XDP_PACKET_HEADROOM`, `include/uapi/linux/bpf.h`).
pub const RX_HEADROOM: u32 = 256;
/// What the kernel keeps behind the packet at least, when it checks the
/// headroom: `struct skb_shared_info` (320 bytes) and 128 bytes for a packet.
const RX_RESERVE: u32 = 320 + 128;
/// Frames of a UMEM at most: 8 GiB of 4096-byte frames.
const FRAMES_MAX: u32 = 1 << 21;

/// How a UMEM is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UmemConfig {
    /// Frames, 1 to 2,097,152.
    pub frames: u32,
    /// Bytes of a frame: 2048 or 4096. A received packet has 256 bytes less, and
    /// `headroom`.
    pub frame_size: u32,
    /// Bytes before a received packet on top of the kernel's 256.
    pub headroom: u32,
    /// Let packets carry [`TxChecksum`](super::TxChecksum), where the kernel can
    /// (Linux 6.11).
    pub tx_metadata: bool,
    /// Packets may lie in several frames (Linux 6.6).
    pub multi_buffer: bool,
}

impl Default for UmemConfig {
    fn default() -> Self {
        Self {
            frames: 4096,
            frame_size: 2048,
            headroom: 0,
            tx_metadata: true,
            multi_buffer: false,
        }
    }
}

/// How many frames of a UMEM are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// On the free list.
    pub free: u32,
    /// Tokens that exist.
    pub held: u32,
    /// With the kernel, to receive into.
    pub filled: u32,
    /// With the kernel, to transmit from.
    pub sent: u32,
    /// With sockets that were closed: the kernel does not give these back, and
    /// may still use them.
    pub lost: u32,
}

impl Accounting {
    /// All frames.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.free + self.held + self.filled + self.sent + self.lost
    }
}

/// Frames in one mapping, registered with the kernel by the sockets that use it.
///
/// It belongs to one thread at a time. Tokens that still exist when it is
/// dropped keep the memory for ever.
#[derive(Debug)]
pub struct Umem {
    region: Arc<Region>,
    config: UmemConfig,
    states: States,
    free: Vec<u32>,
    /// Frames in a transmit batch that is not submitted.
    batch: Vec<u32>,
    ports: [Weak<Port>; PORTS_MAX as usize],
    /// Tells rings of this UMEM from those of others.
    id: u64,
    /// The kernel refused metadata.
    plain: bool,
}

impl Umem {
    /// Makes a UMEM of free frames; the kernel gets to know it with the first
    /// socket.
    ///
    /// # Errors
    /// A size is impossible, or there is not so much memory.
    pub fn new(config: UmemConfig) -> Result<Self, XskError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let refuse = |what, value: u32, remedy| {
            Err(XskError::Config {
                what,
                value: value.into(),
                remedy,
            })
        };
        if config.frames == 0 || config.frames > FRAMES_MAX {
            return refuse("frames of a UMEM", config.frames, "take 1 to 2097152");
        }
        if ![2048, 4096].contains(&config.frame_size) {
            return refuse("frame size", config.frame_size, "take 2048 or 4096");
        }
        if config.headroom > config.frame_size - RX_HEADROOM - RX_RESERVE {
            return refuse(
                "headroom",
                config.headroom,
                "take at most the frame size less 704",
            );
        }
        let region = Region::new(config.frames, config.frame_size.ilog2())
            .map_err(XskError::io("memory for the UMEM"))?;
        Ok(Self {
            region: Arc::new(region),
            config,
            states: States::new(config.frames),
            // The first taken is the first in memory.
            free: (0..config.frames).rev().collect(),
            batch: Vec::with_capacity(config.frames as usize),
            ports: [const { Weak::new() }; PORTS_MAX as usize],
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            plain: !config.tx_metadata,
        })
    }

    /// What the memory is made of.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.region.pages()
    }

    /// Frames, wherever they are.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.region.frames()
    }

    /// Bytes of a frame.
    #[must_use]
    pub const fn frame_size(&self) -> usize {
        self.config.frame_size as usize
    }

    /// Bytes of a packet that fit into one received frame.
    #[must_use]
    pub const fn rx_room(&self) -> usize {
        (self.config.frame_size - RX_HEADROOM - self.config.headroom) as usize
    }

    /// Takes a free frame, with an empty packet after the usual headroom.
    #[must_use]
    pub fn take(&mut self) -> Option<Frame> {
        let index = self.pop(State::Held)?;
        let at = (RX_HEADROOM + self.config.headroom) as u16;
        // SAFETY: its state was free and is held now, so neither another token
        // nor the kernel has it; see `Drop` for how long the region stays.
        Some(unsafe { Frame::new(self.region_ptr(), index, at..at, false) })
    }

    /// Takes a frame back: what dropping it does, for the thread of the UMEM
    /// without an atomic operation.
    pub fn give_back(&mut self, frame: Frame) {
        if frame.is_of(&self.region) {
            let index = frame.index();
            frame.forget();
            self.free_held(index);
        }
    }

    /// Free frames at this moment.
    #[must_use]
    pub fn free_frames(&mut self) -> u32 {
        self.reclaim();
        self.free.len() as u32
    }

    /// Counts all frames, and checks that the free list has each free frame once.
    ///
    /// # Panics
    /// A frame is unaccounted for: a bug in this module.
    pub fn audit(&mut self) -> Accounting {
        self.reclaim();
        let mut count = Accounting::default();
        let alive = self.ports.each_ref().map(|port| port.strong_count() > 0);
        let alive = |port: PortId| alive.get(usize::from(port.0)).copied().unwrap_or(false);
        for state in self.states.iter() {
            match state {
                State::Free => count.free += 1,
                State::Held => count.held += 1,
                State::Filled(port) if alive(port) => count.filled += 1,
                State::Sent(port) if alive(port) => count.sent += 1,
                State::Filled(_) | State::Sent(_) => count.lost += 1,
            }
        }
        let mut free = self.free.clone();
        free.sort_unstable();
        free.dedup();
        assert_eq!(free.len(), self.free.len(), "a frame is free twice");
        assert_eq!(free.len() as u32, count.free, "free frames not on the list");
        count
    }

    fn region_ptr(&self) -> NonNull<Region> {
        NonNull::from(&*self.region)
    }

    /// A free frame, now in state `to`.
    fn pop(&mut self, to: State) -> Option<u32> {
        if self.free.is_empty() {
            self.reclaim();
        }
        let index = self.free.pop()?;
        let was_free = self.states.change(index, State::Free, to);
        assert!(was_free, "frame {index} was on the free list and not free");
        Some(index)
    }

    fn free_held(&mut self, index: u32) {
        if self.states.change(index, State::Held, State::Free) {
            self.free.push(index);
        }
    }

    /// Frees the frames whose tokens were dropped.
    fn reclaim(&mut self) {
        for index in self.region.take_back() {
            if self.states.change(index, State::Held, State::Free) {
                self.free.push(index);
            }
        }
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        self.reclaim();
        self.cancel_batch();
        if self.states.iter().any(|state| state == State::Held) {
            // Somebody holds a token: the memory has to stay.
            std::mem::forget(Arc::clone(&self.region));
        }
    }
}

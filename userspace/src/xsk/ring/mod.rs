//! Rings: single producer, single consumer, shared with the kernel.
//!
//! ```text
//! producer ── u32, free-running        slot of index i: i mod size
//! consumer ── u32, free-running        entries: producer - consumer (wraps at 2^32)
//! flags    ── bit 0: needs wake-up     size: a power of two
//! slots    ── size × descriptor
//! ```
//!
//! A program produces into the fill and transmit rings and consumes the receive
//! and completion rings; the kernel is at the other end. The same cursors work
//! on memory of the process ([`pair`]), where the other end is a cursor too.
//!
//! Ordering: the slots are written before the producer index is stored with
//! release, and read after it was loaded with acquire; the consumer index
//! likewise guards slots against being overwritten before they were read.
//!
//! The index of the other end is not trusted: one that claims more entries than
//! the ring has slots is [`Corrupt`].

mod consumer;
mod memory;
mod producer;
#[cfg(test)]
mod tests;

pub use consumer::{Consumer, Peeked};
pub use memory::pair;
pub(super) use memory::{MappedRing, RingOffsets};
pub use producer::{Producer, Reservation};

use std::fmt::Debug;

/// `struct xdp_desc`: an entry of the receive and transmit rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Desc {
    /// Offset of the packet's first byte in the UMEM.
    pub addr: u64,
    /// Bytes of the packet in this frame.
    pub len: u32,
    /// `XDP_PKT_CONTD`: the packet goes on in the next descriptor.
    /// `XDP_TX_METADATA`: `struct xsk_tx_metadata` lies before the packet.
    pub options: u32,
}

/// What a ring carries: [`Desc`], or the `u64` address of a frame.
///
/// # Safety
/// Every bit pattern is a value, and nothing has to be dropped: the other end
/// may write anything.
pub unsafe trait Descriptor: Copy + Debug + Default + Send + Sync + 'static {}

// SAFETY: one u64 and two u32, all of whose bit patterns are values.
unsafe impl Descriptor for Desc {}
// SAFETY: an integer.
unsafe impl Descriptor for u64 {}

/// The other end's index cannot be true: nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of an AF_XDP ring claims {claimed} entries where {size} fit")]
pub struct Corrupt {
    /// Entries according to the two indices.
    pub claimed: u32,
    /// Slots of the ring.
    pub size: u32,
}

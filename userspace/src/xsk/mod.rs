//! AF_XDP: UMEM, rings and sockets. Knows nothing of what the packets are.
//!
//! A worker has one [`Umem`] and a [`Socket`] per queue and device; frames go
//! around between its rings:
//!
//! ```text
//!  Umem ── refill ──▶ fill ring ──▶ kernel ──▶ receive ring ── receive ──▶ Frame
//!    ▲                                                                       │
//!    └─ complete ── completion ring ◀── kernel ◀── transmit ring ◀── batch ──┘
//! ```
//!
//! * [`ring`]: cursors of the four rings, on the kernel's memory or the heap.
//! * [`umem`], [`frame`]: the packet memory, and the tokens for its parts.
//! * [`fill`], [`rx`], [`tx`], [`completion`]: frames in and out of each ring.
//! * [`socket`], [`bind`]: a socket on a queue; wake-ups, statistics.
//! * [`metadata`]: checksums that the kernel finishes.
//! * [`peer`]: the kernel's end in memory, for tests without a kernel.
//! * [`error`]: what can go wrong, with the remedy.

pub mod bind;
pub mod completion;
pub mod error;
pub mod fill;
pub mod frame;
pub mod metadata;
pub mod peer;
mod port;
mod prefetch;
mod region;
pub mod ring;
pub mod rx;
pub mod sizes;
pub mod socket;
mod states;
mod sys;
#[cfg(test)]
mod tests;
pub mod tx;
pub mod umem;

pub use bind::{BusyPoll, SocketConfig};
pub use error::XskError;
pub use frame::{Frame, OutOfFrame};
pub use metadata::{TX_METADATA_LEN, TxChecksum};
pub use peer::{Peer, Which};
pub use region::Pages;
pub use sizes::RingSizes;
pub use socket::{Probe, Socket, Statistics, Transfer, Wakeups};
pub use tx::{Reason, Refused, TxBatch};
pub use umem::{Accounting, RX_HEADROOM, Umem, UmemConfig};

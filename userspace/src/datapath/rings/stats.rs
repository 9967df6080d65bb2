//! Counters of one ring; the worker that owns it writes them, anybody reads.

use serde::{Deserialize, Serialize};

use crate::datapath::stats::Counter;
use crate::xsk::Statistics;

/// What went through one queue's rings since they were opened.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RingStats {
    /// Frames received.
    pub rx_packets: Counter,
    /// Their bytes, from the Ethernet header on.
    pub rx_bytes: Counter,
    /// Frames given to the kernel to transmit.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Frames received that no device of ours listens for, that have a damaged
    /// header, or are no WireGuard data after all. A few when a device goes.
    pub stray: Counter,
    /// Times that there was no room to transmit and the TUN device had to wait.
    pub tx_full: Counter,
    /// Times that the kernel was called to transmit.
    pub tx_wakeups: Counter,
    /// Times that it was called to receive.
    pub rx_wakeups: Counter,
    /// Calls to transmit that the kernel ended early.
    pub tx_again: Counter,
    /// Slots of the transmit ring in use, when last looked at.
    pub tx_pending: Counter,
    /// Frames that wait in the fill ring, when last looked at.
    pub fill_pending: Counter,
    /// 1 since the ring failed: nothing is received from it any more, although
    /// the kernel still puts packets there.
    pub failed: Counter,
}

/// The same at one moment, with what the kernel counts of the socket. For
/// `show` and metrics; fields are only ever added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named and documented as in RingStats")]
pub struct RingTotals {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub stray: u64,
    pub tx_full: u64,
    pub tx_wakeups: u64,
    pub rx_wakeups: u64,
    pub tx_again: u64,
    pub tx_pending: u64,
    pub fill_pending: u64,
    pub failed: u64,
    /// See [`Statistics::rx_dropped`].
    pub kernel_rx_dropped: u64,
    /// See [`Statistics::rx_ring_full`].
    pub kernel_rx_full: u64,
    /// See [`Statistics::rx_fill_ring_empty_descs`].
    pub kernel_fill_empty: u64,
    /// Descriptors of either direction that were no frame.
    pub kernel_invalid: u64,
}

impl RingStats {
    /// All of it as of now, with the kernel's part.
    #[must_use]
    pub fn totals(&self, kernel: &Statistics) -> RingTotals {
        RingTotals {
            rx_packets: self.rx_packets.get(),
            rx_bytes: self.rx_bytes.get(),
            tx_packets: self.tx_packets.get(),
            tx_bytes: self.tx_bytes.get(),
            stray: self.stray.get(),
            tx_full: self.tx_full.get(),
            tx_wakeups: self.tx_wakeups.get(),
            rx_wakeups: self.rx_wakeups.get(),
            tx_again: self.tx_again.get(),
            tx_pending: self.tx_pending.get(),
            fill_pending: self.fill_pending.get(),
            failed: self.failed.get(),
            kernel_rx_dropped: kernel.rx_dropped,
            kernel_rx_full: kernel.rx_ring_full,
            kernel_fill_empty: kernel.rx_fill_ring_empty_descs,
            kernel_invalid: kernel.rx_invalid_descs + kernel.tx_invalid_descs,
        }
    }
}

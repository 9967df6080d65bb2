//! Counters of one ring; the worker that owns it writes them, anybody reads.

use crate::datapath::stats::Counter;

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
    /// Frames received that no device of ours listens for, or that are no
    /// WireGuard data after all. Always zero unless a device just went.
    pub stray: Counter,
    /// Times that there was no room to transmit and the TUN device had to wait.
    pub tx_full: Counter,
    /// Times that the kernel was called to transmit.
    pub tx_wakeups: Counter,
    /// Times that it was called to receive.
    pub rx_wakeups: Counter,
    /// Calls to transmit that the kernel ended early.
    pub tx_again: Counter,
    /// Runs that other workers sealed and that left by this ring.
    pub relayed: Counter,
    /// Slots of the transmit ring in use, when last looked at.
    pub tx_pending: Counter,
    /// Frames that wait in the fill ring, when last looked at.
    pub fill_pending: Counter,
}

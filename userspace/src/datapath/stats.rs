//! Counters of one worker. The worker alone writes them; metrics add them up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::{BatchSizes, BatchTimes};
use crate::drops::DropCounters;

/// A counter with a single writer: a plain load and store, no locked add.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning worker may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes the value of something that is counted elsewhere.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value as of now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker did for one device.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Data packets received on the outer side, before any check.
    pub outer_rx_packets: Counter,
    /// Their bytes, WireGuard header included, UDP and below not.
    pub outer_rx_bytes: Counter,
    /// Data packets handed to the kernel on the outer side.
    pub outer_tx_packets: Counter,
    /// Their bytes.
    pub outer_tx_bytes: Counter,
    /// Packets delivered inside: written to the TUN device, before coalescing, or
    /// forwarded.
    pub inner_rx_packets: Counter,
    /// Packets from inside: read from the TUN device, after segmentation, or forwarded.
    pub inner_tx_packets: Counter,
    /// Of the packets received, those that left by a LAN ring instead.
    pub forwarded_rx_packets: Counter,
    /// Of the packets to send, those that came by a LAN ring instead.
    pub forwarded_tx_packets: Counter,
    /// Reads from the TUN device (super-packets).
    pub tun_reads: Counter,
    /// Writes to the TUN device (super-packets).
    pub tun_writes: Counter,
    /// Receive system calls that brought at least one datagram.
    pub socket_reads: Counter,
    /// Send system calls.
    pub socket_writes: Counter,
    /// SYNs, either way, whose maximum segment size was lowered.
    pub mss_clamped: Counter,
    /// Times the send buffer was full and the TUN device had to wait.
    pub backpressure: Counter,
    /// Frames opened here that another worker received.
    pub helped: Counter,
    /// Times that data came from another address of a peer than before.
    pub roamed: Counter,
    /// Packets that were sealed together: of one read of the TUN device.
    pub seal_batch: BatchSizes,
    /// Packets that were opened together: of one frame and keypair.
    pub open_batch: BatchSizes,
    /// Time to cut, pad and seal a packet.
    pub seal_time: BatchTimes,
    /// Time to open a packet.
    pub open_time: BatchTimes,
    /// What was dropped here, by reason.
    pub drops: DropCounters,
}

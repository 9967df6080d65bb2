//! What a scrape sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringtun_common::tables::Counter;

use super::names::Names;
use crate::bpf::Counts;
use crate::crypto::PublicKey;
use crate::datapath::histogram::Reading;
use crate::datapath::rings::RingTotals;
use crate::datapath::stats::WorkerStats;
use crate::drops::DropReason;
use crate::tunnel::allowed_ips::Prefix;
use crate::tunnel::time::WallTime;

/// Everything, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// One per tunnel device.
    pub devices: Vec<DeviceMetrics>,
    /// Queues that all devices share.
    pub queues: Vec<QueueMetrics>,
    /// Packet buffers, one set per worker thread.
    pub frames: Vec<FrameMetrics>,
    /// Network cards that carry the XDP program.
    pub nics: Vec<NicMetrics>,
    /// What the XDP programs counted, by side (`wan`, `lan`).
    pub xdp: Vec<(&'static str, Counts)>,
    /// What the XDP program handed to other CPUs, by their number.
    pub steered: BTreeMap<u32, Counter>,
    /// Names of peers for people.
    pub names: Names,
}

/// One network card.
#[derive(Clone, Debug, Default)]
pub struct NicMetrics {
    /// Its name.
    pub name: String,
    /// `wan`; `lan` where packets go past the kernel's stack.
    pub side: &'static str,
    /// Its driver.
    pub driver: String,
    /// `native`, `generic`.
    pub xdp: String,
    /// `zero-copy`, `copy`.
    pub transfer: String,
    /// Its rings, by queue.
    pub rings: Vec<RingTotals>,
    /// Slots of the rings of each queue, by ring.
    pub ring_slots: [(&'static str, u32); 4],
}

/// One tunnel device.
#[derive(Clone, Debug, Default)]
pub struct DeviceMetrics {
    /// Its name.
    pub device: String,
    /// Its own key, once it has one.
    pub public_key: Option<PublicKey>,
    /// The interface is up.
    pub up: bool,
    /// How outer packets travel: `udp`, `xdp`.
    pub io: &'static str,
    /// How many peers it has.
    pub peer_count: usize,
    /// Details of some of them, see [`MetricsSource`](super::MetricsSource).
    pub peers: Vec<PeerMetrics>,
    /// The traffic of the others.
    pub rest: TrafficMetrics,
    /// Packets that wait for handshakes, of all peers.
    pub staged: usize,
    /// More handshake messages arrive than are answered: cookies are asked for.
    pub under_load: bool,
    /// Handshakes since the device was made.
    pub handshakes: HandshakeMetrics,
    /// Times that a peer spoke from another address than before.
    pub endpoint_changes: u64,
    /// Packets not delivered, all threads added up.
    pub drops: DropTotals,
    /// Queues of this device alone.
    pub queues: Vec<QueueMetrics>,
    /// One per worker thread.
    pub workers: Vec<WorkerMetrics>,
    /// What the workers measured of their batches.
    pub batches: BatchMetrics,
}

/// What went to a peer, or several, and came from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficMetrics {
    /// Outer bytes received, handshakes included, as `wg show` counts them.
    pub rx_bytes: u64,
    /// Outer bytes sent, likewise.
    pub tx_bytes: u64,
    /// Data packets received, keepalives included.
    pub rx_packets: u64,
    /// Data packets sent, likewise.
    pub tx_packets: u64,
}

impl TrafficMetrics {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.rx_bytes += other.rx_bytes;
        self.tx_bytes += other.tx_bytes;
        self.rx_packets += other.rx_packets;
        self.tx_packets += other.tx_packets;
    }
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// Who it is.
    pub public_key: PublicKey,
    /// Its traffic.
    pub traffic: TrafficMetrics,
    /// Zero while there was none.
    pub last_handshake: WallTime,
    /// Seconds between persistent keepalives; 0: none.
    pub keepalive: u16,
    /// Where it is; only if details were asked for.
    pub endpoint: Option<SocketAddr>,
    /// Its AllowedIPs; only if details were asked for.
    pub allowed_ips: Vec<Prefix>,
}

/// Handshakes by role and outcome. One that was refused is a drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeMetrics {
    /// Initiations that we sent, retries included.
    pub initiations: u64,
    /// Responses that we sent.
    pub responses: u64,
    /// Sessions that we initiated and the peer answered.
    pub completed_initiator: u64,
    /// Sessions that a peer initiated.
    pub completed_responder: u64,
    /// Times that all retries went unanswered.
    pub gave_up: u64,
    /// Sessions that took the place of one that was still good.
    pub rekeys: u64,
    /// Times that data was sent and nothing came back for 15 s.
    pub stopped_answering: u64,
    /// Cookies that peers under load gave us.
    pub cookies_received: u64,
}

/// Dropped packets by reason.
#[derive(Clone, Copy, Debug)]
pub struct DropTotals([u64; DropReason::ALL.len()]);

impl Default for DropTotals {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropTotals {
    /// Asks for the number of each reason.
    #[must_use]
    pub fn collect(count: impl Fn(DropReason) -> u64) -> Self {
        Self(std::array::from_fn(|index| count(DropReason::ALL[index])))
    }

    /// Every reason and its number of packets.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|r| (*r, self.0[*r as usize]))
    }
}

/// A bounded queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueMetrics {
    /// Which one.
    pub name: &'static str,
    /// Entries now.
    pub length: usize,
    /// Entries at most.
    pub capacity: usize,
}

/// A worker thread: its sleep, and its packet buffers.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameMetrics {
    /// Times that it went to sleep and woke up.
    pub wakeups: u64,
    /// All there are.
    pub total: usize,
    /// Those that hold packets now.
    pub in_flight: usize,
}

/// What one worker moved; the meaning of each is in [`WorkerStats`].
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in WorkerStats")]
pub struct WorkerMetrics {
    pub outer_rx_packets: u64,
    pub outer_rx_bytes: u64,
    pub outer_tx_packets: u64,
    pub outer_tx_bytes: u64,
    pub inner_rx_packets: u64,
    pub inner_tx_packets: u64,
    pub forwarded_rx_packets: u64,
    pub forwarded_tx_packets: u64,
    pub tun_reads: u64,
    pub tun_writes: u64,
    pub socket_reads: u64,
    pub socket_writes: u64,
    pub backpressure: u64,
    /// See [`WorkerStats::mss_clamped`].
    pub mss_clamped: u64,
    /// See [`WorkerStats::helped`].
    pub helped: u64,
}

impl From<&WorkerStats> for WorkerMetrics {
    fn from(stats: &WorkerStats) -> Self {
        Self {
            outer_rx_packets: stats.outer_rx_packets.get(),
            outer_rx_bytes: stats.outer_rx_bytes.get(),
            outer_tx_packets: stats.outer_tx_packets.get(),
            outer_tx_bytes: stats.outer_tx_bytes.get(),
            inner_rx_packets: stats.inner_rx_packets.get(),
            inner_tx_packets: stats.inner_tx_packets.get(),
            forwarded_rx_packets: stats.forwarded_rx_packets.get(),
            forwarded_tx_packets: stats.forwarded_tx_packets.get(),
            tun_reads: stats.tun_reads.get(),
            tun_writes: stats.tun_writes.get(),
            socket_reads: stats.socket_reads.get(),
            socket_writes: stats.socket_writes.get(),
            backpressure: stats.backpressure.get(),
            mss_clamped: stats.mss_clamped.get(),
            helped: stats.helped.get(),
        }
    }
}

/// Batches of all workers together.
#[derive(Clone, Debug, Default)]
pub struct BatchMetrics {
    /// Packets that were sealed together.
    pub seal_size: Reading,
    /// Packets that were opened together.
    pub open_size: Reading,
    /// Nanoseconds to seal a packet.
    pub seal_time: Reading,
    /// Nanoseconds to open a packet.
    pub open_time: Reading,
}

impl BatchMetrics {
    /// Those of these workers.
    #[must_use]
    pub fn collect<'a>(workers: impl Iterator<Item = &'a WorkerStats>) -> Self {
        let mut all = Self::default();
        for stats in workers {
            all.seal_size.add(&stats.seal_batch.reading());
            all.open_size.add(&stats.open_batch.reading());
            all.seal_time.add(&stats.seal_time.reading());
            all.open_time.add(&stats.open_time.reading());
        }
        all
    }
}

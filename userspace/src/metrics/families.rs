//! The metric families of a snapshot, in Prometheus' text format.

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use super::nics::NicFamilies;
use super::snapshot::{DeviceMetrics, FrameMetrics, QueueMetrics, Snapshot, WorkerMetrics};

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The snapshot as Prometheus reads it.
///
/// # Errors
/// Two devices of one name, or two families of one name.
pub fn text(snapshot: &Snapshot) -> prometheus::Result<Vec<u8>> {
    let families = Families::new()?;
    for device in &snapshot.devices {
        families.device(device);
    }
    families.queues("", &snapshot.queues);
    for (worker, frames) in snapshot.frames.iter().enumerate() {
        families.frames(worker, frames);
    }
    for nic in &snapshot.nics {
        families.nics.nic(nic);
    }
    for (side, counts) in &snapshot.xdp {
        families.nics.counts(side, counts);
    }
    for (cpu, counter) in &snapshot.steered {
        families.nics.steered(*cpu, *counter);
    }
    let registry = Registry::new();
    families.register(&registry)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

struct Families {
    build_info: IntGaugeVec,
    device_info: IntGaugeVec,
    peers: IntGaugeVec,
    peers_omitted: IntGaugeVec,
    peer_rx: IntCounterVec,
    peer_tx: IntCounterVec,
    peer_handshake: IntGaugeVec,
    initiations: IntCounterVec,
    handshakes: IntCounterVec,
    drops: IntCounterVec,
    queue_length: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    frames: IntGaugeVec,
    frames_total: IntGaugeVec,
    workers: Vec<(IntCounterVec, OfWorker)>,
    nics: NicFamilies,
}

/// Where a counter of a worker is.
type OfWorker = fn(&WorkerMetrics) -> u64;

/// Counters of workers: name, help, where they are.
type WorkerFamily = (&'static str, &'static str, OfWorker);

const WORKER_FAMILIES: &[WorkerFamily] = &[
    (
        "ringtun_outer_rx_packets_total",
        "Encrypted data packets received by a worker, before any check.",
        |w| w.outer_rx_packets,
    ),
    (
        "ringtun_outer_rx_bytes_total",
        "Their bytes, from the WireGuard header on.",
        |w| w.outer_rx_bytes,
    ),
    (
        "ringtun_outer_tx_packets_total",
        "Encrypted data packets that a worker handed to the kernel.",
        |w| w.outer_tx_packets,
    ),
    (
        "ringtun_outer_tx_bytes_total",
        "Their bytes, from the WireGuard header on.",
        |w| w.outer_tx_bytes,
    ),
    (
        "ringtun_inner_rx_packets_total",
        "Decrypted packets that a worker delivered: wrote to the TUN device, or forwarded.",
        |w| w.inner_rx_packets,
    ),
    (
        "ringtun_inner_tx_packets_total",
        "Packets that a worker got to encrypt: read from the TUN device, after segmentation, or forwarded.",
        |w| w.inner_tx_packets,
    ),
    (
        "ringtun_forwarded_rx_packets_total",
        "Of the decrypted packets, those that left by a LAN card past the kernel's stack (--fast-forward).",
        |w| w.forwarded_rx_packets,
    ),
    (
        "ringtun_forwarded_tx_packets_total",
        "Of the packets to encrypt, those that came by a LAN card past the kernel's stack (--fast-forward).",
        |w| w.forwarded_tx_packets,
    ),
    (
        "ringtun_tun_reads_total",
        "Reads from the TUN device, each of one packet or super-packet.",
        |w| w.tun_reads,
    ),
    (
        "ringtun_tun_writes_total",
        "Writes to the TUN device, each of one packet or super-packet.",
        |w| w.tun_writes,
    ),
    (
        "ringtun_socket_reads_total",
        "Receive system calls that brought at least one datagram.",
        |w| w.socket_reads,
    ),
    ("ringtun_socket_writes_total", "Send system calls.", |w| {
        w.socket_writes
    }),
    (
        "ringtun_backpressure_total",
        "Times that a socket or ring was full and the TUN device had to wait.",
        |w| w.backpressure,
    ),
    (
        "ringtun_mss_clamped_total",
        "TCP SYNs, either way, whose maximum segment size was lowered to fit the tunnel.",
        |w| w.mss_clamped,
    ),
    (
        "ringtun_helped_total",
        "Frames of packets that this worker opened and another had received: one flow had more than one processor opens.",
        |w| w.helped,
    ),
];

impl Families {
    fn new() -> prometheus::Result<Self> {
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new::<&str, &str>(name, help), labels)
        };
        let gauge = |name, help, labels: &[&str]| {
            IntGaugeVec::new(Opts::new::<&str, &str>(name, help), labels)
        };
        let families = Self {
            build_info: gauge(
                "ringtun_build_info",
                "Which ringtun runs here; always 1.",
                &["version"],
            )?,
            device_info: gauge(
                "ringtun_device_info",
                "How outer packets of the device travel; always 1.",
                &["device", "io"],
            )?,
            peers: gauge("ringtun_peers", "Peers of the device.", &["device"])?,
            peers_omitted: gauge(
                "ringtun_peers_omitted",
                "Peers without series of their own, because there are too many.",
                &["device"],
            )?,
            peer_rx: counter(
                "ringtun_peer_rx_bytes_total",
                "Bytes received from the peer, as `wg show` counts them.",
                &["device", "public_key"],
            )?,
            peer_tx: counter(
                "ringtun_peer_tx_bytes_total",
                "Bytes sent to the peer, as `wg show` counts them.",
                &["device", "public_key"],
            )?,
            peer_handshake: gauge(
                "ringtun_peer_last_handshake_seconds",
                "When the last handshake with the peer completed, Unix time; 0 if none did.",
                &["device", "public_key"],
            )?,
            initiations: counter(
                "ringtun_handshake_initiations_total",
                "Handshake initiations sent, retries included.",
                &["device"],
            )?,
            handshakes: counter(
                "ringtun_handshakes_total",
                "Handshakes by our role and outcome; those refused are drops.",
                &["device", "role", "outcome"],
            )?,
            drops: counter(
                "ringtun_drops_total",
                "Packets not delivered, by reason.",
                &["device", "reason"],
            )?,
            queue_length: gauge(
                "ringtun_queue_length",
                "Entries in a queue between threads.",
                &["device", "queue"],
            )?,
            queue_capacity: gauge(
                "ringtun_queue_capacity",
                "Entries that the queue takes before it drops.",
                &["device", "queue"],
            )?,
            frames: gauge(
                "ringtun_frames",
                "Packet buffers of a worker by state.",
                &["worker", "state"],
            )?,
            frames_total: gauge(
                "ringtun_frames_capacity",
                "Packet buffers of a worker, all there are.",
                &["worker"],
            )?,
            workers: WORKER_FAMILIES
                .iter()
                .map(|(name, help, value)| {
                    Ok((counter(name, help, &["device", "worker"])?, *value))
                })
                .collect::<prometheus::Result<_>>()?,
            nics: NicFamilies::new()?,
        };
        let version = env!("CARGO_PKG_VERSION");
        families.build_info.with_label_values(&[version]).set(1);
        Ok(families)
    }

    fn device(&self, d: &DeviceMetrics) {
        let name = d.device.as_str();
        self.device_info.with_label_values(&[name, d.io]).set(1);
        self.peers
            .with_label_values(&[name])
            .set(signed(d.peer_count));
        let omitted = d.peer_count.saturating_sub(d.peers.len());
        self.peers_omitted
            .with_label_values(&[name])
            .set(signed(omitted));
        for peer in &d.peers {
            let key = peer.public_key.to_base64();
            let labels = [name, key.as_str()];
            self.peer_rx
                .with_label_values(&labels)
                .inc_by(peer.rx_bytes);
            self.peer_tx
                .with_label_values(&labels)
                .inc_by(peer.tx_bytes);
            let when = i64::try_from(peer.last_handshake.secs).unwrap_or(i64::MAX);
            self.peer_handshake.with_label_values(&labels).set(when);
        }
        let h = &d.handshakes;
        self.initiations
            .with_label_values(&[name])
            .inc_by(h.initiations);
        for (role, outcome, n) in [
            ("initiator", "completed", h.completed_initiator),
            ("initiator", "gave-up", h.gave_up),
            ("responder", "completed", h.completed_responder),
        ] {
            self.handshakes
                .with_label_values(&[name, role, outcome])
                .inc_by(n);
        }
        for (reason, n) in d.drops.iter() {
            self.drops
                .with_label_values(&[name, reason.label()])
                .inc_by(n);
        }
        self.queues(name, &d.queues);
        for (index, worker) in d.workers.iter().enumerate() {
            let index = index.to_string();
            for (family, value) in &self.workers {
                family
                    .with_label_values(&[name, index.as_str()])
                    .inc_by(value(worker));
            }
        }
    }

    /// `device` is empty for a queue that all devices share.
    fn queues(&self, device: &str, queues: &[QueueMetrics]) {
        for queue in queues {
            let labels = [device, queue.name];
            self.queue_length
                .with_label_values(&labels)
                .set(signed(queue.length));
            self.queue_capacity
                .with_label_values(&labels)
                .set(signed(queue.capacity));
        }
    }

    fn frames(&self, worker: usize, frames: &FrameMetrics) {
        let worker = worker.to_string();
        let free = frames.total.saturating_sub(frames.in_flight);
        for (state, n) in [("free", free), ("in-flight", frames.in_flight)] {
            let labels = [worker.as_str(), state];
            self.frames.with_label_values(&labels).set(signed(n));
        }
        self.frames_total
            .with_label_values(&[&worker])
            .set(signed(frames.total));
    }

    fn register(self, registry: &Registry) -> prometheus::Result<()> {
        let gauges = [
            self.build_info,
            self.device_info,
            self.peers,
            self.peers_omitted,
            self.peer_handshake,
            self.queue_length,
            self.queue_capacity,
            self.frames,
            self.frames_total,
        ];
        let counters = [
            self.peer_rx,
            self.peer_tx,
            self.initiations,
            self.handshakes,
            self.drops,
        ];
        let boxed = |c| Box::new(c) as Box<dyn Collector>;
        let workers = self.workers.into_iter().map(|(family, _)| family);
        for counter in counters.into_iter().chain(workers).map(boxed) {
            registry.register(counter)?;
        }
        for gauge in gauges {
            registry.register(Box::new(gauge))?;
        }
        for family in self.nics.into_collectors() {
            registry.register(family)?;
        }
        Ok(())
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

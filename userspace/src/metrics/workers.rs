//! The families of workers: what they moved, their buffers, queues and batches.

use super::family::Family;
use super::snapshot::{QueueMetrics, Snapshot, WorkerMetrics};

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

const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// What workers moved, by device.
pub(super) fn moved(snapshot: &Snapshot) -> Vec<Family> {
    let mut families: Vec<(Family, OfWorker)> = WORKER_FAMILIES
        .iter()
        .map(|(name, help, of)| (Family::counter(name, help, &["device", "worker"]), *of))
        .collect();
    for device in &snapshot.devices {
        for (index, worker) in device.workers.iter().enumerate() {
            let labels = [device.device.as_str(), &index.to_string()];
            for (family, of) in &mut families {
                family.add(&labels, of(worker));
            }
        }
    }
    families.into_iter().map(|(family, _)| family).collect()
}

/// Batches: how large, and how long a packet of one takes.
pub(super) fn batches(snapshot: &Snapshot) -> [Family; 3] {
    let device = &["device"];
    let mut size = Family::histogram(
        "ringtun_batch_packets",
        "Packets that were sealed (of one read of the TUN device; those of --fast-forward are not in it) or opened (of one frame of a peer) together. Many in the bucket of 1 at high rates: the kernel coalesces nothing, and each packet pays for a whole batch.",
        &["device", "operation"],
    );
    let mut seal = Family::histogram(
        "ringtun_seal_seconds",
        "Time to cut, pad and encrypt one packet: the mean of its batch, for one batch in 16 that came by the TUN device.",
        device,
    );
    let mut open = Family::histogram(
        "ringtun_open_seconds",
        "Time to authenticate and decrypt one packet: the mean of its batch, for one batch in 16.",
        device,
    );
    for of in &snapshot.devices {
        let (name, batches) = (of.device.as_str(), &of.batches);
        size.add_histogram(&[name, "open"], &batches.open_size, 1.0);
        size.add_histogram(&[name, "seal"], &batches.seal_size, 1.0);
        seal.add_histogram(&[name], &batches.seal_time, NANOSECONDS_PER_SECOND);
        open.add_histogram(&[name], &batches.open_time, NANOSECONDS_PER_SECOND);
    }
    [size, seal, open]
}

/// Sleep and buffers of the threads.
pub(super) fn threads(snapshot: &Snapshot) -> [Family; 3] {
    let mut wakeups = Family::counter(
        "ringtun_worker_wakeups_total",
        "Times that a worker had nothing left to do, slept and woke up. Few at high rates are good: it went from batch to batch.",
        &["worker"],
    );
    let mut frames = Family::gauge(
        "ringtun_frames",
        "Packet buffers of a worker by state. No free ones: packets are dropped as `no-frame`.",
        &["state", "worker"],
    );
    let mut capacity = Family::gauge(
        "ringtun_frames_capacity",
        "Packet buffers of a worker, all there are.",
        &["worker"],
    );
    for (worker, of) in snapshot.frames.iter().enumerate() {
        let worker = worker.to_string();
        wakeups.add(&[&worker], of.wakeups);
        frames.add(&["free", &worker], of.total.saturating_sub(of.in_flight));
        frames.add(&["in-flight", &worker], of.in_flight);
        capacity.add(&[&worker], of.total);
    }
    [wakeups, frames, capacity]
}

/// Queues between threads.
pub(super) fn queues(snapshot: &Snapshot) -> [Family; 2] {
    let labels = &["device", "queue"];
    let mut length = Family::gauge(
        "ringtun_queue_length",
        "Entries in a queue between threads; device is empty for one that all devices share.",
        labels,
    );
    let mut capacity = Family::gauge(
        "ringtun_queue_capacity",
        "Entries that the queue takes before it drops.",
        labels,
    );
    let mut add = |device: &str, queues: &[QueueMetrics]| {
        for queue in queues {
            length.add(&[device, queue.name], queue.length);
            capacity.add(&[device, queue.name], queue.capacity);
        }
    };
    add("", &snapshot.queues);
    for device in &snapshot.devices {
        add(&device.device, &device.queues);
    }
    [length, capacity]
}

//! The metric families of network cards, their rings and the XDP program.

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;

use super::snapshot::NicMetrics;
use crate::bpf::Counts;
use crate::datapath::rings::RingTotals;

/// Where a number of a ring is.
type OfRing = fn(&RingTotals) -> u64;

/// Counters of rings: name, help, where they are.
const COUNTERS: &[(&str, &str, OfRing)] = &[
    (
        "ringtun_ring_rx_packets_total",
        "Frames received through an AF_XDP ring.",
        |r| r.rx_packets,
    ),
    (
        "ringtun_ring_rx_bytes_total",
        "Their bytes, from the Ethernet header on.",
        |r| r.rx_bytes,
    ),
    (
        "ringtun_ring_tx_packets_total",
        "Frames given to the kernel through an AF_XDP ring.",
        |r| r.tx_packets,
    ),
    (
        "ringtun_ring_tx_bytes_total",
        "Their bytes, from the Ethernet header on.",
        |r| r.tx_bytes,
    ),
    (
        "ringtun_ring_tx_full_total",
        "Times that there was no room to transmit and the TUN device had to wait.",
        |r| r.tx_full,
    ),
    (
        "ringtun_ring_tx_wakeups_total",
        "System calls to transmit.",
        |r| r.tx_wakeups,
    ),
    (
        "ringtun_ring_rx_wakeups_total",
        "System calls to receive.",
        |r| r.rx_wakeups,
    ),
    (
        "ringtun_ring_tx_again_total",
        "Calls to transmit that the kernel ended early.",
        |r| r.tx_again,
    ),
    (
        "ringtun_ring_stray_total",
        "Frames dropped because no device of ours listens for them any more, or their IP header is damaged.",
        |r| r.stray,
    ),
    (
        "ringtun_ring_rx_dropped_total",
        "Frames that the kernel dropped: no frame was free to receive into.",
        |r| r.kernel_rx_dropped,
    ),
    (
        "ringtun_ring_rx_full_total",
        "Frames that the kernel dropped: the receive ring was full.",
        |r| r.kernel_rx_full,
    ),
    (
        "ringtun_ring_fill_empty_total",
        "Times that the kernel found no frame to receive into.",
        |r| r.kernel_fill_empty,
    ),
    (
        "ringtun_ring_invalid_total",
        "Descriptors that the kernel refused; always 0.",
        |r| r.kernel_invalid,
    ),
];

const GAUGES: &[(&str, &str, OfRing)] = &[
    (
        "ringtun_ring_failed",
        "1 after the worker gave the ring up; the card is attached anew.",
        |r| r.failed,
    ),
    (
        "ringtun_ring_tx_pending",
        "Slots of the transmit ring in use.",
        |r| r.tx_pending,
    ),
    (
        "ringtun_ring_fill_pending",
        "Frames ready to be received into.",
        |r| r.fill_pending,
    ),
];

/// See the module.
pub(super) struct NicFamilies {
    info: IntGaugeVec,
    counters: Vec<(IntCounterVec, OfRing)>,
    gauges: Vec<(IntGaugeVec, OfRing)>,
    xdp: Vec<IntCounterVec>,
    steered: [IntCounterVec; 2],
}

impl NicFamilies {
    pub(super) fn new() -> prometheus::Result<Self> {
        let ring = ["nic", "queue"];
        let counter = |(name, help, of): &(&str, &str, OfRing)| {
            Ok((IntCounterVec::new(Opts::new(*name, *help), &ring)?, *of))
        };
        let gauge = |(name, help, of): &(&str, &str, OfRing)| {
            Ok((IntGaugeVec::new(Opts::new(*name, *help), &ring)?, *of))
        };
        let xdp = |kind: &'static str, unit: &str, help: &str| {
            let name = format!("ringtun_xdp_{kind}_{unit}_total");
            IntCounterVec::new(Opts::new(name, help), &["side", kind])
        };
        Ok(Self {
            info: IntGaugeVec::new(
                Opts::new(
                    "ringtun_nic_info",
                    "A network card that carries the XDP program; always 1.",
                ),
                &["nic", "driver", "xdp", "transfer"],
            )?,
            counters: COUNTERS
                .iter()
                .map(counter)
                .collect::<prometheus::Result<_>>()?,
            gauges: GAUGES
                .iter()
                .map(gauge)
                .collect::<prometheus::Result<_>>()?,
            xdp: vec![
                xdp(
                    "verdict",
                    "packets",
                    "Frames that the XDP program saw, by what became of them.",
                )?,
                xdp("verdict", "bytes", "Their bytes.")?,
                xdp(
                    "class",
                    "packets",
                    "Frames that the XDP program saw, by what they are.",
                )?,
                xdp("class", "bytes", "Their bytes.")?,
            ],
            steered: [
                IntCounterVec::new(
                    Opts::new(
                        "ringtun_xdp_steered_packets_total",
                        "Frames of tunnels of others that the XDP program handed to a CPU.",
                    ),
                    &["cpu"],
                )?,
                IntCounterVec::new(
                    Opts::new("ringtun_xdp_steered_bytes_total", "Their bytes."),
                    &["cpu"],
                )?,
            ],
        })
    }

    pub(super) fn nic(&self, nic: &NicMetrics) {
        self.info
            .with_label_values(&[&nic.name, &nic.driver, &nic.xdp, &nic.transfer])
            .set(1);
        for (queue, ring) in nic.rings.iter().enumerate() {
            let labels = [nic.name.as_str(), &queue.to_string()];
            for (family, of) in &self.counters {
                family.with_label_values(&labels).inc_by(of(ring));
            }
            for (family, of) in &self.gauges {
                let value = i64::try_from(of(ring)).unwrap_or(i64::MAX);
                family.with_label_values(&labels).set(value);
            }
        }
    }

    pub(super) fn counts(&self, side: &str, counts: &Counts) {
        let [verdict_packets, verdict_bytes, class_packets, class_bytes] = &self.xdp[..] else {
            return;
        };
        let add = |packets: &IntCounterVec, bytes: &IntCounterVec, label, n: Counter| {
            let labels = [side, label];
            packets.with_label_values(&labels).inc_by(n.packets);
            bytes.with_label_values(&labels).inc_by(n.bytes);
        };
        for verdict in Verdict::ALL {
            let n = counts.verdict(*verdict);
            add(verdict_packets, verdict_bytes, verdict.label(), n);
        }
        for class in Class::ALL {
            let n = counts.class(*class);
            add(class_packets, class_bytes, class.label(), n);
        }
    }

    pub(super) fn steered(&self, cpu: u32, counter: Counter) {
        let [packets, bytes] = &self.steered;
        let cpu = cpu.to_string();
        packets.with_label_values(&[&cpu]).inc_by(counter.packets);
        bytes.with_label_values(&[&cpu]).inc_by(counter.bytes);
    }

    pub(super) fn into_collectors(self) -> impl Iterator<Item = Box<dyn Collector>> {
        let boxed = |c| Box::new(c) as Box<dyn Collector>;
        let gauges = self.gauges.into_iter().map(|(family, _)| family);
        let gauges = gauges.chain([self.info]);
        let counters = self.counters.into_iter().map(|(family, _)| family);
        let counters = counters.chain(self.xdp).chain(self.steered).map(boxed);
        counters.chain(gauges.map(|c| Box::new(c) as Box<dyn Collector>))
    }
}

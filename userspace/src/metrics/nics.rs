//! The metric families of network cards, their rings and the XDP program.

use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;

use super::family::Family;
use super::snapshot::Snapshot;
use crate::datapath::rings::RingTotals;

/// Where a number of a ring is.
type OfRing = fn(&RingTotals) -> u64;

/// A family of rings: name, help, where its numbers are.
type RingFamily = (&'static str, &'static str, OfRing);

/// Those that only grow.
const COUNTERS: &[RingFamily] = &[
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

const GAUGES: &[RingFamily] = &[
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

const RING: &[&str] = &["nic", "queue", "side"];

/// Cards and their rings.
pub(super) fn cards(snapshot: &Snapshot) -> Vec<Family> {
    let mut info = Family::gauge(
        "ringtun_nic_info",
        "A network card that carries the XDP program, how (native is the driver's, generic is slow) and whether packets are copied; always 1.",
        &["driver", "nic", "side", "transfer", "xdp"],
    );
    let mut slots = Family::gauge(
        "ringtun_ring_slots",
        "Slots of each AF_XDP ring of a queue: what there is room for.",
        &["nic", "ring"],
    );
    let counter = |(name, help, of): &RingFamily| (Family::counter(name, help, RING), *of);
    let gauge = |(name, help, of): &RingFamily| (Family::gauge(name, help, RING), *of);
    let counters = COUNTERS.iter().map(counter);
    let mut rings: Vec<(Family, OfRing)> = counters.chain(GAUGES.iter().map(gauge)).collect();
    for nic in &snapshot.nics {
        let of = [&nic.driver, &nic.name, nic.side, &nic.transfer, &nic.xdp];
        info.add(&of, 1_u64);
        for (ring, size) in &nic.ring_slots {
            slots.add(&[&nic.name, ring], u64::from(*size));
        }
        for (queue, ring) in nic.rings.iter().enumerate() {
            let labels = [nic.name.as_str(), &queue.to_string(), nic.side];
            for (family, of) in &mut rings {
                family.add(&labels, of(ring));
            }
        }
    }
    let rings = rings.into_iter().map(|(family, _)| family);
    [info, slots].into_iter().chain(rings).collect()
}

/// What the XDP programs counted.
pub(super) fn programs(snapshot: &Snapshot) -> Vec<Family> {
    let verdicts = &["side", "verdict"];
    let classes = &["class", "side"];
    let mut of_verdicts = [
        Family::counter(
            "ringtun_xdp_verdict_packets_total",
            "Frames that the XDP program saw, by what became of them: each has exactly one verdict. `ours` and `forwarded` went to an AF_XDP ring, `steered` to a CPU, all others to the kernel.",
            verdicts,
        ),
        Family::counter("ringtun_xdp_verdict_bytes_total", "Their bytes.", verdicts),
    ];
    let mut of_classes = [
        Family::counter(
            "ringtun_xdp_class_packets_total",
            "Frames that the XDP program saw, by what they are.",
            classes,
        ),
        Family::counter("ringtun_xdp_class_bytes_total", "Their bytes.", classes),
    ];
    let mut steered = [
        Family::counter(
            "ringtun_xdp_steered_packets_total",
            "Frames of tunnels of others that the XDP program handed to a CPU.",
            &["cpu"],
        ),
        Family::counter("ringtun_xdp_steered_bytes_total", "Their bytes.", &["cpu"]),
    ];
    for (side, counts) in &snapshot.xdp {
        for verdict in Verdict::ALL {
            add(
                &mut of_verdicts,
                &[side, verdict.label()],
                counts.verdict(*verdict),
            );
        }
        for class in Class::ALL {
            add(
                &mut of_classes,
                &[class.label(), side],
                counts.class(*class),
            );
        }
    }
    for (cpu, counter) in &snapshot.steered {
        add(&mut steered, &[&cpu.to_string()], *counter);
    }
    let all = of_verdicts.into_iter().chain(of_classes).chain(steered);
    all.collect()
}

fn add([packets, bytes]: &mut [Family; 2], labels: &[&str], counter: Counter) {
    packets.add(labels, counter.packets);
    bytes.add(labels, counter.bytes);
}

//! What a scrape reads of the process's devices.

use std::cell::RefCell;
use std::rc::Rc;

use super::Device;
use crate::control::nics::report::CardReport;
use crate::datapath::handshakes::{INITIATIONS_MAX, REPLIES_MAX};
use crate::datapath::port::EVENTS_MAX;
use crate::metrics::names::Names;
use crate::metrics::snapshot::{BatchMetrics, DropTotals};
use crate::metrics::{
    DeviceMetrics, FrameMetrics, HandshakeMetrics, MetricsSource, NicMetrics, PeerMetrics,
    QueueMetrics, Series, Snapshot, TrafficMetrics, WorkerMetrics,
};
use crate::net::clock;
use crate::tunnel::peer::PeerView;
use crate::xsk::RingSizes;

impl MetricsSource for RefCell<Vec<Rc<RefCell<Device>>>> {
    fn snapshot(&self, series: &Series) -> Snapshot {
        let devices = self.borrow();
        // Threads and their queues belong to the process; any device knows them.
        let (queues, frames) = devices
            .first()
            .map(|device| device.borrow().shared_metrics())
            .unwrap_or_default();
        let nics = devices.first().map(|d| Rc::clone(&d.borrow().nics));
        let sides = nics
            .iter()
            .flat_map(|nics| [("wan", nics.counts()), ("lan", nics.lan_counts())]);
        let xdp = sides
            .filter_map(|(side, counts)| Some((side, counts?)))
            .collect();
        let steered = nics.iter().flat_map(|nics| nics.steered()).collect();
        let cards = nics.iter().flat_map(|nics| {
            let slots = nics.ring_sizes();
            let wan = nics.cards().into_iter().map(|card| ("wan", card));
            let lan = nics.lan().into_iter().filter_map(|lan| lan.forwarding);
            let all = wan.chain(lan.map(|card| ("lan", card)));
            all.map(move |(side, card)| nic(side, card, slots))
        });
        let nics = cards.collect();
        let metrics = |device: &Rc<RefCell<Device>>| device.borrow().metrics(series);
        Snapshot {
            devices: devices.iter().map(metrics).collect(),
            queues,
            frames,
            nics,
            xdp,
            steered,
            names: Names::default(),
        }
    }

    fn failures(&self) -> Vec<String> {
        let devices = self.borrow();
        let first = devices.first().map(|device| device.borrow());
        let plane = first.iter().flat_map(|device| device.plane.ended());
        plane.map(|thread| format!("{thread} ended")).collect()
    }

    fn not_ready(&self) -> Vec<String> {
        let devices = self.borrow();
        let reasons = devices.iter().filter_map(|device| {
            let device = device.borrow();
            let why = if device.core.private_key().is_none() {
                "has no private key"
            } else if !device.up {
                "is down"
            } else if device.sockets.is_empty() {
                "has no socket: its port is taken"
            } else {
                return None;
            };
            Some(format!("{} {why}", device.name))
        });
        reasons.collect()
    }
}

fn nic(side: &'static str, card: CardReport, slots: RingSizes) -> NicMetrics {
    NicMetrics {
        name: card.name,
        side,
        driver: card.driver,
        xdp: card.xdp,
        transfer: card.transfer,
        rings: card.queues,
        ring_slots: [
            ("rx", slots.rx),
            ("tx", slots.tx),
            ("fill", slots.fill),
            ("completion", slots.completion),
        ],
    }
}

fn traffic(peer: PeerView<'_>) -> TrafficMetrics {
    TrafficMetrics {
        rx_bytes: peer.rx_bytes(),
        tx_bytes: peer.tx_bytes(),
        rx_packets: peer.rx_packets(),
        tx_packets: peer.tx_packets(),
    }
}

fn of_peer(peer: PeerView<'_>, details: bool) -> PeerMetrics {
    PeerMetrics {
        public_key: *peer.public(),
        traffic: traffic(peer),
        last_handshake: peer.last_handshake().unwrap_or_default(),
        keepalive: peer.keepalive(),
        endpoint: details.then(|| peer.endpoint()).flatten(),
        allowed_ips: if details {
            peer.allowed_ips().collect()
        } else {
            Vec::new()
        },
    }
}

impl Device {
    fn metrics(&self, series: &Series) -> DeviceMetrics {
        let tunnel = &self.tunnel;
        let mut all = self.core.peers();
        let details = series.needs_details();
        let first = all.by_ref().take(series.max_peers);
        let peers: Vec<_> = first.map(|peer| of_peer(peer, details)).collect();
        let mut rest = TrafficMetrics::default();
        all.for_each(|peer| rest.add(&traffic(peer)));
        let staged = self.core.peers().map(|peer| peer.cell().staged.len());
        let counted = &self.handshakes;
        let roamed: u64 = tunnel.workers.iter().map(|w| w.roamed.get()).sum();
        DeviceMetrics {
            device: self.name.to_string(),
            public_key: self.core.public_key().copied(),
            up: self.up,
            io: self.nics.report(tunnel).io,
            peer_count: self.core.peers().len(),
            peers,
            rest,
            staged: staged.sum(),
            under_load: tunnel.shared.gate.load.is_loaded(clock::boot()),
            endpoint_changes: roamed + counted.roamed,
            handshakes: HandshakeMetrics {
                initiations: counted.initiations_sent,
                responses: counted.responses_sent,
                completed_initiator: counted.completed_initiator,
                completed_responder: counted.completed_responder,
                gave_up: counted.gave_up,
                rekeys: counted.rekeys,
                stopped_answering: counted.stopped_answering,
                cookies_received: counted.cookies_received,
            },
            drops: DropTotals::collect(|reason| tunnel.dropped(reason)),
            queues: vec![QueueMetrics {
                name: "events",
                length: tunnel.events_waiting(),
                capacity: EVENTS_MAX,
            }],
            workers: tunnel
                .workers
                .iter()
                .map(|w| WorkerMetrics::from(&**w))
                .collect(),
            batches: BatchMetrics::collect(tunnel.workers.iter().map(|w| &**w)),
        }
    }

    fn shared_metrics(&self) -> (Vec<QueueMetrics>, Vec<FrameMetrics>) {
        let (initiations, replies) = self.plane.queues().len();
        let queue = |name, length, capacity| QueueMetrics {
            name,
            length,
            capacity,
        };
        let queues = vec![
            queue("initiations", initiations, INITIATIONS_MAX),
            queue("replies", replies, REPLIES_MAX),
        ];
        let frames = self.plane.workers().iter().map(|worker| FrameMetrics {
            wakeups: worker.wakeups(),
            total: worker.frames().total(),
            in_flight: worker.frames().outstanding(),
        });
        (queues, frames.collect())
    }
}

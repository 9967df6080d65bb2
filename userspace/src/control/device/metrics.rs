//! What a scrape reads of the process's devices.

use std::cell::RefCell;
use std::rc::Rc;

use super::Device;
use crate::control::nics::report::CardReport;
use crate::datapath::handshakes::{INITIATIONS_MAX, REPLIES_MAX};
use crate::datapath::port::EVENTS_MAX;
use crate::metrics::snapshot::DropTotals;
use crate::metrics::{
    DeviceMetrics, FrameMetrics, HandshakeMetrics, MetricsSource, NicMetrics, PeerMetrics,
    QueueMetrics, Snapshot, WorkerMetrics,
};

impl MetricsSource for RefCell<Vec<Rc<RefCell<Device>>>> {
    fn snapshot(&self, max_peers: usize) -> Snapshot {
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
        let nics = nics.iter().flat_map(|nics| nics.cards()).map(nic).collect();
        let metrics = |device: &Rc<RefCell<Device>>| device.borrow().metrics(max_peers);
        Snapshot {
            devices: devices.iter().map(metrics).collect(),
            queues,
            frames,
            nics,
            xdp,
            steered,
        }
    }
}

fn nic(card: CardReport) -> NicMetrics {
    NicMetrics {
        name: card.name,
        driver: card.driver,
        xdp: card.xdp,
        transfer: card.transfer,
        rings: card.queues,
    }
}

impl Device {
    fn metrics(&self, max_peers: usize) -> DeviceMetrics {
        let tunnel = &self.tunnel;
        let peers = self.core.peers().take(max_peers).map(|peer| PeerMetrics {
            public_key: *peer.public(),
            rx_bytes: peer.rx_bytes(),
            tx_bytes: peer.tx_bytes(),
            last_handshake: peer.last_handshake().unwrap_or_default(),
        });
        let counted = &self.handshakes;
        DeviceMetrics {
            device: self.name.to_string(),
            io: self.nics.report(tunnel).io,
            peer_count: self.core.peers().len(),
            peers: peers.collect(),
            handshakes: HandshakeMetrics {
                initiations: counted.initiations_sent,
                completed_initiator: counted.completed_initiator,
                completed_responder: counted.completed_responder,
                gave_up: counted.gave_up,
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
            total: worker.frames().total(),
            in_flight: worker.frames().outstanding(),
        });
        (queues, frames.collect())
    }
}

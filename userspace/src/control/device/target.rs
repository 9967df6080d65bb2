//! What `wg` and `ringtun show` may ask of a device.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;

use super::{Device, DeviceError};
use crate::bpf::{self, Counts};
use crate::control::capture::{Capture, CaptureRequest};
use crate::control::errno::Errno;
use crate::control::names::InterfaceName;
use crate::control::nics::Nics;
use crate::control::options::IoMode;
use crate::control::uapi::{
    CountInfo, DeviceInfo, DeviceState, PeerChange, PeerState, QueueInfo, SetOp, UapiTarget,
    WorkerInfo,
};
use crate::crypto::PublicKey;
use crate::datapath::handshakes::{INITIATIONS_MAX, REPLIES_MAX};
use crate::datapath::taps::Wants;
use crate::drops::DropReason;
use crate::net::clock;
use crate::net::udp::BindError;

impl UapiTarget for Device {
    fn public_key(&self) -> Option<PublicKey> {
        self.core.public_key().copied()
    }

    fn has_peer(&self, peer: &PublicKey) -> bool {
        self.core.peer(peer).is_some()
    }

    fn apply(&mut self, op: SetOp) -> Result<(), Errno> {
        let now = clock::boot();
        match op {
            SetOp::PrivateKey(key) => self.core.set_private_key(now, key),
            SetOp::ListenPort(port) => {
                return self
                    .set_listen_port(port)
                    .map_err(|error| errno(&self.name, error));
            }
            SetOp::FwMark(mark) => {
                return self
                    .set_fwmark(mark)
                    .map_err(|error| errno(&self.name, error));
            }
            SetOp::RemoveAllPeers => self.core.remove_all_peers(),
            SetOp::AddPeer(peer) => {
                self.core.add_peer(peer);
            }
            SetOp::RemovePeer(peer) => {
                self.core.remove_peer(&peer);
            }
            SetOp::ChangePeer(peer, change) => self.change(&peer, change),
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Errno> {
        self.core.publish();
        self.pump();
        self.nics.inside_changed();
        self.want_exits();
        Ok(())
    }

    fn set_io(&mut self, mode: IoMode) -> Result<(), Errno> {
        if mode == IoMode::Xdp && bpf::embedded().is_none() {
            return Err(Errno::NOT_SUPPORTED);
        }
        self.nics.set_mode(&self.tunnel, mode);
        self.want_exits();
        Ok(())
    }

    fn capture(&mut self, request: &CaptureRequest) -> Result<Capture, Errno> {
        let snapshot = self.tunnel.shared.snapshot();
        let cell_of = |key| {
            let cell = snapshot.peers.values().find(|cell| *cell.public() == key);
            let cell = cell.ok_or(Errno::NOT_FOUND)?;
            Ok::<_, Errno>((key, Arc::downgrade(cell)))
        };
        let wants = Wants {
            outer: request.sides.outer(),
            inner: request.sides.inner(),
            snap: request.snap as usize,
            peer: request.peer.map(cell_of).transpose()?,
        };
        let cards = self.nics.report(&self.tunnel).cards;
        let cards: Vec<_> = cards.iter().map(|card| card.name.as_str()).collect();
        let outer = if cards.is_empty() {
            "udp".to_owned()
        } else {
            cards.join(",")
        };
        let attached = self.tunnel.taps.attach(wants).ok_or(Errno::BUSY)?;
        let inner = self.name.as_str();
        tracing::info!(
            event = "capture_started",
            device = inner,
            sides = request.sides.label(),
            "a capture begins"
        );
        Capture::new(attached, request, inner, &outer).map_err(|error| Errno::from_io(&error))
    }

    fn state(&self) -> DeviceState {
        let peers = self.core.peers().map(|peer| PeerState {
            public_key: *peer.public(),
            preshared_key: peer.preshared().clone(),
            endpoint: peer.endpoint(),
            keepalive: peer.keepalive(),
            last_handshake: peer.last_handshake().unwrap_or_default(),
            rx_bytes: peer.rx_bytes(),
            tx_bytes: peer.tx_bytes(),
            allowed_ips: peer.allowed_ips().collect(),
        });
        DeviceState {
            private_key: self.core.private_key().cloned(),
            listen_port: self.port(),
            fwmark: self.fwmark,
            peers: peers.collect(),
        }
    }

    fn info(&self) -> DeviceInfo {
        let tunnel = &self.tunnel;
        let workers = tunnel.workers.iter().map(|w| WorkerInfo {
            rx_packets: w.outer_rx_packets.get(),
            rx_bytes: w.outer_rx_bytes.get(),
            tx_packets: w.outer_tx_packets.get(),
            tx_bytes: w.outer_tx_bytes.get(),
        });
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| (reason.label().to_owned(), tunnel.dropped(reason)));
        let (initiations, replies) = self.plane.queues().len();
        let queue = |length: usize, capacity: usize| QueueInfo {
            length: length as u64,
            capacity: capacity as u64,
        };
        let io = self.nics.report(tunnel);
        let (counts, lan) = (self.nics.counts(), self.nics.lan_counts());
        DeviceInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            io: io.io.to_owned(),
            io_reason: io.reason,
            io_asked: io.asked.to_owned(),
            io_pending: io.pending,
            io_waits: io.waits,
            by_socket: io.by_socket,
            cards: io.cards,
            ring_slots: ring_slots(&self.nics),
            verdicts: counts.as_ref().map(verdicts).unwrap_or_default(),
            classes: counts.as_ref().map(classes).unwrap_or_default(),
            lan: self.nics.lan(),
            lan_verdicts: lan.as_ref().map(verdicts).unwrap_or_default(),
            steering: self.nics.steering(),
            steered: steered(&self.nics),
            mtu: u32::try_from(tunnel.mtu()).unwrap_or(u32::MAX),
            up: self.up,
            metrics: self.metrics.map(|address| address.to_string()),
            workers: workers.collect(),
            drops: drops.collect(),
            queues: [
                ("initiations", queue(initiations, INITIATIONS_MAX)),
                ("replies", queue(replies, REPLIES_MAX)),
            ]
            .map(|(name, info)| (name.to_owned(), info))
            .into(),
        }
    }
}

impl Device {
    fn change(&mut self, peer: &PublicKey, change: PeerChange) {
        let now = clock::boot();
        let core = &mut self.core;
        // A peer that another client removed meanwhile is not an error.
        let _known = match change {
            PeerChange::PresharedKey(key) => core.set_preshared_key(peer, key),
            PeerChange::Endpoint(address) => core.set_endpoint(now, peer, address),
            PeerChange::Keepalive(seconds) => core.set_keepalive(now, peer, seconds),
            PeerChange::ClearAllowedIps => core.clear_allowed_ips(peer),
            PeerChange::AddAllowedIp(prefix) => core.add_allowed_ip(peer, prefix),
            PeerChange::RemoveAllowedIp(prefix) => core.remove_allowed_ip(peer, prefix),
        };
    }
}

fn verdicts(counts: &Counts) -> BTreeMap<String, CountInfo> {
    let labelled = Verdict::ALL
        .iter()
        .map(|verdict| (verdict.label(), counts.verdict(*verdict)));
    labelled.map(count_info).collect()
}

fn classes(counts: &Counts) -> BTreeMap<String, CountInfo> {
    let labelled = Class::ALL
        .iter()
        .map(|class| (class.label(), counts.class(*class)));
    labelled.map(count_info).collect()
}

fn ring_slots(nics: &Nics) -> BTreeMap<String, u64> {
    let slots = nics.ring_sizes();
    [
        ("rx", slots.rx),
        ("tx", slots.tx),
        ("fill", slots.fill),
        ("completion", slots.completion),
    ]
    .map(|(kind, slots)| (kind.to_owned(), slots.into()))
    .into()
}

fn steered(nics: &Nics) -> BTreeMap<u32, CountInfo> {
    let counted = nics.steered().into_iter();
    counted
        .map(|(cpu, counter)| (cpu, count_info(("", counter)).1))
        .collect()
}

fn count_info((label, counter): (&str, Counter)) -> (String, CountInfo) {
    let info = CountInfo {
        packets: counter.packets,
        bytes: counter.bytes,
    };
    (label.to_owned(), info)
}

/// The number that `wg` is told; the log gets the whole story.
fn errno(name: &InterfaceName, error: DeviceError) -> Errno {
    tracing::warn!(event = "change_refused", device = %name, %error, "a change was refused");
    match &error {
        DeviceError::Bind(BindError::InUse { .. }) => Errno::ADDRESS_IN_USE,
        DeviceError::Bind(BindError::NoCapability { .. }) => Errno::NOT_PERMITTED,
        DeviceError::Io { source, .. } => Errno::from_io(source),
        _ => Errno::IO,
    }
}

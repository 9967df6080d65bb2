//! `ringtun_peer_*`: the families of one peer.

use super::family::Family;
use super::labels::Labels;
use super::names::Names;
use super::snapshot::{DeviceMetrics, TrafficMetrics};

/// In place of a key: the peers that have no series of their own, together. No
/// key looks like it.
pub const OTHERS: &str = "others";

const PEER: &[&str] = &["device", "public_key"];

/// See the module.
pub(super) struct PeerFamilies {
    info: Family,
    rx_bytes: Family,
    tx_bytes: Family,
    rx_packets: Family,
    tx_packets: Family,
    handshake: Family,
    keepalive: Family,
}

impl PeerFamilies {
    pub(super) fn new() -> Self {
        Self {
            info: Family::gauge(
                "ringtun_peer_info",
                "A peer and its `# friendly_name` in the wg-quick file, if one is known; always 1. Join it to other series of the peer: `* on (device, public_key) group_left (friendly_name) ringtun_peer_info`.",
                &["device", "friendly_name", "public_key"],
            ),
            rx_bytes: Family::counter(
                "ringtun_peer_rx_bytes_total",
                "Bytes received from the peer as `wg show` counts them: UDP payload of data and handshakes that authenticated. public_key=\"others\" is all peers beyond the limit together.",
                PEER,
            ),
            tx_bytes: Family::counter(
                "ringtun_peer_tx_bytes_total",
                "Bytes sent to the peer as `wg show` counts them: UDP payload of data and handshakes.",
                PEER,
            ),
            rx_packets: Family::counter(
                "ringtun_peer_rx_packets_total",
                "Data packets received from the peer, keepalives included, handshakes not. Standing still while packets are sent and handshakes succeed: the way back carries no data.",
                PEER,
            ),
            tx_packets: Family::counter(
                "ringtun_peer_tx_packets_total",
                "Data packets sealed for the peer, keepalives included, handshakes not.",
                PEER,
            ),
            handshake: Family::gauge(
                "ringtun_peer_last_handshake_seconds",
                "When the last handshake with the peer completed, Unix time; 0 if none did. A peer that is used renews every 120 s; one that is not used makes none, which is no fault.",
                PEER,
            ),
            keepalive: Family::gauge(
                "ringtun_peer_keepalive_interval_seconds",
                "Interval of persistent keepalives; only for peers that have one. Such a peer is to have a handshake younger than 180 s at any time.",
                PEER,
            ),
        }
    }

    pub(super) fn add(&mut self, device: &DeviceMetrics, names: &Names) {
        let of = device.device.as_str();
        let mut labels = Labels::new(PEER);
        for peer in &device.peers {
            let key = peer.public_key.to_base64();
            let name = names.get(&peer.public_key).map_or("", String::as_str);
            self.info.add(&[of, name, &key], 1_u64);
            labels.set(&[of, &key]);
            self.traffic(&labels, &peer.traffic);
            self.handshake.add_to(&labels, peer.last_handshake.secs);
            if peer.keepalive > 0 {
                self.keepalive.add_to(&labels, u64::from(peer.keepalive));
            }
        }
        if device.peer_count > device.peers.len() {
            labels.set(&[of, OTHERS]);
            self.traffic(&labels, &device.rest);
        }
    }

    fn traffic(&mut self, labels: &Labels, traffic: &TrafficMetrics) {
        self.rx_bytes.add_to(labels, traffic.rx_bytes);
        self.tx_bytes.add_to(labels, traffic.tx_bytes);
        self.rx_packets.add_to(labels, traffic.rx_packets);
        self.tx_packets.add_to(labels, traffic.tx_packets);
    }

    pub(super) fn into_families(self) -> impl Iterator<Item = Family> {
        [
            self.info,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_packets,
            self.tx_packets,
            self.handshake,
            self.keepalive,
        ]
        .into_iter()
    }
}

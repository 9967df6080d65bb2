//! The families of two exporters that people have dashboards for, so that those
//! go on working.

use std::net::SocketAddr;

use super::family::Family;
use super::names::Names;
use super::snapshot::{PeerMetrics, Snapshot};
use crate::tunnel::allowed_ips::Prefix;

/// Characters of the label `allowed_ips`: a peer may have thousands.
const ALLOWED_IPS_MAX: usize = 1024;

/// Of `prometheus_wireguard_exporter`, as with its options `-r` and `-n`.
pub(super) fn prometheus_wireguard_exporter(snapshot: &Snapshot) -> [Family; 3] {
    let labels = &[
        "allowed_ips",
        "friendly_name",
        "interface",
        "public_key",
        "remote_ip",
        "remote_port",
    ];
    let mut sent = Family::counter(
        "wireguard_sent_bytes_total",
        "Bytes sent to the peer.",
        labels,
    );
    let mut received = Family::counter(
        "wireguard_received_bytes_total",
        "Bytes received from the peer.",
        labels,
    );
    let mut handshake = Family::gauge(
        "wireguard_latest_handshake_seconds",
        "When the last handshake with the peer completed, Unix time; 0 if none did.",
        labels,
    );
    for (device, peer) in peers(snapshot) {
        let key = peer.public_key.to_base64();
        let allowed_ips = joined(&peer.allowed_ips);
        let ip = peer.endpoint.map(|at| at.ip().to_string());
        let port = peer.endpoint.map(|at| at.port().to_string());
        let labels = [
            allowed_ips.as_str(),
            name(&snapshot.names, peer),
            device,
            &key,
            ip.as_deref().unwrap_or_default(),
            port.as_deref().unwrap_or_default(),
        ];
        sent.add(&labels, peer.traffic.tx_bytes);
        received.add(&labels, peer.traffic.rx_bytes);
        handshake.add(&labels, peer.last_handshake.secs);
    }
    [sent, received, handshake]
}

/// Of `wireguard_exporter`.
pub(super) fn wireguard_exporter(snapshot: &Snapshot) -> [Family; 6] {
    let of_peer = &["device", "public_key"];
    let mut device_info = Family::gauge(
        "wireguard_device_info",
        "A device and its own public key; always 1.",
        of_peer,
    );
    let mut info = Family::gauge(
        "wireguard_peer_info",
        "A peer: its key, not the device's, where it is, and its name; always 1.",
        &["device", "endpoint", "name", "public_key"],
    );
    let mut allowed_ips = Family::gauge(
        "wireguard_peer_allowed_ips_info",
        "An address range of a peer, the first 64 of each; always 1.",
        &["allowed_ips", "device", "family", "public_key"],
    );
    let mut received = Family::counter(
        "wireguard_peer_receive_bytes_total",
        "Bytes received from the peer.",
        of_peer,
    );
    let mut sent = Family::counter(
        "wireguard_peer_transmit_bytes_total",
        "Bytes sent to the peer.",
        of_peer,
    );
    let mut handshake = Family::gauge(
        "wireguard_peer_last_handshake_seconds",
        "When the last handshake with the peer completed, Unix time; 0 if none did.",
        of_peer,
    );
    for device in &snapshot.devices {
        let key = device.public_key.map(|key| key.to_base64());
        device_info.add(&[&device.device, &key.unwrap_or_default()], 1_u64);
    }
    for (device, peer) in peers(snapshot) {
        let key = peer.public_key.to_base64();
        let labels = [device, key.as_str()];
        let endpoint = peer.endpoint.as_ref().map(SocketAddr::to_string);
        let endpoint = endpoint.unwrap_or_default();
        info.add(
            &[device, &endpoint, name(&snapshot.names, peer), &key],
            1_u64,
        );
        for range in peer.allowed_ips.iter().take(RANGES_MAX) {
            let range = range.to_string();
            let family = if range.contains(':') { "IPv6" } else { "IPv4" };
            allowed_ips.add(&[&range, device, family, &key], 1_u64);
        }
        received.add(&labels, peer.traffic.rx_bytes);
        sent.add(&labels, peer.traffic.tx_bytes);
        handshake.add(&labels, peer.last_handshake.secs);
    }
    [device_info, info, allowed_ips, received, sent, handshake]
}

/// Series of `wireguard_peer_allowed_ips_info` that one peer makes at most.
pub const RANGES_MAX: usize = 64;

fn peers(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &PeerMetrics)> {
    let devices = snapshot.devices.iter();
    devices.flat_map(|device| device.peers.iter().map(|peer| (&*device.device, peer)))
}

fn name<'a>(names: &'a Names, peer: &PeerMetrics) -> &'a str {
    names.get(&peer.public_key).map_or("", String::as_str)
}

fn joined(ranges: &[Prefix]) -> String {
    let mut all = String::new();
    for range in ranges {
        if !all.is_empty() {
            all.push(',');
        }
        if all.len() > ALLOWED_IPS_MAX {
            all.push('…');
            break;
        }
        all += &range.to_string();
    }
    all
}

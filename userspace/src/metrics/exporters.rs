//! The families of two exporters that people have dashboards for, so that those
//! go on working.

use std::fmt::{Display, Write as _};

use super::family::Family;
use super::labels::Labels;
use super::names::Names;
use super::snapshot::{PeerMetrics, Snapshot};
use crate::tunnel::allowed_ips::Prefix;

/// Characters of the label `allowed_ips`: a peer may have thousands.
const ALLOWED_IPS_MAX: usize = 1024;

/// Of `prometheus_wireguard_exporter`, as with its options `-r` and `-n`.
pub(super) fn prometheus_wireguard_exporter(snapshot: &Snapshot) -> [Family; 3] {
    const LABELS: &[&str] = &[
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
        LABELS,
    );
    let mut received = Family::counter(
        "wireguard_received_bytes_total",
        "Bytes received from the peer.",
        LABELS,
    );
    let mut handshake = Family::gauge(
        "wireguard_latest_handshake_seconds",
        "When the last handshake with the peer completed, Unix time; 0 if none did.",
        LABELS,
    );
    let mut labels = Labels::new(LABELS);
    let [mut allowed_ips, mut ip, mut port] = [const { String::new() }; 3];
    for (device, peer) in peers(snapshot) {
        let key = peer.public_key.to_base64();
        joined(&mut allowed_ips, &peer.allowed_ips);
        write(&mut ip, peer.endpoint.map(|at| at.ip()));
        write(&mut port, peer.endpoint.map(|at| at.port()));
        labels.set(&[
            &allowed_ips,
            name(&snapshot.names, peer),
            device,
            &key,
            &ip,
            &port,
        ]);
        sent.add_to(&labels, peer.traffic.tx_bytes);
        received.add_to(&labels, peer.traffic.rx_bytes);
        handshake.add_to(&labels, peer.last_handshake.secs);
    }
    [sent, received, handshake]
}

/// Of `wireguard_exporter`.
pub(super) fn wireguard_exporter(snapshot: &Snapshot) -> [Family; 6] {
    const OF_PEER: &[&str] = &["device", "public_key"];
    let mut device_info = Family::gauge(
        "wireguard_device_info",
        "A device and its own public key; always 1.",
        OF_PEER,
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
        OF_PEER,
    );
    let mut sent = Family::counter(
        "wireguard_peer_transmit_bytes_total",
        "Bytes sent to the peer.",
        OF_PEER,
    );
    let mut handshake = Family::gauge(
        "wireguard_peer_last_handshake_seconds",
        "When the last handshake with the peer completed, Unix time; 0 if none did.",
        OF_PEER,
    );
    for device in &snapshot.devices {
        let key = device.public_key.map(|key| key.to_base64());
        device_info.add(&[&device.device, &key.unwrap_or_default()], 1_u64);
    }
    let mut labels = Labels::new(OF_PEER);
    let [mut endpoint, mut address] = [const { String::new() }; 2];
    for (device, peer) in peers(snapshot) {
        let key = peer.public_key.to_base64();
        write(&mut endpoint, peer.endpoint);
        info.add(
            &[device, &endpoint, name(&snapshot.names, peer), &key],
            1_u64,
        );
        for range in peer.allowed_ips.iter().take(RANGES_MAX) {
            write(&mut address, Some(range));
            let family = if address.contains(':') {
                "IPv6"
            } else {
                "IPv4"
            };
            allowed_ips.add(&[&address, device, family, &key], 1_u64);
        }
        labels.set(&[device, &key]);
        received.add_to(&labels, peer.traffic.rx_bytes);
        sent.add_to(&labels, peer.traffic.tx_bytes);
        handshake.add_to(&labels, peer.last_handshake.secs);
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

/// What is there, in place of what the text was.
fn write(text: &mut String, value: Option<impl Display>) {
    text.clear();
    if let Some(value) = value {
        // A string takes everything.
        let _ = write!(text, "{value}");
    }
}

fn joined(all: &mut String, ranges: &[Prefix]) {
    all.clear();
    for range in ranges {
        if !all.is_empty() {
            all.push(',');
        }
        if all.len() > ALLOWED_IPS_MAX {
            all.push('…');
            break;
        }
        let _ = write!(all, "{range}");
    }
}

//! `show --json`.

use anyhow::Result;
use serde::Serialize;

use super::show::Shown;
use crate::control::uapi::{DeviceInfo, PeerState};
use crate::crypto::PrivateKey;

/// Fields are only ever added.
#[derive(Serialize)]
struct Device<'a> {
    name: &'a str,
    public_key: Option<String>,
    listen_port: u16,
    fwmark: u32,
    peers: Vec<Peer<'a>>,
    #[serde(flatten)]
    info: Option<&'a DeviceInfo>,
}

#[derive(Serialize)]
struct Peer<'a> {
    public_key: String,
    /// Of the tunnel's file.
    friendly_name: Option<&'a str>,
    preshared_key: bool,
    endpoint: Option<String>,
    allowed_ips: Vec<String>,
    /// Unix time in seconds; null while there was none.
    latest_handshake: Option<u64>,
    rx_bytes: u64,
    tx_bytes: u64,
    /// Seconds; 0 is off.
    persistent_keepalive: u16,
}

pub fn render(devices: &[Shown], single: bool) -> Result<String> {
    let devices: Vec<Device<'_>> = devices.iter().map(device).collect();
    let text = match devices.as_slice() {
        [device] if single => serde_json::to_string_pretty(device),
        all => serde_json::to_string_pretty(all),
    }?;
    Ok(text + "\n")
}

fn device(shown: &Shown) -> Device<'_> {
    let public = shown.state.private_key.as_ref().map(PrivateKey::public);
    Device {
        name: shown.name.as_str(),
        public_key: public.map(|k| k.to_base64()),
        listen_port: shown.state.listen_port,
        fwmark: shown.state.fwmark,
        peers: shown.state.peers.iter().map(|p| peer(p, shown)).collect(),
        info: shown.info.as_ref(),
    }
}

fn peer<'a>(peer: &PeerState, shown: &'a Shown) -> Peer<'a> {
    let handshake = peer.last_handshake.secs;
    Peer {
        public_key: peer.public_key.to_base64(),
        friendly_name: shown.names.get(&peer.public_key).map(String::as_str),
        preshared_key: peer.preshared_key.is_set(),
        endpoint: peer.endpoint.map(|e| e.to_string()),
        allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
        latest_handshake: (handshake != 0).then_some(handshake),
        rx_bytes: peer.rx_bytes,
        tx_bytes: peer.tx_bytes,
        persistent_keepalive: peer.keepalive,
    }
}

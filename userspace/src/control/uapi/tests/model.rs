//! A device that only remembers what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::capture::{Capture, CaptureRequest};
use crate::control::errno::Errno;
use crate::control::options::IoMode;
use crate::control::uapi::{DeviceInfo, DeviceState, PeerChange, PeerState, SetOp, UapiTarget};
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};
use crate::datapath::taps::{Taps, Wants};

/// Refused by [`Model`], so that a device's refusal can be provoked.
pub const PORT_IN_USE: u16 = 9;

#[derive(Default)]
pub struct Model {
    pub private_key: Option<PrivateKey>,
    pub listen_port: u16,
    pub fwmark: u32,
    pub peers: BTreeMap<PublicKey, PeerState>,
    pub commits: usize,
    pub added: usize,
    pub removed: usize,
    pub dirty: bool,
    pub io: IoMode,
    pub taps: Arc<Taps>,
}

impl Model {
    fn change(&mut self, key: PublicKey, change: PeerChange) {
        if let PeerChange::AddAllowedIp(prefix) = &change {
            for peer in self.peers.values_mut() {
                peer.allowed_ips.retain(|p| p != prefix);
            }
        }
        let peer = self.peers.get_mut(&key).expect("the session checks first");
        match change {
            PeerChange::PresharedKey(psk) => peer.preshared_key = psk,
            PeerChange::Endpoint(endpoint) => peer.endpoint = Some(endpoint),
            PeerChange::Keepalive(seconds) => peer.keepalive = seconds,
            PeerChange::ClearAllowedIps => peer.allowed_ips.clear(),
            PeerChange::AddAllowedIp(prefix) => peer.allowed_ips.push(prefix),
            PeerChange::RemoveAllowedIp(prefix) => peer.allowed_ips.retain(|p| *p != prefix),
        }
    }
}

impl UapiTarget for Model {
    fn public_key(&self) -> Option<PublicKey> {
        self.private_key.as_ref().map(PrivateKey::public)
    }

    fn has_peer(&self, peer: &PublicKey) -> bool {
        self.peers.contains_key(peer)
    }

    fn apply(&mut self, op: SetOp) -> Result<(), Errno> {
        self.dirty = true;
        match op {
            SetOp::PrivateKey(key) => self.private_key = key,
            SetOp::ListenPort(PORT_IN_USE) => return Err(Errno::ADDRESS_IN_USE),
            SetOp::ListenPort(port) => self.listen_port = port,
            SetOp::FwMark(mark) => self.fwmark = mark,
            SetOp::RemoveAllPeers => self.peers.clear(),
            SetOp::AddPeer(key) => {
                self.added += 1;
                assert!(self.peers.insert(key, PeerState::new(key)).is_none());
            }
            SetOp::RemovePeer(key) => {
                self.removed += 1;
                assert!(self.peers.remove(&key).is_some());
            }
            SetOp::ChangePeer(key, change) => self.change(key, change),
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Errno> {
        self.dirty = false;
        self.commits += 1;
        Ok(())
    }

    fn state(&self) -> DeviceState {
        DeviceState {
            private_key: self.private_key.clone(),
            listen_port: self.listen_port,
            fwmark: self.fwmark,
            peers: self.peers.values().map(clone_peer).collect(),
        }
    }

    fn set_io(&mut self, mode: IoMode) -> Result<(), Errno> {
        self.io = mode;
        Ok(())
    }

    fn capture(&mut self, request: &CaptureRequest) -> Result<Capture, Errno> {
        if request.peer.is_some() {
            return Err(Errno::NOT_FOUND);
        }
        let wants = Wants {
            outer: request.sides.outer(),
            inner: request.sides.inner(),
            snap: request.snap as usize,
            peer: None,
        };
        let attached = self.taps.attach(wants).ok_or(Errno::BUSY)?;
        Ok(Capture::new(attached, request, "rt0", "udp").expect("memory"))
    }

    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            version: "9.9.9".into(),
            pid: 4711,
            ..DeviceInfo::default()
        }
    }
}

fn clone_peer(peer: &PeerState) -> PeerState {
    PeerState {
        preshared_key: PresharedKey::from_bytes(peer.preshared_key.expose()),
        allowed_ips: peer.allowed_ips.clone(),
        ..*peer
    }
}

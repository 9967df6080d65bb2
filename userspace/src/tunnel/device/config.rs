//! Configuration: the private key, peers and what belongs to them, link state.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::allowed_ips::Prefix;
use super::super::cell::{PeerCell, PeerId};
use super::super::endpoint::Endpoint;
use super::super::handshake_keys::HandshakeKeys;
use super::super::identity::Identity;
use super::super::peer::{Peer, PeerView};
use super::super::time::BootTime;
use super::super::timers::TimerReason;
use super::Device;
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};
use std::time::Duration;

/// What [`Device::add_peer`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddPeer {
    /// A new peer.
    Added,
    /// It was there already.
    Known,
    /// The key is our own: a device is no peer of itself. Ignored, as Linux
    /// does.
    Ourselves,
}

impl Device {
    /// Sets or forgets the private key. A change ends all sessions and
    /// handshakes, and removes a peer that would be ourselves.
    pub fn set_private_key(&mut self, now: BootTime, key: Option<PrivateKey>) {
        if self.identity.as_ref().map(|i| i.private()) == key.as_ref() {
            return;
        }
        self.identity = key.map(|k| Arc::new(Identity::new(k)));
        self.generation += 1;
        if let Some(identity) = self.identity.clone() {
            self.remove_peer(identity.public());
        }
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            self.forget_sessions(id);
            self.renew_keys(id);
            self.resume(now, id);
        }
    }

    /// The private key.
    #[must_use]
    pub fn private_key(&self) -> Option<&PrivateKey> {
        self.identity.as_ref().map(|i| i.private())
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.identity.as_ref().map(|i| i.public())
    }

    /// Adds a peer.
    pub fn add_peer(&mut self, public: PublicKey) -> AddPeer {
        if self.public_key() == Some(&public) {
            return AddPeer::Ourselves;
        }
        if self.ids.contains_key(&public) {
            return AddPeer::Known;
        }
        let id = PeerId(self.next_id);
        self.next_id += 1;
        let cell = Arc::new(PeerCell::new(id, public, Arc::clone(&self.notifier)));
        Arc::make_mut(&mut self.cells).insert(public, Arc::clone(&cell));
        self.ids.insert(public, id);
        self.peers.insert(id, Peer::new(cell));
        self.renew_keys(id);
        AddPeer::Added
    }

    /// Removes a peer with its sessions and AllowedIPs; false if there is none.
    pub fn remove_peer(&mut self, public: &PublicKey) -> bool {
        let Some(id) = self.ids.remove(public) else {
            return false;
        };
        self.forget_sessions(id);
        self.timers.cancel_all(id);
        if let Some(peer) = self.peers.remove(&id) {
            for prefix in peer.allowed_ips.iter() {
                self.allowed_ips.remove(prefix);
            }
            peer.cell.set_removed();
            peer.cell.keys.store(None);
            self.purge_staged(&peer.cell);
        }
        Arc::make_mut(&mut self.cells).remove(public);
        true
    }

    /// Removes all peers.
    pub fn remove_all_peers(&mut self) {
        let all: Vec<_> = self.ids.keys().copied().collect();
        for public in all {
            self.remove_peer(&public);
        }
    }

    /// All peers, in the order in which they were added.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = PeerView<'_>> {
        self.peers.values().map(PeerView)
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, public: &PublicKey) -> Option<PeerView<'_>> {
        self.ids
            .get(public)
            .and_then(|id| self.peers.get(id))
            .map(PeerView)
    }

    /// Sets a peer's endpoint; the kernel chooses the source address anew.
    /// False if there is no such peer.
    pub fn set_endpoint(&mut self, now: BootTime, public: &PublicKey, to: SocketAddr) -> bool {
        let Some(&id) = self.ids.get(public) else {
            return false;
        };
        if let Some(peer) = self.peers.get(&id) {
            peer.cell.endpoint.set(Some(Endpoint::new(to)));
        }
        self.resume(now, id);
        true
    }

    /// Sets a peer's preshared key (all zeros: none). It holds for every
    /// handshake that completes from now on; sessions go on. False if there is
    /// no such peer.
    pub fn set_preshared_key(&mut self, public: &PublicKey, key: PresharedKey) -> bool {
        let Some(peer) = self.ids.get(public).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        if peer.preshared != key {
            peer.preshared = key.clone();
            if let Some(keys) = peer.cell.keys.load_full() {
                let changed = keys.with_preshared(key);
                peer.cell.keys.store(Some(Arc::new(changed)));
            }
        }
        true
    }

    /// Sets a peer's persistent keepalive interval in seconds (0: none). The
    /// first one is sent at once. False if there is no such peer.
    pub fn set_keepalive(&mut self, now: BootTime, public: &PublicKey, seconds: u16) -> bool {
        let Some(&id) = self.ids.get(public) else {
            return false;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let before = std::mem::replace(&mut peer.keepalive, seconds);
        self.arm_persistent(now, id);
        if before == 0 && seconds != 0 && self.up {
            self.send_keepalive(now, id);
        }
        true
    }

    /// Gives a prefix to a peer, and takes it from the one that has it. False
    /// if there is no such peer.
    pub fn add_allowed_ip(&mut self, public: &PublicKey, prefix: Prefix) -> bool {
        let Some(peer) = self.ids.get(public).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        peer.allowed_ips.insert(prefix);
        let id = peer.cell.id();
        let old = self.allowed_ips.insert(prefix, Arc::clone(&peer.cell));
        if let Some(old) = old.filter(|old| old.id() != id)
            && let Some(loser) = self.peers.get_mut(&old.id())
        {
            loser.allowed_ips.remove(prefix);
        }
        true
    }

    /// Takes a prefix from a peer, if it has it. False if there is no such
    /// peer.
    pub fn remove_allowed_ip(&mut self, public: &PublicKey, prefix: Prefix) -> bool {
        let Some(peer) = self.ids.get(public).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        let owner = self.allowed_ips.get(prefix).map(|cell| cell.id());
        if owner == Some(peer.cell.id()) {
            self.allowed_ips.remove(prefix);
            peer.allowed_ips.remove(prefix);
        }
        true
    }

    /// Takes all prefixes from a peer. False if there is no such peer.
    pub fn clear_allowed_ips(&mut self, public: &PublicKey) -> bool {
        let Some(peer) = self.ids.get(public).and_then(|id| self.peers.get_mut(id)) else {
            return false;
        };
        for prefix in std::mem::take(&mut peer.allowed_ips).iter() {
            self.allowed_ips.remove(prefix);
        }
        true
    }

    /// Whether the device is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// The link went up or down. Down: sessions, handshakes and staged packets
    /// are gone, and nothing is sent. Up: persistent keepalives begin.
    pub fn set_up(&mut self, now: BootTime, up: bool) {
        if std::mem::replace(&mut self.up, up) == up {
            return;
        }
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            if up {
                self.resume(now, id);
            } else {
                self.forget_sessions(id);
                self.timers.cancel_all(id);
                if let Some(cell) = self.peers.get(&id).map(|p| Arc::clone(&p.cell)) {
                    self.purge_staged(&cell);
                }
            }
        }
    }

    /// Something that kept a peer from being spoken to is gone: send what
    /// waits, and the persistent keepalive.
    fn resume(&mut self, now: BootTime, id: PeerId) {
        self.arm_persistent(now, id);
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let idle = !peer
            .cell
            .current()
            .as_ref()
            .is_some_and(|k| k.can_send(now));
        if self.up && (!peer.cell.staged.is_empty() || (peer.keepalive != 0 && idle)) {
            self.send_keepalive(now, id);
        }
    }

    fn arm_persistent(&mut self, now: BootTime, id: PeerId) {
        let interval = self.peers.get(&id).map_or(0, |p| p.keepalive);
        if interval == 0 || !self.up {
            self.timers.cancel(id, TimerReason::PersistentKeepalive);
        } else {
            let interval = Duration::from_secs(interval.into());
            let last = self.peers.get(&id).and_then(|p| p.cell.activity.last());
            let at = last.unwrap_or(now) + interval;
            self.timers.set(id, TimerReason::PersistentKeepalive, at);
        }
    }

    fn renew_keys(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let keys = self.identity.as_ref().map(|identity| {
            Arc::new(HandshakeKeys::new(
                Arc::clone(identity),
                self.generation,
                *peer.cell.public(),
                peer.preshared.clone(),
            ))
        });
        peer.cell.keys.store(keys);
    }
}

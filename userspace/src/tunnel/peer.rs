//! A peer as the control thread sees it: configuration and handshake state.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::allowed_ips::Prefix;
use super::cell::PeerCell;
use super::indices::Reservation;
use super::initiation::PendingInitiation;
use super::snapshot::Entry;
use super::tai64n::Tai64n;
use super::time::{BootTime, WallTime};
use crate::crypto::{PresharedKey, PublicKey};

/// A peer; only the control thread has it.
#[derive(Debug)]
pub(super) struct Peer {
    pub cell: Arc<PeerCell>,
    pub preshared: PresharedKey,
    /// Seconds; 0: none.
    pub keepalive: u16,
    pub allowed_ips: OwnedPrefixes,
    /// The initiation that may still be answered, and its index.
    pub pending: Option<(Arc<PendingInitiation>, Reservation<Entry>)>,
    /// Retransmissions in the handshake under way.
    pub attempts: u32,
    /// When a handshake message was last sent; initiations keep 5 s distance.
    pub last_handshake_message: Option<BootTime>,
    /// When we last answered an initiation, and its timestamp.
    pub responded: Option<(BootTime, Tai64n)>,
    /// When a session was last made with it.
    pub last_session: Option<BootTime>,
}

impl Peer {
    pub(super) fn new(cell: Arc<PeerCell>) -> Self {
        Self {
            cell,
            preshared: PresharedKey::none(),
            keepalive: 0,
            allowed_ips: OwnedPrefixes::default(),
            pending: None,
            attempts: 0,
            last_handshake_message: None,
            responded: None,
            last_session: None,
        }
    }
}

/// A peer's AllowedIPs in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct OwnedPrefixes {
    order: BTreeMap<u64, Prefix>,
    number: HashMap<Prefix, u64>,
    next: u64,
}

impl OwnedPrefixes {
    pub(super) fn insert(&mut self, prefix: Prefix) {
        if !self.number.contains_key(&prefix) {
            self.number.insert(prefix, self.next);
            self.order.insert(self.next, prefix);
            self.next += 1;
        }
    }

    pub(super) fn remove(&mut self, prefix: Prefix) {
        if let Some(n) = self.number.remove(&prefix) {
            self.order.remove(&n);
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Prefix> {
        self.order.values().copied()
    }
}

/// What can be told about a peer, for `wg show`.
#[derive(Clone, Copy, Debug)]
pub struct PeerView<'a>(pub(super) &'a Peer);

impl<'a> PeerView<'a> {
    /// Who it is.
    #[must_use]
    pub fn public(&self) -> &'a PublicKey {
        self.0.cell.public()
    }

    /// The preshared key, all zeros if there is none.
    #[must_use]
    pub fn preshared(&self) -> &'a PresharedKey {
        &self.0.preshared
    }

    /// Where it is now.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.0.cell.endpoint.get().map(|e| e.addr)
    }

    /// The persistent keepalive interval in seconds; 0: none.
    #[must_use]
    pub fn keepalive(&self) -> u16 {
        self.0.keepalive
    }

    /// Its AllowedIPs in the order in which they were added.
    pub fn allowed_ips(&self) -> impl ExactSizeIterator<Item = Prefix> + use<'a> {
        self.0.allowed_ips.iter()
    }

    /// When the last handshake completed.
    #[must_use]
    pub fn last_handshake(&self) -> Option<WallTime> {
        self.0.cell.last_handshake()
    }

    /// Bytes received.
    #[must_use]
    pub fn rx_bytes(&self) -> u64 {
        self.0.cell.rx_bytes()
    }

    /// Bytes sent.
    #[must_use]
    pub fn tx_bytes(&self) -> u64 {
        self.0.cell.tx_bytes()
    }

    /// Data packets received, keepalives among them.
    #[must_use]
    pub fn rx_packets(&self) -> u64 {
        self.0.cell.rx_packets()
    }

    /// Data packets sent, keepalives among them.
    #[must_use]
    pub fn tx_packets(&self) -> u64 {
        self.0.cell.tx_packets()
    }

    /// What all threads share of it.
    #[must_use]
    pub fn cell(&self) -> &'a Arc<PeerCell> {
        &self.0.cell
    }
}

//! What all threads share of one tunnel device.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::allowed_ips::AllowedIps;
use super::cell::PeerCell;
use super::gate::Gate;
use super::identity::Identity;
use super::indices::IndexTable;
use super::initiation::PendingInitiation;
use super::keypair::Keypair;
use crate::crypto::PublicKey;

/// What all threads share of one tunnel device.
#[derive(Debug)]
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Receiver indices of sessions and of initiations under way.
    pub indices: IndexTable<Entry>,
    /// The door for handshake messages.
    pub gate: Gate,
}

/// The configuration as workers see it: never changed, only replaced.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Who we are; None: no private key is set.
    pub identity: Option<Arc<Identity>>,
    /// Which peer an inner address belongs to.
    pub allowed_ips: AllowedIps<Arc<PeerCell>>,
    /// Every peer.
    pub peers: Arc<HashMap<PublicKey, Arc<PeerCell>>>,
    /// Changes with the identity: handshakes of another generation are void.
    pub generation: u64,
}

/// What a receiver index stands for.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A session.
    Session(Arc<Keypair>),
    /// An initiation of ours that awaits its response.
    Initiation(Arc<PendingInitiation>),
}

impl Shared {
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            snapshot: ArcSwap::default(),
            indices: IndexTable::default(),
            gate,
        }
    }

    /// The configuration of this moment. Load it once per batch.
    #[must_use]
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The session that a data packet with this receiver index belongs to.
    /// Neighbouring packets mostly carry the same index: ask once per run.
    #[must_use]
    pub fn session(&self, index: u32) -> Option<Arc<Keypair>> {
        match self.indices.lookup(index) {
            Some(Entry::Session(keypair)) => Some(keypair),
            _ => None,
        }
    }
}

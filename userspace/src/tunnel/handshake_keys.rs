//! A peer's handshake keys, computed when first needed.

use std::sync::{Arc, OnceLock};

use super::identity::{Identity, PeerKeys};
use crate::crypto::{LowOrder, PresharedKey, PublicKey};

/// What handshakes with one peer need under one identity and preshared key.
/// The Diffie-Hellman of the static keys is done when first asked for, on a
/// handshake thread, so that adding ten thousand peers costs none.
#[derive(Debug)]
pub(super) struct HandshakeKeys {
    identity: Arc<Identity>,
    public: PublicKey,
    preshared: PresharedKey,
    /// The [`Snapshot::generation`](super::snapshot::Snapshot) of the identity.
    generation: u64,
    keys: OnceLock<Result<PeerKeys, LowOrder>>,
}

impl HandshakeKeys {
    pub(super) fn new(
        identity: Arc<Identity>,
        generation: u64,
        public: PublicKey,
        preshared: PresharedKey,
    ) -> Self {
        Self {
            identity,
            public,
            preshared,
            generation,
            keys: OnceLock::new(),
        }
    }

    /// The same with another preshared key; what was computed is kept.
    pub(super) fn with_preshared(&self, preshared: PresharedKey) -> Self {
        let keys = OnceLock::new();
        if let Some(known) = self.keys.get() {
            let changed = known
                .as_ref()
                .map(|k| k.with_preshared(preshared.clone()))
                .map_err(|e| *e);
            // A new cell is empty, so this cannot fail.
            let _ = keys.set(changed);
        }
        Self {
            identity: Arc::clone(&self.identity),
            public: self.public,
            preshared,
            generation: self.generation,
            keys,
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// # Errors
    /// The peer's public key is a low-order point.
    pub(super) fn get(&self) -> Result<&PeerKeys, LowOrder> {
        self.keys
            .get_or_init(|| PeerKeys::new(&self.identity, self.public, self.preshared.clone()))
            .as_ref()
            .map_err(|e| *e)
    }
}

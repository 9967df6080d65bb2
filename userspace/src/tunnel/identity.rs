//! Who we are, and what we know of a peer before a handshake.

use super::cookie;
use super::transcript::Transcript;
use crate::crypto::hash::HASH_LEN;
use crate::crypto::{KEY_LEN, LowOrder, PresharedKey, PrivateKey, PublicKey, Secret};

/// Who we are: the private key and what follows from it.
pub struct Identity {
    pub(super) private: PrivateKey,
    pub(super) public: PublicKey,
    /// The transcript of an initiation to us before its first message.
    pub(super) transcript_hash: [u8; HASH_LEN],
    /// Key of the MAC1 that messages to us carry.
    mac1_key: [u8; HASH_LEN],
    /// Key that seals the cookies that we give.
    cookie_key: [u8; HASH_LEN],
}

impl Identity {
    /// Derives everything from the private key.
    #[must_use]
    pub fn new(private: PrivateKey) -> Self {
        let public = private.public();
        Self {
            private,
            transcript_hash: Transcript::hash_for(&public),
            mac1_key: cookie::mac1_key(&public),
            cookie_key: cookie::cookie_key(&public),
            public,
        }
    }

    /// Our private key.
    #[must_use]
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// Our public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key of MAC1 on messages to us.
    #[must_use]
    pub fn mac1_key(&self) -> &[u8; HASH_LEN] {
        &self.mac1_key
    }

    /// The key that seals cookies given by us.
    #[must_use]
    pub fn cookie_key(&self) -> &[u8; HASH_LEN] {
        &self.cookie_key
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

/// What a handshake with one peer needs, computed once per peer and identity.
#[derive(Clone)]
pub struct PeerKeys {
    pub(super) public: PublicKey,
    pub(super) preshared: PresharedKey,
    /// Diffie-Hellman of both static keys.
    pub(super) static_static: Secret<KEY_LEN>,
    pub(super) transcript_hash: [u8; HASH_LEN],
    mac1_key: [u8; HASH_LEN],
    cookie_key: [u8; HASH_LEN],
}

impl PeerKeys {
    /// Computes what can be computed before a handshake.
    ///
    /// # Errors
    /// [`LowOrder`]: no secret can be agreed with this public key.
    pub fn new(
        identity: &Identity,
        public: PublicKey,
        preshared: PresharedKey,
    ) -> Result<Self, LowOrder> {
        Ok(Self {
            static_static: identity.private.diffie_hellman(&public)?,
            transcript_hash: Transcript::hash_for(&public),
            mac1_key: cookie::mac1_key(&public),
            cookie_key: cookie::cookie_key(&public),
            public,
            preshared,
        })
    }

    /// The same with another preshared key, without Diffie-Hellman.
    #[must_use]
    pub fn with_preshared(&self, preshared: PresharedKey) -> Self {
        Self {
            preshared,
            ..self.clone()
        }
    }

    /// The peer's public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The preshared key, all zeros if there is none.
    #[must_use]
    pub fn preshared(&self) -> &PresharedKey {
        &self.preshared
    }

    /// The key of MAC1 on messages to the peer.
    #[must_use]
    pub fn mac1_key(&self) -> &[u8; HASH_LEN] {
        &self.mac1_key
    }

    /// The key that opens cookies given by the peer.
    #[must_use]
    pub fn cookie_key(&self) -> &[u8; HASH_LEN] {
        &self.cookie_key
    }
}

impl std::fmt::Debug for PeerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerKeys({})", self.public)
    }
}

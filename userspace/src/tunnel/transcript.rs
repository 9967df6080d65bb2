//! The running state of a handshake: what Noise calls the chaining key and the
//! handshake hash (Noise specification section 5.2, WireGuard paper section 5.4).

use super::noise::NoiseError;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::aead::{Aead, Backend};
use crate::crypto::hash::{self, HASH_LEN};
use crate::crypto::{PresharedKey, PublicKey, Secret};
use std::sync::LazyLock;

/// The protocol's name in Noise.
const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// The prologue.
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// HASH(construction): the first chaining key.
static INITIAL_CHAIN: LazyLock<[u8; HASH_LEN]> = LazyLock::new(|| hash::hash(&[CONSTRUCTION]));
/// HASH(HASH(construction) || identifier): the hash before the responder's key.
static INITIAL_HASH: LazyLock<[u8; HASH_LEN]> =
    LazyLock::new(|| hash::hash(&[&*INITIAL_CHAIN, IDENTIFIER]));

/// Chaining key and hash; overwritten on drop.
#[derive(Clone)]
pub(super) struct Transcript {
    chain: Secret<HASH_LEN>,
    hash: [u8; HASH_LEN],
}

impl Transcript {
    /// The hash with which every handshake towards `responder` starts.
    pub fn hash_for(responder: &PublicKey) -> [u8; HASH_LEN] {
        hash::hash(&[&*INITIAL_HASH, responder.as_bytes()])
    }

    /// The state before the first message; `hash` is by [`Self::hash_for`].
    pub fn start(hash: &[u8; HASH_LEN]) -> Self {
        Self {
            chain: Secret::copy_of(&INITIAL_CHAIN),
            hash: *hash,
        }
    }

    /// Mixes in an ephemeral public key: into the hash, and, because there is
    /// a preshared key, into the chain too.
    pub fn mix_ephemeral(&mut self, public: &PublicKey) {
        self.mix_hash(public.as_bytes());
        self.mix_chain(public.as_bytes());
    }

    /// Mixes a secret into the chain and derives no key.
    pub fn mix_chain(&mut self, input: &[u8; HASH_LEN]) {
        let [chain] = hash::kdf(self.chain.expose(), input);
        self.chain = chain;
    }

    /// Mixes a secret into the chain and derives a key.
    pub fn mix_key(&mut self, input: &[u8; HASH_LEN]) -> Secret<HASH_LEN> {
        let [chain, key] = hash::kdf(self.chain.expose(), input);
        self.chain = chain;
        key
    }

    /// Mixes the preshared key into chain and hash and derives a key.
    pub fn mix_preshared(&mut self, preshared: &PresharedKey) -> Secret<HASH_LEN> {
        let [chain, mixed, key] = hash::kdf(self.chain.expose(), preshared.expose());
        self.chain = chain;
        self.mix_hash(mixed.expose());
        key
    }

    /// Seals `text` into `out`, which is 16 bytes longer, and mixes it in.
    pub fn seal<const SEALED: usize>(
        &mut self,
        key: &Secret<HASH_LEN>,
        text: &[u8],
        out: &mut [u8; SEALED],
    ) {
        let (body, tag) = out.split_at_mut(SEALED - TAG_LEN);
        body.copy_from_slice(text);
        tag.copy_from_slice(&Backend::new(key.expose()).seal(0, &self.hash, body));
        self.mix_hash(out);
    }

    /// Opens `sealed`, which is 16 bytes longer than what it holds, and mixes
    /// it in.
    pub fn open<const TEXT: usize, const SEALED: usize>(
        &mut self,
        key: &Secret<HASH_LEN>,
        sealed: &[u8; SEALED],
    ) -> Result<[u8; TEXT], NoiseError> {
        const { assert!(TEXT + TAG_LEN == SEALED) };
        let mut copy = *sealed;
        let text = Backend::new(key.expose())
            .open(0, &self.hash, &mut copy)
            .map_err(|_| NoiseError::Auth)?;
        let mut opened = [0; TEXT];
        opened.copy_from_slice(text);
        self.mix_hash(sealed);
        Ok(opened)
    }

    /// The keys of the session: from initiator to responder, and back.
    pub fn split(&self) -> [Secret<HASH_LEN>; 2] {
        hash::kdf(self.chain.expose(), &[])
    }

    fn mix_hash(&mut self, input: &[u8]) {
        self.hash = hash::hash(&[&self.hash, input]);
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        // The chain overwrites itself; the hash of a handshake with a
        // preshared key is derived from it.
        zeroize::Zeroize::zeroize(&mut self.hash);
    }
}

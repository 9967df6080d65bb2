//! The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s in both roles
//! (WireGuard paper section 5.4, Noise specification revision 34).
//!
//! ```text
//! initiator                                         responder
//! initiate ── initiation ─▶ OpenedInitiation::read        who is it?
//!                           OpenedInitiation::authenticate    ─▶ ReceivedInitiation
//!                           ReceivedInitiation::respond   ─▶ SessionKeys
//! SentInitiation::accept ◀─ response ──
//!   ─▶ SessionKeys
//! ```
//!
//! Nothing here changes what it was called on: a message that does not
//! authenticate leaves no trace. MAC1 and MAC2 are added and judged by
//! [`super::cookie`]; replay and flood checks are the caller's, between
//! `authenticate` and `respond`.

mod error;

pub use super::identity::{Identity, PeerKeys};
use super::messages::{
    INITIATION_LEN, Initiation, RESPONSE_LEN, Response, SEALED_STATIC_LEN, SEALED_TIMESTAMP_LEN,
    TYPE_INITIATION, TYPE_RESPONSE,
};
use super::tai64n::{TAI64N_LEN, Tai64n};
use super::transcript::Transcript;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::{DataKey, KEY_LEN, PrivateKey, PublicKey, scrub_stack};
pub use error::NoiseError;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

/// The keys of a new session.
#[derive(Debug)]
pub struct SessionKeys {
    /// Seals what we send.
    pub send: DataKey,
    /// Opens what we receive.
    pub receive: DataKey,
    /// Our index: what the peer writes into its data messages.
    pub local_index: u32,
    /// The peer's index: what we write into ours.
    pub remote_index: u32,
}

/// Our initiation while its response is awaited; overwritten on drop.
#[derive(Clone)]
pub struct SentInitiation {
    peer: PublicKey,
    sender: u32,
    ephemeral: PrivateKey,
    transcript: Transcript,
}

/// Writes an initiation to `peer`, with room for MAC1 and MAC2 left zero.
///
/// `sender` is the index under which the response shall come.
///
/// # Errors
/// [`NoiseError::LowOrder`], which [`PeerKeys::new`] has excluded already.
pub fn initiate(
    identity: &Identity,
    peer: &PeerKeys,
    sender: u32,
    timestamp: Tai64n,
    rng: &mut impl CryptoRng,
) -> Result<([u8; INITIATION_LEN], SentInitiation), NoiseError> {
    let ephemeral = PrivateKey::generate(rng);
    let result = initiate_with(identity, peer, sender, timestamp, ephemeral);
    scrub_stack();
    result
}

pub(super) fn initiate_with(
    identity: &Identity,
    peer: &PeerKeys,
    sender: u32,
    timestamp: Tai64n,
    ephemeral: PrivateKey,
) -> Result<([u8; INITIATION_LEN], SentInitiation), NoiseError> {
    let mut message = [0; INITIATION_LEN];
    message[..4].copy_from_slice(&TYPE_INITIATION);
    message[4..8].copy_from_slice(&sender.to_le_bytes());
    let mut transcript = Transcript::start(&peer.transcript_hash);

    let ephemeral_public = ephemeral.public();
    message[8..40].copy_from_slice(ephemeral_public.as_bytes());
    transcript.mix_ephemeral(&ephemeral_public);

    let key = transcript.mix_key(ephemeral.diffie_hellman(&peer.public)?.expose());
    let sealed: &mut [u8; SEALED_STATIC_LEN] = (&mut message[40..88]).try_into().expect("48 bytes");
    transcript.seal(&key, identity.public.as_bytes(), sealed);

    let key = transcript.mix_key(peer.static_static.expose());
    let sealed: &mut [u8; SEALED_TIMESTAMP_LEN] =
        (&mut message[88..116]).try_into().expect("28 bytes");
    transcript.seal(&key, timestamp.as_bytes(), sealed);

    let sent = SentInitiation {
        peer: peer.public,
        sender,
        ephemeral,
        transcript,
    };
    Ok((message, sent))
}

impl SentInitiation {
    /// The index under which the response is awaited.
    #[must_use]
    pub fn sender(&self) -> u32 {
        self.sender
    }

    /// Takes the response. `self` stays as it is, so that a forged response
    /// does not keep the true one from being accepted.
    ///
    /// # Errors
    /// [`NoiseError`]; it is not the response to this initiation.
    pub fn accept(
        &self,
        identity: &Identity,
        peer: &PeerKeys,
        response: &Response<'_>,
    ) -> Result<SessionKeys, NoiseError> {
        let result = self.accept_unscrubbed(identity, peer, response);
        scrub_stack();
        result
    }

    #[inline(never)]
    fn accept_unscrubbed(
        &self,
        identity: &Identity,
        peer: &PeerKeys,
        response: &Response<'_>,
    ) -> Result<SessionKeys, NoiseError> {
        if response.receiver() != self.sender || peer.public != self.peer {
            return Err(NoiseError::Mismatch);
        }
        let theirs = response.ephemeral();
        let mut transcript = self.transcript.clone();
        transcript.mix_ephemeral(&theirs);
        transcript.mix_chain(self.ephemeral.diffie_hellman(&theirs)?.expose());
        transcript.mix_chain(identity.private.diffie_hellman(&theirs)?.expose());
        let key = transcript.mix_preshared(&peer.preshared);
        transcript.open::<0, TAG_LEN>(&key, response.sealed_empty())?;

        let [send, receive] = transcript.split();
        Ok(SessionKeys {
            send: DataKey::new(send.expose()),
            receive: DataKey::new(receive.expose()),
            local_index: self.sender,
            remote_index: response.sender(),
        })
    }
}

impl std::fmt::Debug for SentInitiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SentInitiation({} by {:#x})", self.peer, self.sender)
    }
}

/// An initiation of which we know who claims to have sent it.
pub struct OpenedInitiation<'a> {
    message: Initiation<'a>,
    peer: PublicKey,
    transcript: Transcript,
}

impl<'a> OpenedInitiation<'a> {
    /// Opens the static key: one Diffie-Hellman.
    ///
    /// # Errors
    /// It is not for this identity, or was changed on the way.
    pub fn read(identity: &Identity, message: Initiation<'a>) -> Result<Self, NoiseError> {
        let ephemeral = message.ephemeral();
        let mut transcript = Transcript::start(&identity.transcript_hash);
        transcript.mix_ephemeral(&ephemeral);
        let key = transcript.mix_key(identity.private.diffie_hellman(&ephemeral)?.expose());
        let peer = transcript.open::<KEY_LEN, SEALED_STATIC_LEN>(&key, message.sealed_static());
        scrub_stack();
        Ok(Self {
            message,
            peer: PublicKey::from_bytes(peer?),
            transcript,
        })
    }

    /// Who claims to have sent it; not proven before [`Self::authenticate`].
    #[must_use]
    pub fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// Opens the timestamp, which only the holder of [`Self::peer`]'s private
    /// key could seal. Whether it was seen before is for the caller to judge.
    ///
    /// # Errors
    /// It does not authenticate, or `peer` is another one.
    pub fn authenticate(mut self, peer: &PeerKeys) -> Result<ReceivedInitiation, NoiseError> {
        if !bool::from(self.peer.as_bytes().ct_eq(peer.public.as_bytes())) {
            return Err(NoiseError::Mismatch);
        }
        let key = self.transcript.mix_key(peer.static_static.expose());
        let sealed = self.message.sealed_timestamp();
        let timestamp = self
            .transcript
            .open::<TAI64N_LEN, SEALED_TIMESTAMP_LEN>(&key, sealed);
        scrub_stack();
        Ok(ReceivedInitiation {
            peer: self.peer,
            timestamp: Tai64n::from_bytes(timestamp?),
            remote_index: self.message.sender(),
            ephemeral: self.message.ephemeral(),
            transcript: self.transcript,
        })
    }
}

/// An authentic initiation of a peer, not answered yet; overwritten on drop.
pub struct ReceivedInitiation {
    peer: PublicKey,
    timestamp: Tai64n,
    remote_index: u32,
    ephemeral: PublicKey,
    transcript: Transcript,
}

impl ReceivedInitiation {
    /// Who sent it.
    #[must_use]
    pub fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// When it was made, by the peer's clock.
    #[must_use]
    pub fn timestamp(&self) -> Tai64n {
        self.timestamp
    }

    /// The index by which the peer wants to be answered.
    #[must_use]
    pub fn remote_index(&self) -> u32 {
        self.remote_index
    }

    /// Writes the response, with room for MAC1 and MAC2 left zero, and derives
    /// the session. `sender` is our index for the session.
    ///
    /// # Errors
    /// [`NoiseError::LowOrder`], or [`NoiseError::Mismatch`] if `peer` is
    /// another one than [`Self::peer`].
    pub fn respond(
        &self,
        peer: &PeerKeys,
        sender: u32,
        rng: &mut impl CryptoRng,
    ) -> Result<([u8; RESPONSE_LEN], SessionKeys), NoiseError> {
        let result = self.respond_with(peer, sender, &PrivateKey::generate(rng));
        scrub_stack();
        result
    }

    #[inline(never)]
    pub(super) fn respond_with(
        &self,
        peer: &PeerKeys,
        sender: u32,
        ephemeral: &PrivateKey,
    ) -> Result<([u8; RESPONSE_LEN], SessionKeys), NoiseError> {
        if peer.public != self.peer {
            return Err(NoiseError::Mismatch);
        }
        let mut message = [0; RESPONSE_LEN];
        message[..4].copy_from_slice(&TYPE_RESPONSE);
        message[4..8].copy_from_slice(&sender.to_le_bytes());
        message[8..12].copy_from_slice(&self.remote_index.to_le_bytes());
        let mut transcript = self.transcript.clone();

        let ephemeral_public = ephemeral.public();
        message[12..44].copy_from_slice(ephemeral_public.as_bytes());
        transcript.mix_ephemeral(&ephemeral_public);
        transcript.mix_chain(ephemeral.diffie_hellman(&self.ephemeral)?.expose());
        transcript.mix_chain(ephemeral.diffie_hellman(&self.peer)?.expose());
        let key = transcript.mix_preshared(&peer.preshared);
        let sealed: &mut [u8; TAG_LEN] = (&mut message[44..60]).try_into().expect("16 bytes");
        transcript.seal(&key, &[], sealed);

        let [receive, send] = transcript.split();
        let keys = SessionKeys {
            send: DataKey::new(send.expose()),
            receive: DataKey::new(receive.expose()),
            local_index: sender,
            remote_index: self.remote_index,
        };
        Ok((message, keys))
    }
}

#[cfg(test)]
mod tests;

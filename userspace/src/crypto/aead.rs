//! ChaCha20-Poly1305 (RFC 8439) behind one small trait, and
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) for cookies.

use super::KEY_LEN;
use chacha20::{R20, hchacha};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
/// Bytes of the nonce of ChaCha20-Poly1305.
pub const NONCE_LEN: usize = 12;
/// Bytes of the nonce of XChaCha20-Poly1305.
pub const XNONCE_LEN: usize = 24;
/// Bytes of it that make the key.
const HNONCE_LEN: usize = 16;

/// What was to be opened does not authenticate, or is too short for a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet does not authenticate")]
pub struct AeadError;

/// ChaCha20-Poly1305 with WireGuard's nonce: four zero bytes, then the counter
/// in little endian (WireGuard paper section 5.4.6).
///
/// An implementation overwrites its key on drop.
pub trait Aead: Send + Sync {
    /// A key ready for use. The caller's copy stays the caller's to overwrite.
    fn new(key: &[u8; KEY_LEN]) -> Self
    where
        Self: Sized;

    /// Encrypts `text` in place and gives the tag, with any nonce (RFC 8439's own
    /// interface; WireGuard's is [`Self::seal`]). A nonce must be used once.
    fn seal_with(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN];

    /// [`Self::seal_with`] under a key that is no secret and used once: nothing of
    /// it is overwritten afterwards.
    fn seal_public(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> [u8; TAG_LEN]
    where
        Self: Sized,
    {
        Self::new(key).seal_with(nonce, aad, text)
    }

    /// Decrypts `text`, which ends with its tag, in place and gives what is
    /// left without the tag, with any nonce; else as [`Self::open`].
    ///
    /// # Errors
    /// [`AeadError`] if it does not authenticate.
    fn open_with<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError>;

    /// Encrypts `text` in place and gives the tag. A counter must be used once.
    fn seal(&self, counter: u64, aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal_with(&nonce(counter), aad, text)
    }

    /// Decrypts `text`, which ends with its tag, in place and gives what is
    /// left without the tag.
    ///
    /// # Errors
    /// [`AeadError`] if it does not authenticate; what `text` holds then is
    /// undefined, and no plaintext.
    fn open<'a>(
        &self,
        counter: u64,
        aad: &[u8],
        text: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError> {
        self.open_with(&nonce(counter), aad, text)
    }
}

/// The backend of this build: ring where it has vector code (and the feature
/// `portable-aead` is off), else RustCrypto.
#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(feature = "portable-aead")
))]
pub type Backend = super::RingKey;
/// The backend of this build: ring where it has vector code (and the feature
/// `portable-aead` is off), else RustCrypto.
#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(feature = "portable-aead")
)))]
pub type Backend = super::PortableKey;

/// One direction's key of a session.
pub struct DataKey(Backend);

impl DataKey {
    /// A key ready for use. The caller's copy stays the caller's to overwrite.
    #[must_use]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Backend::new(key))
    }

    /// Encrypts `text` in place and gives the tag; a counter must be used once.
    #[must_use]
    pub fn seal_in_place(&self, counter: u64, text: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(counter, &[], text)
    }

    /// Decrypts `text`, ciphertext and tag, in place and gives the plaintext.
    ///
    /// # Errors
    /// [`AeadError`] if it does not authenticate.
    pub fn open_in_place<'a>(
        &self,
        counter: u64,
        text: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError> {
        self.0.open(counter, &[], text)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// WireGuard's 96-bit nonce of a counter.
fn nonce(counter: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// Encrypts `text` in place with XChaCha20-Poly1305 and gives the tag: HChaCha20
/// of the key and 16 bytes of nonce makes a key of its own, to be used with the
/// other 8 (draft-irtf-cfrg-xchacha section 2.3).
///
/// For cookies: their key follows from a public key, so that it is no secret, and
/// a flood asks for one per packet.
#[must_use]
pub fn xseal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> [u8; TAG_LEN] {
    let (first, rest) = nonce.split_at(HNONCE_LEN);
    let first: &[u8; HNONCE_LEN] = first.try_into().expect("16 of 24 bytes");
    let mut inner = [0; NONCE_LEN];
    inner[NONCE_LEN - rest.len()..].copy_from_slice(rest);
    let derived: [u8; KEY_LEN] = hchacha::<R20>(key.into(), first.into()).into();
    Backend::seal_public(&derived, &inner, aad, text)
}

/// Decrypts `text` in place with XChaCha20-Poly1305.
///
/// # Errors
/// [`AeadError`] if it does not authenticate.
pub fn xopen(
    key: &[u8; KEY_LEN],
    nonce: &[u8; XNONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), AeadError> {
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(&XNonce::from(*nonce), aad, text.into(), &Tag::from(*tag))
        .map_err(|_| AeadError)
}

#[cfg(test)]
mod tests;

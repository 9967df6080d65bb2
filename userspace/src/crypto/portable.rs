//! RustCrypto's ChaCha20-Poly1305: the backend where ring has no vector code,
//! and the oracle for the other one.

use super::aead::{Aead, AeadError, NONCE_LEN, TAG_LEN};
use super::{KEY_LEN, Secret};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

/// A key for RustCrypto's `chacha20poly1305`, which is set up for each packet:
/// that is a copy of 32 bytes, overwritten by the library when it is done.
pub struct PortableKey(Secret<KEY_LEN>);

impl PortableKey {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(self.0.expose().into())
    }
}

impl Aead for PortableKey {
    fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Secret::copy_of(key))
    }

    fn seal_with(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        self.cipher()
            .encrypt_inout_detached(&Nonce::from(*nonce), aad, text.into())
            .expect("a packet is never too long for ChaCha20")
            .into()
    }

    fn open_with<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError> {
        let (text, tag) = text.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
        self.cipher()
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                aad,
                (&mut *text).into(),
                &Tag::from(*tag),
            )
            .map_err(|_| AeadError)?;
        Ok(text)
    }
}

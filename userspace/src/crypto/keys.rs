//! Private, public and preshared keys, and Diffie-Hellman.

use super::encoding::{self, KeyParseError};
use super::{KEY_LEN, Secret, scrub_stack};
use rand_core::CryptoRng;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// A Diffie-Hellman result of zero: the public key is one of the low-order
/// points, and the secret would be known to everybody (RFC 7748 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this public key is a low-order point: no secret can be agreed with it")]
pub struct LowOrder;

/// A Curve25519 private key, clamped (RFC 7748 section 5), overwritten on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Secret<KEY_LEN>);

impl PrivateKey {
    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Secret::zeroed();
        rng.fill_bytes(bytes.expose_mut());
        Self::from_secret(bytes)
    }

    /// Clamps `bytes` as the kernel does when a key is set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        Self::from_secret(Secret::copy_of(bytes))
    }

    /// As [`Self::from_bytes`], without a copy.
    #[must_use]
    pub fn from_secret(mut bytes: Secret<KEY_LEN>) -> Self {
        let key = bytes.expose_mut();
        key[0] &= 0b1111_1000;
        key[31] &= 0b0111_1111;
        key[31] |= 0b0100_0000;
        Self(bytes)
    }

    /// Reads what `wg genkey` prints.
    ///
    /// # Errors
    /// The text is no base64 key.
    pub fn from_base64(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_base64(text.trim().as_bytes()).map(Self::from_secret)
    }

    /// Reads a UAPI `private_key` value.
    ///
    /// # Errors
    /// The text is no hex key.
    pub fn from_hex(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_hex(text.as_bytes()).map(Self::from_secret)
    }

    /// The clamped bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }

    /// As `wg genkey` prints it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        encoding::to_base64(self.expose())
    }

    /// As UAPI wants it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        encoding::to_hex(self.expose())
    }

    /// The public key that belongs to this one.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let public = self.times_base_point();
        scrub_stack();
        public
    }

    /// The shared secret with the holder of `public` (X25519, RFC 7748).
    ///
    /// # Errors
    /// [`LowOrder`] if the result is zero.
    pub fn diffie_hellman(&self, public: &PublicKey) -> Result<Secret<KEY_LEN>, LowOrder> {
        let result = self.shared_secret(public);
        scrub_stack();
        result
    }

    #[inline(never)]
    fn times_base_point(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(*self.expose());
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    #[inline(never)]
    fn shared_secret(&self, public: &PublicKey) -> Result<Secret<KEY_LEN>, LowOrder> {
        let secret = x25519_dalek::StaticSecret::from(*self.expose());
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(public.0));
        if shared.was_contributory() {
            Ok(Secret::copy_of(shared.as_bytes()))
        } else {
            Err(LowOrder)
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A Curve25519 public key: who a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// From its 32 bytes; any 32 bytes are a public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Reads what `wg pubkey` prints.
    ///
    /// # Errors
    /// The text is no base64 key.
    pub fn from_base64(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_base64(text.trim().as_bytes()).map(|key| Self(*key.expose()))
    }

    /// Reads a UAPI `public_key` value.
    ///
    /// # Errors
    /// The text is no hex key.
    pub fn from_hex(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_hex(text.as_bytes()).map(|key| Self(*key.expose()))
    }

    /// As `wg pubkey` prints it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        std::mem::take(&mut *encoding::to_base64(&self.0))
    }

    /// As UAPI wants it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        std::mem::take(&mut *encoding::to_hex(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, KeyParseError> {
        Self::from_base64(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The optional symmetric key of a peer, overwritten on drop, compared in
/// constant time. All zeros means that none is set (WireGuard paper section 5.2).
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey(Secret<KEY_LEN>);

impl PresharedKey {
    /// No preshared key.
    #[must_use]
    pub fn none() -> Self {
        Self(Secret::zeroed())
    }

    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self::none();
        rng.fill_bytes(key.0.expose_mut());
        key
    }

    /// From its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        Self(Secret::copy_of(bytes))
    }

    /// Reads what `wg genpsk` prints.
    ///
    /// # Errors
    /// The text is no base64 key.
    pub fn from_base64(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_base64(text.trim().as_bytes()).map(Self)
    }

    /// Reads a UAPI `preshared_key` value.
    ///
    /// # Errors
    /// The text is no hex key.
    pub fn from_hex(text: &str) -> Result<Self, KeyParseError> {
        encoding::from_hex(text.as_bytes()).map(Self)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }

    /// Whether a key is set at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.0.is_zero()
    }

    /// As `wg genpsk` prints it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        encoding::to_base64(self.expose())
    }

    /// As UAPI wants it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        encoding::to_hex(self.expose())
    }
}

impl Default for PresharedKey {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

#[cfg(test)]
mod tests;

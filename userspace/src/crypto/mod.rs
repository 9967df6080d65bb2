//! Keys, hashes and the AEAD behind one small trait.
//!
//! * [`keys`]: private, public and preshared keys, and Diffie-Hellman.
//! * [`encoding`]: keys in base64 (files, `wg`) and hex (UAPI), in constant time.
//! * [`aead`]: ChaCha20-Poly1305 with a fast and a portable backend, and
//!   XChaCha20-Poly1305 for cookies.
//! * [`hash`]: BLAKE2s, its keyed form, HMAC and the key derivation of Noise.
//! * [`secret`]: memory that is overwritten before it is given back.
//! * [`rng`]: the operating system's random bytes.

pub mod aead;
pub mod encoding;
pub mod hash;
pub mod keys;
mod portable;
mod ring_key;
pub mod rng;
pub mod secret;
#[cfg(test)]
pub(crate) mod testing;

pub use aead::{Aead, AeadError, DataKey};
pub use encoding::KeyParseError;
pub use keys::{LowOrder, PresharedKey, PrivateKey, PublicKey};
pub use portable::PortableKey;
pub use ring_key::RingKey;
pub use rng::{OsRng, os_rng};
pub use secret::{Secret, scrub_stack};

/// Bytes of every key in WireGuard.
pub const KEY_LEN: usize = 32;

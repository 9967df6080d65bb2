//! BLAKE2s (RFC 7693), its keyed form, HMAC over it (RFC 2104) and the key
//! derivation of Noise (WireGuard paper section 5.4: HASH, MAC, HMAC, KDFn).

use super::Secret;
use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Mac, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use hmac::SimpleHmac;

/// Bytes of a hash and of every derived key.
pub const HASH_LEN: usize = 32;
/// Bytes of MAC1, MAC2 and a cookie.
pub const MAC_LEN: usize = 16;

/// BLAKE2s-256 of the parts, one after the other.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut state = Blake2s256::new();
    for part in parts {
        Digest::update(&mut state, part);
    }
    state.finalize().into()
}

/// Keyed BLAKE2s-128 of the parts. The key is a [`hash`] or a cookie.
#[must_use]
pub fn mac<const K: usize>(key: &[u8; K], parts: &[&[u8]]) -> [u8; MAC_LEN] {
    const { assert!(K >= 1 && K <= 32, "BLAKE2s keys have 1 to 32 bytes") };
    let mut state = Blake2sMac::<U16>::new_from_slice(key)
        .expect("a key of at most 32 bytes is what BLAKE2s takes");
    for part in parts {
        Update::update(&mut state, part);
    }
    state.finalize_fixed().into()
}

/// HMAC-BLAKE2s-256 of the parts, written to `out`.
pub fn hmac(key: &[u8; HASH_LEN], parts: &[&[u8]], out: &mut [u8; HASH_LEN]) {
    let mut state = <SimpleHmac<Blake2s256> as KeyInit>::new_from_slice(key)
        .expect("HMAC takes a key of any length");
    for part in parts {
        Mac::update(&mut state, part);
    }
    state.finalize_into(out.into());
}

/// The first `N` (1 to 3) outputs of HKDF with HMAC-BLAKE2s: KDF1, KDF2, KDF3.
#[must_use]
pub fn kdf<const N: usize>(chaining: &[u8; HASH_LEN], input: &[u8]) -> [Secret<HASH_LEN>; N] {
    const { assert!(N >= 1 && N <= 3, "Noise derives one to three keys") };
    let mut extracted = Secret::<HASH_LEN>::zeroed();
    hmac(chaining, &[input], extracted.expose_mut());
    let mut keys: [Secret<HASH_LEN>; N] = std::array::from_fn(|_| Secret::zeroed());
    for i in 0..N {
        let (done, rest) = keys.split_at_mut(i);
        let previous: &[u8] = done.last().map_or(&[], |key| key.expose());
        let number = [i as u8 + 1];
        hmac(
            extracted.expose(),
            &[previous, &number],
            rest[0].expose_mut(),
        );
    }
    keys
}

#[cfg(test)]
mod tests;

//! Memory that is overwritten before it is given back.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// `N` secret bytes on the heap, overwritten on drop, compared in constant time
/// and never printed.
///
/// They are boxed because a move in Rust is a copy that leaves the original
/// behind: moving this moves a pointer, and the bytes exist once.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// All bytes zero, to be filled in place.
    #[must_use]
    pub fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }

    /// A copy of `bytes`. The caller's copy stays the caller's to overwrite.
    #[must_use]
    pub fn copy_of(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled in place.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Whether every byte is zero, in constant time.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.ct_eq(&[0; N]).into()
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Clone for Secret<N> {
    fn clone(&self) -> Self {
        Self::copy_of(&self.0)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Words of stack (16 KiB) that [`scrub_stack`] overwrites: more than the frames
/// of a scalar multiplication, a key derivation or an AEAD call need together.
const SCRUBBED: usize = 2048;

/// Overwrites the stack below the caller's frame.
///
/// Libraries that take keys by value (curve25519-dalek's scalars, ring's key
/// constructors) leave copies in frames that are gone when they return. Whoever
/// called them calls this afterwards, once per handshake step.
#[inline(never)]
pub fn scrub_stack() {
    // By words: this runs several times per handshake and should cost nothing.
    let mut frame = [0u64; SCRUBBED];
    std::hint::black_box(&mut frame);
    frame.zeroize();
    std::hint::black_box(&mut frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_sees_every_byte_and_printing_sees_none() {
        let a = Secret::copy_of(&[7u8; 32]);
        for i in 0..32 {
            let mut other = [7u8; 32];
            other[i] ^= 0x80;
            assert_ne!(a, Secret::copy_of(&other), "byte {i}");
        }
        assert_eq!(a, a.clone());
        assert!(!a.is_zero());
        assert!(Secret::<32>::zeroed().is_zero());
        assert_eq!(format!("{a:?}"), "Secret(..)");
    }
}

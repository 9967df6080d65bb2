//! ring's ChaCha20-Poly1305: vector code for x86-64 and arm64.
//!
//! ring 0.17 leaves its keys in memory when they are dropped, so the key lives
//! in a box of ours that is overwritten.

use super::aead::{Aead, AeadError, NONCE_LEN, TAG_LEN};
use super::{KEY_LEN, scrub_stack};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::mem::MaybeUninit;
use std::sync::atomic::{Ordering, compiler_fence};

// Overwriting in place of dropping leaks nothing as long as this holds.
const _: () = assert!(!std::mem::needs_drop::<LessSafeKey>());

/// A key for `ring::aead`.
pub struct RingKey {
    /// Initialised by `new`, never moved out of, overwritten by `drop`.
    /// `MaybeUninit`, because the overwritten bytes are no `LessSafeKey`.
    key: Box<MaybeUninit<LessSafeKey>>,
}

impl RingKey {
    fn key(&self) -> &LessSafeKey {
        // SAFETY: `new` initialised it, and only `drop` overwrites it.
        unsafe { self.key.assume_init_ref() }
    }
}

/// Builds ring's key in `place`; a function of its own, so that the copies that
/// ring's constructors leave behind lie below the caller's frame.
#[inline(never)]
fn build<'a>(key: &[u8; KEY_LEN], place: &'a mut MaybeUninit<LessSafeKey>) -> &'a mut LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes are a ChaCha20 key");
    place.write(LessSafeKey::new(key))
}

fn seal(key: &LessSafeKey, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
        .expect("a packet is never too long for ChaCha20");
    let mut bytes = [0; TAG_LEN];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Overwrites `place` in a way that the compiler may not leave out.
fn overwrite<T>(place: &mut MaybeUninit<T>) {
    let start = place.as_mut_ptr().cast::<u8>();
    for i in 0..size_of::<T>() {
        // SAFETY: `start` is valid for writes of `size_of::<T>()` bytes, being
        // made from an exclusive reference, and `i` is below that.
        unsafe { start.add(i).write_volatile(0) };
    }
    compiler_fence(Ordering::SeqCst);
}

impl Aead for RingKey {
    fn new(key: &[u8; KEY_LEN]) -> Self {
        let mut place = Box::new_uninit();
        build(key, &mut place);
        scrub_stack();
        Self { key: place }
    }

    fn seal_with(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        seal(self.key(), nonce, aad, text)
    }

    fn seal_public(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let mut place = MaybeUninit::uninit();
        seal(build(key, &mut place), nonce, aad, text)
    }

    fn open_with<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        text: &'a mut [u8],
    ) -> Result<&'a mut [u8], AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key()
            .open_in_place(nonce, Aad::from(aad), text)
            .map_err(|_| AeadError)
    }
}

impl Drop for RingKey {
    fn drop(&mut self) {
        overwrite(&mut self.key);
    }
}

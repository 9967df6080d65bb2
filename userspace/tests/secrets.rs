//! Secrets are gone from memory once they are dropped: the process looks for
//! them in all of its own writable memory, heap and stacks alike.
//!
//! One test in a program of its own, so that nobody else's memory moves.

use rand_core::{CryptoRng, Rng, TryCryptoRng, TryRng};
use ringtun::crypto::{
    Aead, DataKey, KEY_LEN, PortableKey, PresharedKey, PrivateKey, PublicKey, RingKey, scrub_stack,
};
use ringtun::tunnel::messages::{Initiation, Response};
use ringtun::tunnel::noise::{Identity, OpenedInitiation, PeerKeys, initiate};
use ringtun::tunnel::tai64n::Tai64n;
use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const MASK: u8 = 0x5a;
const CHUNK: usize = 1 << 20;

/// A secret in a form that is not found when the secret is looked for.
struct Needle {
    name: &'static str,
    masked: [u8; KEY_LEN],
}

impl Needle {
    fn of(name: &'static str, secret: &[u8; KEY_LEN]) -> Self {
        let mut masked = [0; KEY_LEN];
        for (masked, byte) in masked.iter_mut().zip(secret) {
            *masked = std::hint::black_box(*byte) ^ MASK;
        }
        Self { name, masked }
    }

    /// Copies of the secret in this process's memory.
    fn copies(&self, buffer: &mut [u8]) -> usize {
        let own = buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len();
        let memory = File::open("/proc/self/mem").expect("/proc is mounted");
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        let mut count = 0;
        for line in maps.lines() {
            let mut words = line.split(' ');
            let (Some(range), Some(rights)) = (words.next(), words.next()) else {
                continue;
            };
            if !rights.starts_with("rw") {
                continue;
            }
            let bound = |text| usize::from_str_radix(text, 16).expect("an address");
            let (from, to) = range.split_once('-').expect("a range");
            let (mut at, end) = (bound(from), bound(to));
            while at < end {
                // What was read before lies in the buffer; pass over it.
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let stop = if at < own.start {
                    end.min(own.start)
                } else {
                    end
                };
                let len = CHUNK.min(stop - at);
                if memory.read_exact_at(&mut buffer[..len], at as u64).is_ok() {
                    count += self.count_in(&buffer[..len]);
                }
                // Overlap, so that a copy across two chunks is seen.
                at += if len == CHUNK { len - KEY_LEN } else { len };
            }
        }
        buffer.fill(0);
        count
    }

    fn count_in(&self, haystack: &[u8]) -> usize {
        let first = self.masked[0] ^ MASK;
        haystack
            .windows(KEY_LEN)
            .filter(|w| w[0] == first && w.iter().zip(&self.masked).all(|(a, b)| *a == b ^ MASK))
            .count()
    }
}

/// Draws that can be drawn again.
struct Replay(u64);

impl TryRng for Replay {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|n| n as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Ok(z ^ (z >> 29))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Replay {}

fn private(name: &'static str, rng: &mut impl CryptoRng) -> (Needle, PrivateKey) {
    let key = PrivateKey::generate(rng);
    (Needle::of(name, key.expose()), key)
}

/// What the next private key drawn from `rng` will be.
fn drawn_next(name: &'static str, rng: &Replay) -> Needle {
    private(name, &mut Replay(rng.0)).0
}

fn shared(name: &'static str, ours: &PrivateKey, theirs: &PublicKey) -> Needle {
    let secret = ours.diffie_hellman(theirs).expect("no low-order key");
    Needle::of(name, secret.expose())
}

/// A whole handshake and a packet; everything is dropped at the end.
#[inline(never)]
fn handshake(buffer: &mut [u8]) -> Vec<Needle> {
    let rng = &mut Replay(std::process::id().into());
    let (static_a, a) = private("static key of the initiator", rng);
    let (static_b, b) = private("static key of the responder", rng);
    let psk = PresharedKey::generate(rng);
    let mut needles = vec![
        shared("static-static", &a, &b.public()),
        Needle::of("preshared key", psk.expose()),
        static_a,
        static_b,
    ];
    let (a, b) = (Identity::new(a), Identity::new(b));
    let a_of_b = PeerKeys::new(&a, *b.public(), psk.clone()).expect("no low-order key");
    let b_of_a = PeerKeys::new(&b, *a.public(), psk).expect("no low-order key");

    needles.push(drawn_next("ephemeral key of the initiator", rng));
    let (initiation, sent) = initiate(&a, &a_of_b, 1, Tai64n::ZERO, rng).expect("sound");
    let message = Initiation::new(&initiation).expect("ours");
    needles.push(shared(
        "ephemeral-static",
        b.private(),
        &message.ephemeral(),
    ));
    let received = OpenedInitiation::read(&b, message)
        .and_then(|opened| opened.authenticate(&b_of_a))
        .expect("ours");

    needles.push(drawn_next("ephemeral key of the responder", rng));
    let ephemeral_b = PrivateKey::generate(&mut Replay(rng.0));
    needles.push(shared(
        "ephemeral-ephemeral",
        &ephemeral_b,
        &message.ephemeral(),
    ));
    drop(ephemeral_b);
    let (response, b_keys) = received.respond(&b_of_a, 2, rng).expect("sound");
    let response = Response::new(&response).expect("ours");
    let a_keys = sent.accept(&a, &a_of_b, &response).expect("ours");

    let mut text = [1; 64];
    let tag = a_keys.send.seal_in_place(0, &mut text);
    let mut sealed = [&text[..], &tag].concat();
    assert!(b_keys.receive.open_in_place(0, &mut sealed).is_ok());

    // The search finds what is there, or finding nothing would prove nothing.
    for needle in &needles[..4] {
        assert!(needle.copies(buffer) > 0, "{} is in use", needle.name);
    }
    needles
}

#[inline(never)]
fn backend<A: Aead>(name: &'static str, buffer: &mut [u8]) -> Needle {
    let mut bytes = Box::new([0; KEY_LEN]);
    Replay(7 + u64::from(std::process::id())).fill_bytes(&mut *bytes);
    let needle = Needle::of(name, &bytes);
    let key = A::new(&bytes);
    bytes.fill(0);
    std::hint::black_box(&mut bytes);
    scrub_stack();
    assert_eq!(needle.copies(buffer), 1, "{name}: the key is in one place");
    let mut text = [0; 1420];
    let tag = key.seal(1, &[], &mut text);
    std::hint::black_box(tag);
    needle
}

#[test]
fn what_was_dropped_is_nowhere_in_memory() {
    let mut buffer = vec![0; CHUNK];
    let mut needles = vec![
        backend::<RingKey>("ring", &mut buffer),
        backend::<PortableKey>("portable", &mut buffer),
    ];
    needles.extend(handshake(&mut buffer));
    let key = DataKey::new(&[3; KEY_LEN]);
    drop(key);
    let left: Vec<_> = needles
        .iter()
        .map(|needle| (needle.name, needle.copies(&mut buffer)))
        .filter(|(_, copies)| *copies > 0)
        .collect();
    assert!(left.is_empty(), "still in memory: {left:?}");
}

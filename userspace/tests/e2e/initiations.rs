//! Handshake initiations that cost the responder something.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringtun::crypto::PublicKey;
use ringtun::tunnel::cookie;
use ringtun_lab::flood::{self, Target};
use ringtun_lab::stream::Pattern;

/// `struct message_initiation`: 116 bytes, MAC1 over them, MAC2.
const MAC1_AT: usize = 116;
pub const INITIATION: usize = 148;

/// Initiations that pass MAC1 and fail after a Diffie-Hellman, from as many addresses; one in four
/// with a MAC2.
pub fn initiations(target: &Target, public: &str, count: u32) -> Vec<Vec<u8>> {
    let public: [u8; 32] = STANDARD.decode(public).unwrap().try_into().unwrap();
    let key = cookie::mac1_key(&PublicKey::from_bytes(public));
    let mut random = Pattern::new(8);
    (0..count)
        .map(|number| {
            let mut message = [0; INITIATION];
            random.fill(&mut message[..MAC1_AT]);
            message[..4].copy_from_slice(&[1, 0, 0, 0]);
            let mac1 = ringtun::crypto::hash::mac(&key, &[&message[..MAC1_AT]]);
            message[MAC1_AT..MAC1_AT + 16].copy_from_slice(&mac1);
            if number.is_multiple_of(4) {
                // Made up: it must not pass for a proof of address.
                random.fill(&mut message[MAC1_AT + 16..]);
            }
            let [_, _, high, low] = number.to_be_bytes();
            let port = 1024 + (number % 50_000) as u16;
            flood::frame(target, Ipv4Addr::new(10, 66, high, low), port, &message)
        })
        .collect()
}

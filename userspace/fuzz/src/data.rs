//! A data message: header, AEAD of both backends, replay window.

use crate::Seed;
use crate::ends::{B_INDEX, Ends, RAW, datagram};
use ringtun::crypto::{Aead, PortableKey, RingKey};
use ringtun::tunnel::messages::DataHeader;
use ringtun::tunnel::replay::ReplayWindow;
use std::sync::OnceLock;

const COUNTER: u64 = 0x0102_0304;
const TEXT: [u8; 80] = [0x45; 80];

/// A true message with [`COUNTER`].
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let header = DataHeader {
            receiver: B_INDEX,
            counter: COUNTER,
        };
        let mut text = TEXT;
        let tag = Ends::get().a_keys.send.seal_in_place(COUNTER, &mut text);
        [&header.to_bytes()[..], &text, &tag].concat()
    })
}

/// Only the true message opens, and only once; and for any bytes as key,
/// counter and packet both backends say the same.
pub fn run(data: &[u8]) {
    let Some((_, bytes)) = datagram(data, good()) else {
        return;
    };
    backends_agree(&bytes);
    let Some(header) = DataHeader::read(&bytes) else {
        assert!(bytes.len() < 32 || bytes[..4] != [4, 0, 0, 0]);
        return;
    };
    if header.receiver != B_INDEX {
        return;
    }
    let mut sealed = bytes[16..].to_vec();
    let keys = &Ends::get().b_keys;
    match keys.receive.open_in_place(header.counter, &mut sealed) {
        Ok(text) => {
            assert_eq!(bytes, good(), "a forgery was accepted");
            assert_eq!(*text, TEXT);
            let mut window = ReplayWindow::new();
            assert!(window.accept(header.counter));
            assert!(!window.accept(header.counter), "a replay was accepted");
        }
        Err(_) => assert_ne!(bytes, good(), "the true message was refused"),
    }
}

/// The first 40 bytes are key and counter, the rest is sealed and opened.
fn backends_agree(bytes: &[u8]) {
    let Some((key, rest)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let Some((counter, text)) = rest.split_first_chunk::<8>() else {
        return;
    };
    let counter = u64::from_le_bytes(*counter);
    let (ring, portable) = (RingKey::new(key), PortableKey::new(key));
    let (mut a, mut b) = (text.to_vec(), text.to_vec());
    let tag = ring.seal(counter, key, &mut a);
    assert_eq!(tag, portable.seal(counter, key, &mut b));
    assert_eq!(a, b);
    a.extend_from_slice(&tag);
    let opened = portable.open(counter, key, &mut a);
    assert_eq!(opened.expect("sealed by the other backend"), text);
    let mut garbage = text.to_vec();
    assert!(ring.open(counter, key, &mut garbage).is_err());
}

/// The true one, and one edit in each field.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    vec![
        ("true", vec![0]),
        ("true-raw", [&[RAW][..], good()].concat()),
        ("receiver", vec![0, 4, 1]),
        ("counter", vec![0, 8, 1]),
        ("text", vec![0, 16, 1]),
        ("tag", vec![0, 111, 1]),
        ("keepalive", [&[RAW, 4, 0, 0, 0][..], &[0; 28]].concat()),
    ]
}

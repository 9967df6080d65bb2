//! A response as the initiator takes it.

use crate::Seed;
use crate::ends::{Ends, NOW, RAW, RESTAMP, datagram};
use ringtun::tunnel::cookie::{CookieJar, check_mac1};
use ringtun::tunnel::messages::{RESPONSE_LEN, Response};

/// What is accepted is the true response, but for the sender's index (by MAC1
/// alone) and MAC2; and a refused one leaves the true one acceptable.
pub fn run(data: &[u8]) {
    let ends = Ends::get();
    let Some((flags, mut bytes)) = datagram(data, &ends.response) else {
        return;
    };
    if flags & RESTAMP != 0
        && let Ok(array) = <&mut [u8; RESPONSE_LEN]>::try_from(&mut bytes[..])
    {
        CookieJar::default().stamp(NOW, &ends.b_of_a, array);
    }
    let Some(message) = Response::new(&bytes) else {
        assert_ne!((bytes.len(), bytes.get(..4)), (92, Some(&[2, 0, 0, 0][..])));
        return;
    };
    if !check_mac1(&ends.a, &bytes) {
        assert_ne!(bytes[..76], ends.response[..76], "true MAC1 refused");
        return;
    }
    match ends.sent.accept(&ends.a, &ends.a_of_b, &message) {
        Ok(keys) => {
            assert_eq!(bytes[8..60], ends.response[8..60], "a forgery was accepted");
            assert_eq!(keys.local_index, ends.a_keys.local_index);
            assert_eq!(keys.remote_index, message.sender());
            let mut text = *b"the same session?";
            let tag = keys.send.seal_in_place(1, &mut text);
            let mut sealed = [&text[..], &tag].concat();
            let opened = ends.b_keys.receive.open_in_place(1, &mut sealed);
            assert_eq!(opened.expect("the same keys"), b"the same session?");
        }
        Err(error) => {
            assert_ne!(bytes[8..60], ends.response[8..60], "{error}");
            if bytes[12] % 16 == 0 {
                let good = Response::new(&ends.response).expect("our own response");
                assert!(ends.sent.accept(&ends.a, &ends.a_of_b, &good).is_ok());
            }
        }
    }
}

/// The true one, and one edit in each field.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let raw = [&[RAW][..], &Ends::get().response].concat();
    vec![
        ("true", vec![0]),
        ("true-raw", raw),
        ("sender", vec![RESTAMP, 4, 1]),
        ("receiver", vec![RESTAMP, 8, 1]),
        ("ephemeral", vec![RESTAMP, 12, 1]),
        ("ephemeral-high-bit", vec![RESTAMP, 43, 0x80]),
        ("empty-tag", vec![RESTAMP, 59, 1]),
        ("mac1", vec![0, 60, 1]),
        ("mac2", vec![0, 76, 1]),
    ]
}

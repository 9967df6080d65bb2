//! A cookie reply as the initiator takes it.

use crate::Seed;
use crate::ends::{Ends, NOW, RAW, datagram};
use ringtun::tunnel::cookie::CookieJar;
use ringtun::tunnel::messages::{COOKIE_REPLY_LEN, CookieReply, INITIATION_LEN};
use ringtun::tunnel::noise::NoiseError;

/// A jar that has sent the initiation and waits.
fn waiting(ends: &Ends) -> CookieJar {
    let mut jar = CookieJar::default();
    let mut again: [u8; INITIATION_LEN] = ends.initiation;
    jar.stamp(NOW, &ends.a_of_b, &mut again);
    assert_eq!(
        again, ends.initiation,
        "a jar without a cookie makes no MAC2"
    );
    jar
}

/// MAC2 of the next message.
fn mac2(jar: &mut CookieJar, ends: &Ends) -> [u8; 16] {
    let mut next = ends.initiation;
    jar.stamp(NOW, &ends.a_of_b, &mut next);
    let [.., mac2] = [*next.last_chunk::<16>().expect("148 bytes")];
    mac2
}

/// What is accepted is the true reply, but for the receiver's index, which is
/// looked up; a refused one gives no cookie and leaves the true one acceptable.
pub fn run(data: &[u8]) {
    let ends = Ends::get();
    let Some((_, bytes)) = datagram(data, &ends.cookie_reply) else {
        return;
    };
    let Some(reply) = CookieReply::new(&bytes) else {
        assert_ne!(
            (bytes.len(), bytes.get(..4)),
            (COOKIE_REPLY_LEN, Some(&[3, 0, 0, 0][..]))
        );
        return;
    };
    let good = CookieReply::new(&ends.cookie_reply).expect("our own reply");
    let mut jar = waiting(ends);
    match jar.receive(NOW, &ends.a_of_b, &reply) {
        Ok(()) => {
            assert_eq!(bytes[8..], ends.cookie_reply[8..], "a forgery was accepted");
            let again = jar.receive(NOW, &ends.a_of_b, &good);
            assert_eq!(again, Err(NoiseError::Mismatch), "one message, one reply");
            assert_ne!(mac2(&mut jar, ends), [0; 16]);
        }
        Err(error) => {
            assert_ne!(bytes[8..], ends.cookie_reply[8..], "{error}");
            assert_eq!(jar.awaiting(), waiting(ends).awaiting());
            assert_eq!(jar.receive(NOW, &ends.a_of_b, &good), Ok(()));
        }
    }
}

/// The true one, and one edit in each field.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let raw = [&[RAW][..], &Ends::get().cookie_reply].concat();
    vec![
        ("true", vec![0]),
        ("true-raw", raw),
        ("type", vec![0, 0, 7]),
        ("receiver", vec![0, 4, 1]),
        ("nonce", vec![0, 8, 1]),
        ("cookie", vec![0, 32, 1]),
        ("tag", vec![0, 63, 1]),
    ]
}

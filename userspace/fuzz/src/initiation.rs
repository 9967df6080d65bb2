//! An initiation as the responder takes it: shape, MAC1, static key, timestamp.

use crate::Seed;
use crate::ends::{Ends, NOW, RAW, RESTAMP, datagram};
use ringtun::tunnel::cookie::{CookieJar, check_mac1};
use ringtun::tunnel::messages::{INITIATION_LEN, Initiation};
use ringtun::tunnel::noise::{NoiseError, OpenedInitiation, ReceivedInitiation};

fn take(ends: &Ends, message: Initiation<'_>) -> Result<ReceivedInitiation, NoiseError> {
    OpenedInitiation::read(&ends.b, message)?.authenticate(&ends.b_of_a)
}

/// What is accepted is the true initiation, but for what no key protects: the
/// sender's index (by MAC1 alone) and MAC2.
pub fn run(data: &[u8]) {
    let ends = Ends::get();
    let Some((flags, mut bytes)) = datagram(data, &ends.initiation) else {
        return;
    };
    if flags & RESTAMP != 0
        && let Ok(array) = <&mut [u8; INITIATION_LEN]>::try_from(&mut bytes[..])
    {
        CookieJar::default().stamp(NOW, &ends.a_of_b, array);
    }
    let Some(message) = Initiation::new(&bytes) else {
        assert_ne!(
            (bytes.len(), bytes.get(..4)),
            (148, Some(&[1, 0, 0, 0][..]))
        );
        return;
    };
    if !check_mac1(&ends.b, &bytes) {
        assert_ne!(bytes[..132], ends.initiation[..132], "true MAC1 refused");
        return;
    }
    match take(ends, message) {
        Ok(received) => {
            assert_eq!(
                bytes[8..116],
                ends.initiation[8..116],
                "a forgery was accepted"
            );
            assert_eq!(received.peer(), ends.a.public());
            assert_eq!(received.timestamp(), ends.received.timestamp());
            assert_eq!(received.remote_index(), message.sender());
        }
        Err(error) => {
            assert_ne!(bytes[8..116], ends.initiation[8..116], "{error}");
        }
    }
}

/// The true one, and one edit in each field.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let raw = [&[RAW][..], &Ends::get().initiation].concat();
    vec![
        ("true", vec![0]),
        ("true-raw", raw),
        ("type", vec![0, 0, 5]),
        ("sender", vec![RESTAMP, 4, 1]),
        ("ephemeral", vec![RESTAMP, 8, 1]),
        ("ephemeral-high-bit", vec![RESTAMP, 39, 0x80]),
        ("static", vec![RESTAMP, 40, 1]),
        ("static-tag", vec![RESTAMP, 87, 1]),
        ("timestamp", vec![RESTAMP, 88, 1]),
        ("timestamp-tag", vec![RESTAMP, 115, 1]),
        ("mac1", vec![0, 116, 1]),
        ("mac2", vec![0, 132, 1]),
    ]
}

//! Which message a datagram is, and what its header says.

use crate::Seed;
use ringtun::tunnel::messages::{DataHeader, Message};

/// A message has a type, three zero bytes and its length; its fields lie where
/// the paper puts them.
pub fn run(data: &[u8]) {
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().expect("4 bytes"));
    match Message::parse(data) {
        Err(_) => {
            let shape = (data.first(), data.get(1..4), data.len());
            let good = match shape {
                (Some(1), Some(&[0, 0, 0]), 148) => true,
                (Some(2), Some(&[0, 0, 0]), 92) => true,
                (Some(3), Some(&[0, 0, 0]), 64) => true,
                (Some(4), Some(&[0, 0, 0]), len) => len >= 32,
                _ => false,
            };
            assert!(!good, "refused a message");
        }
        Ok(Message::Initiation(m)) => {
            assert_eq!((data[0], data.len()), (1, 148));
            assert_eq!(m.as_bytes()[..], *data);
            assert_eq!(m.sender(), word(4));
            assert_eq!(m.ephemeral().as_bytes()[..], data[8..40]);
            assert_eq!(m.sealed_static()[..], data[40..88]);
            assert_eq!(m.sealed_timestamp()[..], data[88..116]);
            assert_eq!(m.mac1()[..], data[116..132]);
            assert_eq!(m.mac2()[..], data[132..]);
        }
        Ok(Message::Response(m)) => {
            assert_eq!((data[0], data.len()), (2, 92));
            assert_eq!((m.sender(), m.receiver()), (word(4), word(8)));
            assert_eq!(m.ephemeral().as_bytes()[..], data[12..44]);
            assert_eq!(m.sealed_empty()[..], data[44..60]);
            assert_eq!(m.mac1()[..], data[60..76]);
            assert_eq!(m.mac2()[..], data[76..]);
        }
        Ok(Message::CookieReply(m)) => {
            assert_eq!((data[0], data.len()), (3, 64));
            assert_eq!(m.receiver(), word(4));
            assert_eq!(m.nonce()[..], data[8..32]);
            assert_eq!(m.sealed_cookie()[..], data[32..]);
        }
        Ok(Message::Data(header)) => {
            assert!(data.len() >= 32);
            assert_eq!(header.receiver, word(4));
            let counter = u64::from(word(8)) | u64::from(word(12)) << 32;
            assert_eq!(header.counter, counter);
            assert_eq!(header.to_bytes()[..], data[..16]);
            assert_eq!(DataHeader::read(data), Some(header));
        }
    }
}

/// One of each kind, and the shapes next to them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let of = |kind: u8, len: usize| {
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        bytes
    };
    vec![
        ("initiation", of(1, 148)),
        ("response", of(2, 92)),
        ("cookie-reply", of(3, 64)),
        ("keepalive", of(4, 32)),
        ("data-unpadded", of(4, 32 + 1420)),
        ("data-too-short", of(4, 31)),
        ("initiation-long", of(1, 149)),
        ("unknown-type", of(5, 148)),
        ("reserved-set", [vec![1, 0, 0, 1], vec![0; 144]].concat()),
    ]
}

//! Layouts, and what is no message.

use super::*;
use proptest::prelude::*;

/// `len` bytes that begin as `kind` and then count up.
fn sample(kind: [u8; 4], len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
    bytes[..4].copy_from_slice(&kind);
    bytes
}

fn counting(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| i as u8).collect()
}

#[test]
fn an_initiation_has_its_fields_where_the_paper_puts_them() {
    let bytes = sample(TYPE_INITIATION, 148);
    let Ok(Message::Initiation(m)) = Message::parse(&bytes) else {
        panic!("no initiation");
    };
    assert_eq!(m.sender(), 0x0706_0504);
    assert_eq!(m.ephemeral().as_bytes()[..], counting(8, 32));
    assert_eq!(m.sealed_static()[..], counting(40, 48));
    assert_eq!(m.sealed_timestamp()[..], counting(88, 28));
    assert_eq!(m.mac1()[..], counting(116, 16));
    assert_eq!(m.mac2()[..], counting(132, 16));
    assert_eq!(m.as_bytes()[..], bytes);
}

#[test]
fn a_response_has_its_fields_where_the_paper_puts_them() {
    let bytes = sample(TYPE_RESPONSE, 92);
    let Ok(Message::Response(m)) = Message::parse(&bytes) else {
        panic!("no response");
    };
    assert_eq!(m.sender(), 0x0706_0504);
    assert_eq!(m.receiver(), 0x0b0a_0908);
    assert_eq!(m.ephemeral().as_bytes()[..], counting(12, 32));
    assert_eq!(m.sealed_empty()[..], counting(44, 16));
    assert_eq!(m.mac1()[..], counting(60, 16));
    assert_eq!(m.mac2()[..], counting(76, 16));
}

#[test]
fn a_cookie_reply_has_its_fields_where_the_paper_puts_them() {
    let bytes = sample(TYPE_COOKIE_REPLY, 64);
    let Ok(Message::CookieReply(m)) = Message::parse(&bytes) else {
        panic!("no cookie reply");
    };
    assert_eq!(m.receiver(), 0x0706_0504);
    assert_eq!(m.nonce()[..], counting(8, 24));
    assert_eq!(m.sealed_cookie()[..], counting(32, 32));
}

#[test]
fn a_data_header_goes_there_and_back() {
    for len in [32usize, 33, 48, 1452, 65_535] {
        let bytes = sample(TYPE_DATA, len);
        let Ok(Message::Data(header)) = Message::parse(&bytes) else {
            panic!("no data");
        };
        assert_eq!(header.receiver, 0x0706_0504);
        assert_eq!(header.counter, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(header.to_bytes()[..], bytes[..16]);
    }
    assert!(Message::parse(&sample(TYPE_DATA, 31)).is_err());
}

#[test]
fn every_length_of_every_type_is_judged() {
    for kind in 0..=255u8 {
        for len in 4..=200 {
            let parsed = Message::parse(&sample([kind, 0, 0, 0], len)).is_ok();
            let want = matches!((kind, len), (1, 148) | (2, 92) | (3, 64) | (4, 32..));
            assert_eq!(parsed, want, "type {kind}, {len} bytes");
        }
    }
    for len in 0..4 {
        assert!(Message::parse(&TYPE_DATA[..len]).is_err());
    }
}

#[test]
fn reserved_bytes_are_zero() {
    for (kind, len) in [
        (TYPE_INITIATION, 148),
        (TYPE_RESPONSE, 92),
        (TYPE_COOKIE_REPLY, 64),
        (TYPE_DATA, 32),
    ] {
        for bit in 8..32 {
            let mut bytes = sample(kind, len);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Message::parse(&bytes).unwrap_err(), DropReason::Malformed);
        }
    }
}

proptest! {
    #[test]
    fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes);
    }
}

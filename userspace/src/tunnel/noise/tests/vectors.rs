//! A whole handshake with fixed keys, computed elsewhere.
//!
//! The values are the "golden vectors" that github.com/ausimian/wagyu publishes
//! (test/support/golden_vectors.ex): computed from the WireGuard paper with Go's
//! golang.org/x/crypto, and checked there against wireguard-go.

use super::*;
use crate::crypto::testing::{hex, hex_array};
use crate::tunnel::cookie::{self, CookieJar};
use crate::tunnel::messages::DataHeader;
use crate::tunnel::time::BootTime;

const INITIATOR: &str = "30f840b57759f1b03f2881d249d8440535438013bb60c4e3ca186eec5baa6543";
const INITIATOR_EPHEMERAL: &str =
    "182b58c93fad2340de69fb6d0552da2e49076dd4234cebb83bec468a55ec7158";
const RESPONDER: &str = "d029badf266e850d35eba96e36f9e4715915c2fdc87b4acdddeae3a18f02cb42";
const RESPONDER_EPHEMERAL: &str =
    "e8edd8b94e9e711507abccf605273ce332f67e122a9572e79d2e07b0ba7bd45d";
const INITIATION: &str = "01000000443322116753afd63220b4bc669fc51be6a98c4ca498dc9f07cfa599
    ccb1ab60585ebf26ff4daeda1210129a7ae289f2e08f2d67ed6b3a29d9036cb70c1fefb746ef68122d380bc4
    1954fe0663c66a116b36156f32eac6f967e7188dc05c671220d9bcb24061d5e7461c776abe65f75912946c06
    a2130e38f001eeef43fca8f100000000000000000000000000000000";
const RESPONSE: &str = "0200000088776655443322119fecf3a3b59f4db692fc60bd80be4db76e002477
    fea089cf63780509e3b0fd01bbbc7e06808d05e4a8c65bd79edc09e52d38a7e43a219f4ff72f6cc2b7f930c6
    00000000000000000000000000000000";
const INITIATOR_KEEPALIVE: &str =
    "04000000887766550000000000000000c4bfa7e570337f89d91edf4828f132e4";
const RESPONDER_KEEPALIVE: &str =
    "04000000443322110000000000000000885cbca697398d78d5f38da2cb2c92dc";

fn key(text: &str) -> PrivateKey {
    PrivateKey::from_bytes(&hex_array(text))
}

fn keepalive(key: &DataKey, receiver: u32) -> Vec<u8> {
    let header = DataHeader {
        receiver,
        counter: 0,
    };
    [&header.to_bytes()[..], &key.seal_in_place(0, &mut [])].concat()
}

#[test]
fn a_published_handshake_comes_out_byte_by_byte() {
    let (a, b) = (Identity::new(key(INITIATOR)), Identity::new(key(RESPONDER)));
    let none = PresharedKey::none;
    let a_of_b = PeerKeys::new(&a, *b.public(), none()).unwrap();
    let b_of_a = PeerKeys::new(&b, *a.public(), none()).unwrap();
    let now = BootTime::from_nanos(1);
    let timestamp = Tai64n::of(WallTime {
        secs: 1_700_000_000,
        nanos: 5 << 24,
    });

    let (mut initiation, sent) = initiate_with(
        &a,
        &a_of_b,
        0x1122_3344,
        timestamp,
        key(INITIATOR_EPHEMERAL),
    )
    .unwrap();
    CookieJar::default().stamp(now, &a_of_b, &mut initiation);
    assert_eq!(initiation[..], hex(INITIATION)[..]);
    assert!(cookie::check_mac1(&b, &initiation));

    let opened = OpenedInitiation::read(&b, Initiation::new(&initiation).unwrap()).unwrap();
    assert_eq!(opened.peer(), a.public());
    let received = opened.authenticate(&b_of_a).unwrap();
    assert_eq!(received.timestamp(), timestamp);
    let (mut response, b_keys) = received
        .respond_with(&b_of_a, 0x5566_7788, &key(RESPONDER_EPHEMERAL))
        .unwrap();
    CookieJar::default().stamp(now, &b_of_a, &mut response);
    assert_eq!(response[..], hex(RESPONSE)[..]);
    assert!(cookie::check_mac1(&a, &response));

    let a_keys = sent
        .accept(&a, &a_of_b, &Response::new(&response).unwrap())
        .unwrap();
    assert_eq!(
        keepalive(&a_keys.send, a_keys.remote_index),
        hex(INITIATOR_KEEPALIVE)
    );
    assert_eq!(
        keepalive(&b_keys.send, b_keys.remote_index),
        hex(RESPONDER_KEEPALIVE)
    );
    assert_same_session(&a_keys, &b_keys);
}

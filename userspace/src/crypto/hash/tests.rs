//! BLAKE2s, HMAC and key derivation against published vectors.

use super::*;
use crate::crypto::testing::{hex, hex_array};
use blake2::digest::consts::{U20, U28, U32};
use blake2::digest::typenum::Unsigned;
use blake2::digest::{Output, OutputSizeUser};

/// The deterministic bytes of RFC 7693 appendix E.
fn sequence(len: usize, seed: u32) -> Vec<u8> {
    let (mut a, mut b) = (seed.wrapping_mul(0xdead_4bad), 1u32);
    (0..len)
        .map(|_| {
            (a, b) = (b, a.wrapping_add(b));
            (b >> 24) as u8
        })
        .collect()
}

/// The library's keyed hash of a length that WireGuard does not use.
fn library_mac<M: Mac + KeyInit + OutputSizeUser>(text: &[u8], state: &mut Vec<u8>) {
    let len = M::OutputSize::to_usize();
    let mut keyed = <M as KeyInit>::new_from_slice(&sequence(len, len as u32)).unwrap();
    Mac::update(&mut keyed, text);
    let out: Output<M> = keyed.finalize().into_bytes();
    state.extend_from_slice(&out);
}

fn library_hash<D: Digest>(text: &[u8], state: &mut Vec<u8>) {
    state.extend_from_slice(&D::digest(text));
}

#[test]
fn rfc_7693_appendix_e_self_test() {
    let mut all = Vec::new();
    let inputs = [0usize, 3, 64, 65, 255, 1024].map(|len| sequence(len, len as u32));
    for text in &inputs {
        library_hash::<blake2::Blake2s128>(text, &mut all);
        let key: [u8; 16] = sequence(16, 16).try_into().unwrap();
        all.extend_from_slice(&mac(&key, &[text]));
    }
    for text in &inputs {
        library_hash::<blake2::Blake2s<U20>>(text, &mut all);
        library_mac::<Blake2sMac<U20>>(text, &mut all);
    }
    for text in &inputs {
        library_hash::<blake2::Blake2s<U28>>(text, &mut all);
        library_mac::<Blake2sMac<U28>>(text, &mut all);
    }
    for text in &inputs {
        all.extend_from_slice(&hash(&[text]));
        library_mac::<Blake2sMac<U32>>(text, &mut all);
    }
    assert_eq!(
        hash(&[&all]),
        hex_array("6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe")
    );
}

#[test]
fn rfc_7693_appendix_b() {
    let out = hex_array("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    assert_eq!(hash(&[b"abc"]), out);
    assert_eq!(hash(&[b"a", b"", b"bc"]), out);
}

#[test]
fn every_bit_of_a_mac_key_and_of_the_text_counts() {
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let text: [u8; 116] = std::array::from_fn(|i| i as u8);
    let good = mac(&key, &[&text]);
    assert_eq!(mac(&key, &[&text[..7], &text[7..]]), good);
    for bit in 0..256 {
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(mac(&other, &[&text]), good);
    }
    for bit in 0..text.len() * 8 {
        let mut other = text;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(mac(&key, &[&other]), good);
    }
}

/// HMAC pads short keys with zeros, so these are 32-byte keys too.
fn padded(key: &[u8]) -> [u8; HASH_LEN] {
    let mut out = [0; HASH_LEN];
    out[..key.len()].copy_from_slice(key);
    out
}

#[test]
fn key_derivation_as_wireguard_go_tests_it() {
    let vectors = [
        (
            "test-key",
            "test-input",
            "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
            "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
            "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
        ),
        (
            "wireguard",
            "wireguard",
            "491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
            "1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
            "31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160",
        ),
        (
            "",
            "",
            "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
            "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
            "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
        ),
    ];
    for (key, input, one, two, three) in vectors {
        let key = padded(key.as_bytes());
        let want = [one, two, three].map(hex);
        let derived = kdf::<3>(&key, input.as_bytes());
        for (i, (derived, want)) in derived.iter().zip(&want).enumerate() {
            assert_eq!(derived.expose()[..], want[..], "output {i}");
        }
        // Fewer outputs are a prefix of more.
        assert_eq!(kdf::<2>(&key, input.as_bytes())[..], derived[..2]);
        assert_eq!(kdf::<1>(&key, input.as_bytes())[..], derived[..1]);
    }
}

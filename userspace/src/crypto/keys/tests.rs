//! X25519 against RFC 7748, low-order points, encodings of keys.

use super::*;
use crate::crypto::os_rng;
use crate::crypto::testing::hex_array;

fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> [u8; 32] {
    *PrivateKey::from_bytes(scalar)
        .diffie_hellman(&PublicKey::from_bytes(*point))
        .unwrap()
        .expose()
}

#[test]
fn rfc_7748_section_5_2() {
    let vectors = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    for (scalar, point, out) in vectors {
        assert_eq!(
            x25519(&hex_array(scalar), &hex_array(point)),
            hex_array(out)
        );
    }
}

#[test]
fn rfc_7748_section_5_2_iterated() {
    let mut point = [0; 32];
    point[0] = 9;
    let mut scalar = point;
    for round in 1..=1000 {
        (scalar, point) = (x25519(&scalar, &point), scalar);
        if round == 1 {
            let once = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
            assert_eq!(scalar, hex_array(once));
        }
    }
    let thousand = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
    assert_eq!(scalar, hex_array(thousand));
}

#[test]
fn rfc_7748_section_6_1() {
    let key = |text| PrivateKey::from_bytes(&hex_array(text));
    let alice = key("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(*alice.public().as_bytes(), hex_array(public));
    let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(*bob.public().as_bytes(), hex_array(public));
    let shared = hex_array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(
        *alice.diffie_hellman(&bob.public()).unwrap().expose(),
        shared
    );
    assert_eq!(
        *bob.diffie_hellman(&alice.public()).unwrap().expose(),
        shared
    );
}

/// The points of order 1, 2, 4 and 8 below 2^255, and their aliases beyond the
/// prime (cr.yp.to/ecdh.html, "contributory behaviour").
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn the_seven_low_order_points_are_refused() {
    for _ in 0..4 {
        let private = PrivateKey::generate(&mut os_rng());
        for text in LOW_ORDER {
            let mut point: [u8; 32] = hex_array(text);
            let public = PublicKey::from_bytes(point);
            assert_eq!(private.diffie_hellman(&public), Err(LowOrder), "{text}");
            // The highest bit is not part of the number (RFC 7748 section 5).
            point[31] |= 0x80;
            let public = PublicKey::from_bytes(point);
            assert_eq!(private.diffie_hellman(&public), Err(LowOrder), "{text}");
        }
        let two = PublicKey::from_bytes(std::array::from_fn(|i| if i == 0 { 2 } else { 0 }));
        assert!(private.diffie_hellman(&two).is_ok());
    }
}

#[test]
fn private_keys_are_clamped_however_they_arrive() {
    let loose = [0xff; 32];
    let mut clamped = loose;
    clamped[0] = 0xf8;
    clamped[31] = 0x7f;
    let hex = "ff".repeat(32);
    let base64 = "//////////////////////////////////////////8=";
    for key in [
        PrivateKey::from_bytes(&loose),
        PrivateKey::from_hex(&hex).unwrap(),
        PrivateKey::from_base64(base64).unwrap(),
    ] {
        assert_eq!(*key.expose(), clamped);
    }
    let zero = PrivateKey::from_bytes(&[0; 32]);
    assert_eq!((zero.expose()[0], zero.expose()[31]), (0, 0x40));
}

#[test]
fn both_ends_agree_and_texts_give_keys_back() {
    let (a, b) = (
        PrivateKey::generate(&mut os_rng()),
        PrivateKey::generate(&mut os_rng()),
    );
    assert_eq!(
        a.diffie_hellman(&b.public()).unwrap(),
        b.diffie_hellman(&a.public()).unwrap()
    );
    assert_eq!(PrivateKey::from_base64(&a.to_base64()).unwrap(), a);
    assert_eq!(PrivateKey::from_hex(&a.to_hex()).unwrap(), a);
    let public = a.public();
    assert_eq!(public.to_base64().parse::<PublicKey>().unwrap(), public);
    assert_eq!(PublicKey::from_hex(&public.to_hex()).unwrap(), public);
    let psk = PresharedKey::generate(&mut os_rng());
    assert_eq!(PresharedKey::from_base64(&psk.to_base64()).unwrap(), psk);
    assert_eq!(PresharedKey::from_hex(&psk.to_hex()).unwrap(), psk);
    assert!(psk.is_set());
    assert!(!PresharedKey::none().is_set());
    assert_ne!(a, b);
}

#[test]
fn nothing_secret_is_printed() {
    let private = PrivateKey::generate(&mut os_rng());
    let psk = PresharedKey::generate(&mut os_rng());
    assert_eq!(
        format!("{private:?} {psk:?}"),
        "PrivateKey(..) PresharedKey(..)"
    );
    // An error names no part of the text.
    let error = PrivateKey::from_base64("secret-but-mistyped").unwrap_err();
    assert_eq!(error.to_string(), "a key has 44 characters, this has 19");
}

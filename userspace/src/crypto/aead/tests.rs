//! Both backends against published vectors, against tampering and against
//! each other.

use super::*;
use crate::crypto::testing::{hex, hex_array};
use crate::crypto::{PortableKey, RingKey};
use proptest::prelude::*;

/// One call for each backend.
fn backends(key: &[u8; KEY_LEN]) -> [(&'static str, Box<dyn Aead>); 2] {
    [
        ("ring", Box::new(RingKey::new(key))),
        ("portable", Box::new(PortableKey::new(key))),
    ]
}

fn sealed(aead: &dyn Aead, nonce: &[u8; NONCE_LEN], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let tag = aead.seal_with(nonce, aad, &mut out);
    out.extend_from_slice(&tag);
    out
}

fn opened(
    aead: &dyn Aead,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, AeadError> {
    let mut copy = sealed.to_vec();
    aead.open_with(nonce, aad, &mut copy)
        .map(|text| text.to_vec())
}

fn check(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], aad: &[u8], text: &[u8], out: &[u8]) {
    for (name, aead) in backends(key) {
        assert_eq!(sealed(&*aead, nonce, aad, text), out, "{name} seals");
        assert_eq!(
            opened(&*aead, nonce, aad, out).unwrap(),
            text,
            "{name} opens"
        );
    }
}

const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you \
only one tip for the future, sunscreen would be it.";

#[test]
fn rfc_8439_section_2_8_2() {
    check(
        &std::array::from_fn(|i| 0x80 + i as u8),
        &hex_array("070000004041424344454647"),
        &hex("50515253c0c1c2c3c4c5c6c7"),
        SUNSCREEN,
        &hex(
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
              3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
              92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
              3ff4def08e4b7a9de576d26586cec64b6116
              1ae10b594f09e26a7e902ecbd0600691",
        ),
    );
}

#[test]
fn rfc_8439_appendix_a_5() {
    let key = hex_array("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
    let aad = hex("f33388860000000000004e91");
    let text = "Internet-Drafts are draft documents valid for a maximum of six months and may \
be updated, replaced, or obsoleted by other documents at any time. It is inappropriate to use \
Internet-Drafts as reference material or to cite them other than as /\u{201c}work in \
progress./\u{201d}";
    let out = hex(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2
                   4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf
                   332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855
                   9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4
                   b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e
                   af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a
                   0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10
                   49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29
                   a6ad5cb4022b02709b eead9d67890cbb22392336fea1851f38",
    );
    check(
        &key,
        &hex_array("000000000102030405060708"),
        &aad,
        text.as_bytes(),
        &out,
    );
    // This nonce begins with four zero bytes: it is WireGuard's nonce of a counter.
    for (name, aead) in backends(&key) {
        let mut copy = out.clone();
        let plain = aead.open(0x0807_0605_0403_0201, &aad, &mut copy).unwrap();
        assert_eq!(plain, text.as_bytes(), "{name}");
    }
}

#[test]
fn project_wycheproof() {
    let mut seen = [0, 0];
    for line in include_str!("wycheproof.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [kind @ ("valid" | "invalid"), key, nonce, aad, text, out] = fields[..] else {
            assert!(line.starts_with('#'), "{line}");
            continue;
        };
        let (key, nonce) = (hex_array(key), hex_array(nonce));
        let (aad, text, out) = (hex(aad), hex(text), hex(out));
        if kind == "valid" {
            seen[0] += 1;
            check(&key, &nonce, &aad, &text, &out);
        } else {
            seen[1] += 1;
            for (name, aead) in backends(&key) {
                assert_eq!(
                    opened(&*aead, &nonce, &aad, &out),
                    Err(AeadError),
                    "{name} {line}"
                );
            }
        }
    }
    assert_eq!(seen, [233, 60]);
}

/// Lengths of packets: everything around the block sizes, then whole MTUs.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([1420, 8900, 65_519])
}

#[test]
fn all_lengths_seal_alike_and_open_with_either_backend() {
    let [(_, ring), (_, portable)] = backends(&[0x42; KEY_LEN]);
    for len in lengths() {
        let text: Vec<u8> = (0..len).map(|i| (i * 31 + len) as u8).collect();
        let nonce = nonce(len as u64);
        let a = sealed(&*ring, &nonce, b"", &text);
        let b = sealed(&*portable, &nonce, b"", &text);
        assert_eq!(a, b, "length {len}");
        assert_eq!(opened(&*ring, &nonce, b"", &b).unwrap(), text);
        assert_eq!(opened(&*portable, &nonce, b"", &a).unwrap(), text);
    }
}

#[test]
fn every_bit_of_tag_text_nonce_and_aad_counts() {
    for (name, aead) in backends(&[9; KEY_LEN]) {
        for len in [0usize, 1, 15, 16, 17, 63, 64, 65, 300] {
            let nonce = nonce(7);
            let aad = b"associated";
            let good = sealed(&*aead, &nonce, aad, &vec![0xc3; len]);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    opened(&*aead, &nonce, aad, &bad).is_err(),
                    "{name} {len} bit {bit}"
                );
            }
            for bit in 0..NONCE_LEN * 8 {
                let mut wrong = nonce;
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    opened(&*aead, &wrong, aad, &good).is_err(),
                    "{name} nonce {bit}"
                );
            }
            for bit in 0..aad.len() * 8 {
                let mut wrong = *aad;
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    opened(&*aead, &nonce, &wrong, &good).is_err(),
                    "{name} aad {bit}"
                );
            }
            assert!(opened(&*aead, &nonce, b"", &good).is_err());
            assert!(opened(&*aead, &nonce, aad, &good).is_ok());
        }
    }
}

#[test]
fn tampered_large_packets_and_every_truncation_are_refused() {
    for (name, aead) in backends(&[3; KEY_LEN]) {
        for len in [1420usize, 8900, 65_519] {
            let good = sealed(&*aead, &nonce(1), b"", &vec![1; len]);
            for at in [0, len / 2, len - 1, len, len + 8, len + 15] {
                let mut bad = good.clone();
                bad[at] ^= 0x10;
                assert!(
                    opened(&*aead, &nonce(1), b"", &bad).is_err(),
                    "{name} {len} at {at}"
                );
            }
        }
        let good = sealed(&*aead, &nonce(1), b"", &[1; 300]);
        for len in 0..good.len() {
            assert!(
                opened(&*aead, &nonce(1), b"", &good[..len]).is_err(),
                "{name} {len}"
            );
            assert!(opened(&*aead, &nonce(1), b"", &good[len + 1..]).is_err());
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(opened(&*aead, &nonce(1), b"", &longer).is_err());
    }
}

#[test]
fn a_data_key_opens_what_its_counterpart_sealed_and_nothing_else() {
    let key = DataKey::new(&[5; KEY_LEN]);
    let mut packet = vec![0xaa; 48];
    let tag = key.seal_in_place(u64::MAX - 1, &mut packet);
    packet.extend_from_slice(&tag);
    for wrong in [0, 1, u64::MAX, u64::MAX - 2] {
        assert_eq!(
            key.open_in_place(wrong, &mut packet.clone()),
            Err(AeadError)
        );
    }
    let other = DataKey::new(&[6; KEY_LEN]);
    assert!(
        other
            .open_in_place(u64::MAX - 1, &mut packet.clone())
            .is_err()
    );
    assert_eq!(
        key.open_in_place(u64::MAX - 1, &mut packet).unwrap(),
        [0xaa; 48]
    );
    assert_eq!(format!("{key:?}"), "DataKey(..)");
}

#[test]
fn draft_irtf_cfrg_xchacha_appendix_a_3_1() {
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce: [u8; XNONCE_LEN] = std::array::from_fn(|i| 0x40 + i as u8);
    let aad = hex("50515253c0c1c2c3c4c5c6c7");
    let out = hex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
                   731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
                   2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
                   21f9664c97637da9768812f615c68b13b52e",
    );
    let tag: [u8; TAG_LEN] = hex_array("c0875924c1c7987947deafd8780acf49");
    let mut text = SUNSCREEN.to_vec();
    assert_eq!(xseal(&key, &nonce, &aad, &mut text), tag);
    assert_eq!(text, out);
    for bit in 0..TAG_LEN * 8 {
        let mut bad = tag;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            xopen(&key, &nonce, &aad, &mut out.clone(), &bad),
            Err(AeadError)
        );
    }
    assert!(xopen(&key, &nonce, b"", &mut out.clone(), &tag).is_err());
    xopen(&key, &nonce, &aad, &mut text, &tag).unwrap();
    assert_eq!(text, SUNSCREEN);
}

proptest! {
    #[test]
    fn the_backends_agree(
        key: [u8; KEY_LEN],
        nonce: [u8; NONCE_LEN],
        aad in prop::collection::vec(any::<u8>(), 0..100),
        text in prop::collection::vec(any::<u8>(), 0..2000),
        flip: prop::sample::Index,
    ) {
        let [(_, ring), (_, portable)] = backends(&key);
        let out = sealed(&*ring, &nonce, &aad, &text);
        prop_assert_eq!(&out, &sealed(&*portable, &nonce, &aad, &text));
        prop_assert_eq!(opened(&*portable, &nonce, &aad, &out).unwrap(), text);
        let bit = flip.index(out.len() * 8);
        let mut bad = out;
        bad[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(opened(&*ring, &nonce, &aad, &bad).is_err());
        prop_assert!(opened(&*portable, &nonce, &aad, &bad).is_err());
    }

    #[test]
    fn cookies_are_sealed_as_rustcrypto_seals(
        key: [u8; KEY_LEN],
        nonce: [u8; XNONCE_LEN],
        aad in prop::collection::vec(any::<u8>(), 0..100),
        text in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut out = text.clone();
        let tag = xseal(&key, &nonce, &aad, &mut out);
        let mut theirs = text.clone();
        let their_tag = XChaCha20Poly1305::new((&key).into())
            .encrypt_inout_detached(&XNonce::from(nonce), &aad, theirs.as_mut_slice().into())
            .unwrap();
        prop_assert_eq!(&out, &theirs);
        prop_assert_eq!(tag.as_slice(), their_tag.as_slice());
        xopen(&key, &nonce, &aad, &mut out, &tag).unwrap();
        prop_assert_eq!(out, text);
    }
}

//! The handshake written once more, straight from the formulas of the WireGuard
//! paper (sections 5.4.2 to 5.4.5), with RustCrypto's primitives and nothing of
//! ours, as a peer for both of our roles.

use super::*;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, Nonce};

type Key = [u8; 32];

fn h(a: &[u8], b: &[u8]) -> Key {
    Blake2s256::new()
        .chain_update(a)
        .chain_update(b)
        .finalize()
        .into()
}

fn hmac(key: &[u8], text: &[u8]) -> Key {
    <hmac::SimpleHmac<Blake2s256> as KeyInit>::new_from_slice(key)
        .unwrap()
        .chain_update(text)
        .finalize()
        .into_bytes()
        .into()
}

fn kdf(key: &Key, input: &[u8]) -> [Key; 3] {
    let t0 = hmac(key, input);
    let t1 = hmac(&t0, &[1]);
    let t2 = hmac(&t0, &[&t1[..], &[2]].concat());
    let t3 = hmac(&t0, &[&t2[..], &[3]].concat());
    [t1, t2, t3]
}

fn aead(key: &Key, counter: u64, text: &[u8], aad: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    let mut out = text.to_vec();
    let tag = ChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&Nonce::from(nonce), aad, out[..].as_mut().into())
        .unwrap();
    out.extend_from_slice(&tag);
    out
}

fn dh(private: &Key, public: &Key) -> Key {
    x25519_dalek::x25519(*private, *public)
}

fn dh_public(private: &Key) -> Key {
    dh(private, &x25519_dalek::X25519_BASEPOINT_BYTES)
}

/// Every secret of both ends, and what the paper makes of them.
struct Paper {
    initiation: Vec<u8>,
    response: Vec<u8>,
    /// Sealed by the initiator with its first counter.
    first_data: Vec<u8>,
    /// Sealed by the responder with its second counter.
    second_data: Vec<u8>,
}

struct Secrets {
    s_i: Key,
    s_r: Key,
    e_i: Key,
    e_r: Key,
    psk: Key,
    timestamp: [u8; 12],
    i_i: u32,
    i_r: u32,
}

fn paper(k: &Secrets) -> Paper {
    let (pub_i, pub_r) = (dh_public(&k.s_i), dh_public(&k.s_r));
    let (eph_i, eph_r) = (dh_public(&k.e_i), dh_public(&k.e_r));

    // 5.4.2: initiation.
    let c = h(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", b"");
    let hash = h(&h(&c, b"WireGuard v1 zx2c4 Jason@zx2c4.com"), &pub_r);
    let [c, ..] = kdf(&c, &eph_i);
    let hash = h(&hash, &eph_i);
    let [c, key, _] = kdf(&c, &dh(&k.e_i, &pub_r));
    let sealed_static = aead(&key, 0, &pub_i, &hash);
    let hash = h(&hash, &sealed_static);
    let [c, key, _] = kdf(&c, &dh(&k.s_i, &pub_r));
    let sealed_timestamp = aead(&key, 0, &k.timestamp, &hash);
    let hash = h(&hash, &sealed_timestamp);
    let initiation = [
        &[1, 0, 0, 0][..],
        &k.i_i.to_le_bytes(),
        &eph_i,
        &sealed_static,
        &sealed_timestamp,
        &[0; 32],
    ]
    .concat();

    // 5.4.3: response.
    let [c, ..] = kdf(&c, &eph_r);
    let hash = h(&hash, &eph_r);
    let [c, ..] = kdf(&c, &dh(&k.e_r, &eph_i));
    let [c, ..] = kdf(&c, &dh(&k.e_r, &pub_i));
    let [c, t, key] = kdf(&c, &k.psk);
    let hash = h(&hash, &t);
    let sealed_empty = aead(&key, 0, b"", &hash);
    let response = [
        &[2, 0, 0, 0][..],
        &k.i_r.to_le_bytes(),
        &k.i_i.to_le_bytes(),
        &eph_r,
        &sealed_empty,
        &[0; 32],
    ]
    .concat();

    // 5.4.5: data keys.
    let [from_i, from_r, _] = kdf(&c, b"");
    Paper {
        initiation,
        response,
        first_data: aead(&from_i, 0, b"first", b""),
        second_data: aead(&from_r, 1, b"second", b""),
    }
}

fn secrets(n: u8, psk: Key) -> Secrets {
    let key = |m: u8| *PrivateKey::from_bytes(&h(&[n], &[m])).expose();
    Secrets {
        s_i: key(1),
        s_r: key(2),
        e_i: key(3),
        e_r: key(4),
        psk,
        timestamp: *Tai64n::of(WallTime {
            secs: 1_000_000 * u64::from(n),
            nanos: 999_999_999,
        })
        .as_bytes(),
        i_i: 0xdead_beef ^ u32::from(n),
        i_r: 0x8000_0001 + u32::from(n),
    }
}

#[test]
fn both_roles_say_what_the_paper_says() {
    for n in 0..16 {
        let psk = if n % 2 == 0 { [0; 32] } else { h(b"psk", &[n]) };
        let k = secrets(n, psk);
        let want = paper(&k);
        let a = Identity::new(PrivateKey::from_bytes(&k.s_i));
        let b = Identity::new(PrivateKey::from_bytes(&k.s_r));
        let psk = PresharedKey::from_bytes(&k.psk);
        let a_of_b = PeerKeys::new(&a, *b.public(), psk.clone()).unwrap();
        let b_of_a = PeerKeys::new(&b, *a.public(), psk).unwrap();

        let stamp = Tai64n::from_bytes(k.timestamp);
        let ephemeral = PrivateKey::from_bytes(&k.e_i);
        let (initiation, sent) = initiate_with(&a, &a_of_b, k.i_i, stamp, ephemeral).unwrap();
        assert_eq!(initiation[..], want.initiation[..]);

        let read = OpenedInitiation::read(&b, Initiation::new(&want.initiation).unwrap());
        let received = read.unwrap().authenticate(&b_of_a).unwrap();
        assert_eq!(received.timestamp(), stamp);
        let ephemeral = PrivateKey::from_bytes(&k.e_r);
        let (response, b_keys) = received.respond_with(&b_of_a, k.i_r, &ephemeral).unwrap();
        assert_eq!(response[..], want.response[..]);

        let response = Response::new(&want.response).unwrap();
        let a_keys = sent.accept(&a, &a_of_b, &response).unwrap();
        assert_eq!((a_keys.local_index, a_keys.remote_index), (k.i_i, k.i_r));
        assert_eq!((b_keys.local_index, b_keys.remote_index), (k.i_r, k.i_i));

        let mut data = want.first_data.clone();
        assert_eq!(
            b_keys.receive.open_in_place(0, &mut data).unwrap(),
            b"first"
        );
        let mut data = want.second_data.clone();
        assert_eq!(
            a_keys.receive.open_in_place(1, &mut data).unwrap(),
            b"second"
        );
        let mut data = *b"first";
        let tag = a_keys.send.seal_in_place(0, &mut data);
        assert_eq!([&data[..], &tag].concat(), want.first_data);
    }
}

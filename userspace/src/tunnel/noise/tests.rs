//! The handshake in both roles.

use super::*;
use crate::crypto::{PresharedKey, os_rng};
use crate::drops::DropReason;
use crate::tunnel::time::WallTime;

mod tamper;
mod vectors;
mod whitepaper;

/// Two ends that know each other.
pub(super) struct Pair {
    pub a: Identity,
    pub b: Identity,
    pub a_of_b: PeerKeys,
    pub b_of_a: PeerKeys,
}

impl Pair {
    pub fn new(psk: &PresharedKey) -> Self {
        let a = Identity::new(PrivateKey::generate(&mut os_rng()));
        let b = Identity::new(PrivateKey::generate(&mut os_rng()));
        Self {
            a_of_b: PeerKeys::new(&a, *b.public(), psk.clone()).unwrap(),
            b_of_a: PeerKeys::new(&b, *a.public(), psk.clone()).unwrap(),
            a,
            b,
        }
    }

    pub fn initiate(&self) -> ([u8; INITIATION_LEN], SentInitiation) {
        let stamp = Tai64n::of(WallTime { secs: 1, nanos: 0 });
        initiate(&self.a, &self.a_of_b, 0x0102_0304, stamp, &mut os_rng()).unwrap()
    }

    pub fn receive(&self, message: &[u8]) -> Result<ReceivedInitiation, NoiseError> {
        let message = Initiation::new(message).ok_or(NoiseError::Mismatch)?;
        OpenedInitiation::read(&self.b, message)?.authenticate(&self.b_of_a)
    }
}

pub(super) fn assert_same_session(a: &SessionKeys, b: &SessionKeys) {
    assert_eq!(a.local_index, b.remote_index);
    assert_eq!(b.local_index, a.remote_index);
    for (from, to) in [(a, b), (b, a)] {
        let mut packet = b"twelve bytes".to_vec();
        let tag = from.send.seal_in_place(7, &mut packet);
        packet.extend_from_slice(&tag);
        assert_eq!(
            to.receive.open_in_place(7, &mut packet.clone()).unwrap(),
            b"twelve bytes"
        );
        assert!(from.receive.open_in_place(7, &mut packet).is_err());
    }
}

#[test]
fn both_ends_derive_the_same_session_with_and_without_a_preshared_key() {
    for psk in [PresharedKey::none(), PresharedKey::generate(&mut os_rng())] {
        let pair = Pair::new(&psk);
        let (initiation, sent) = pair.initiate();
        let received = pair.receive(&initiation).unwrap();
        assert_eq!(received.peer(), pair.a.public());
        assert_eq!(received.remote_index(), 0x0102_0304);
        let (response, b) = received.respond(&pair.b_of_a, 99, &mut os_rng()).unwrap();
        let response = Response::new(&response).unwrap();
        let a = sent.accept(&pair.a, &pair.a_of_b, &response).unwrap();
        assert_same_session(&a, &b);
    }
}

#[test]
fn a_preshared_key_that_differs_or_changes_on_the_way_ends_the_handshake() {
    let pair = Pair::new(&PresharedKey::generate(&mut os_rng()));
    let (initiation, sent) = pair.initiate();
    let received = pair.receive(&initiation).unwrap();
    let changed = pair.b_of_a.with_preshared(PresharedKey::none());
    let (response, _) = received.respond(&changed, 9, &mut os_rng()).unwrap();
    let response = Response::new(&response).unwrap();
    let refused = sent.accept(&pair.a, &pair.a_of_b, &response);
    assert_eq!(refused.unwrap_err(), NoiseError::Auth);
    // Once both ends have the new key, the same initiation completes.
    let both = pair.a_of_b.with_preshared(PresharedKey::none());
    assert!(sent.accept(&pair.a, &both, &response).is_ok());
}

#[test]
fn an_initiation_is_for_one_identity_and_by_one_peer() {
    let pair = Pair::new(&PresharedKey::none());
    let stranger = Pair::new(&PresharedKey::none());
    let (initiation, sent) = pair.initiate();
    let message = Initiation::new(&initiation).unwrap();
    // Another responder cannot tell who sent it.
    let refused = OpenedInitiation::read(&stranger.b, message).err();
    assert_eq!(refused, Some(NoiseError::Auth));
    // The keys of another peer do not authenticate it.
    let opened = OpenedInitiation::read(&pair.b, message).unwrap();
    let other = PeerKeys::new(&pair.b, *stranger.a.public(), PresharedKey::none()).unwrap();
    assert_eq!(
        opened.authenticate(&other).err(),
        Some(NoiseError::Mismatch)
    );
    // A response under the keys of another peer is refused on either side.
    let received = pair.receive(&initiation).unwrap();
    let refused = received.respond(&other, 1, &mut os_rng()).err();
    assert_eq!(refused, Some(NoiseError::Mismatch));
    let (response, _) = received.respond(&pair.b_of_a, 1, &mut os_rng()).unwrap();
    let response = Response::new(&response).unwrap();
    let wrong = PeerKeys::new(&pair.a, *stranger.b.public(), PresharedKey::none()).unwrap();
    let refused = sent.accept(&pair.a, &wrong, &response).unwrap_err();
    assert_eq!(refused, NoiseError::Mismatch);
}

#[test]
fn who_only_knows_public_keys_cannot_initiate_as_somebody_else() {
    let pair = Pair::new(&PresharedKey::none());
    // The attacker claims to be A: it seals A's public key, and can compute
    // every Diffie-Hellman but that of both static keys.
    let attacker = Identity::new(PrivateKey::generate(&mut os_rng()));
    let keys = PeerKeys::new(&attacker, *pair.b.public(), PresharedKey::none()).unwrap();
    let mut claimed = attacker;
    claimed.public = *pair.a.public();
    let stamp = Tai64n::of(WallTime { secs: 9, nanos: 0 });
    let (forged, _) = initiate(&claimed, &keys, 5, stamp, &mut os_rng()).unwrap();
    let message = Initiation::new(&forged).unwrap();
    let opened = OpenedInitiation::read(&pair.b, message).unwrap();
    assert_eq!(opened.peer(), pair.a.public());
    assert_eq!(
        opened.authenticate(&pair.b_of_a).err(),
        Some(NoiseError::Auth)
    );
}

#[test]
fn low_order_points_are_refused_wherever_they_come_from() {
    let pair = Pair::new(&PresharedKey::none());
    let zero = PublicKey::from_bytes([0; 32]);
    assert!(PeerKeys::new(&pair.a, zero, PresharedKey::none()).is_err());
    let (mut initiation, sent) = pair.initiate();
    let received = pair.receive(&initiation).unwrap();
    let (mut response, _) = received.respond(&pair.b_of_a, 1, &mut os_rng()).unwrap();
    response[12..44].fill(0);
    let message = Response::new(&response).unwrap();
    let refused = sent.accept(&pair.a, &pair.a_of_b, &message).unwrap_err();
    assert_eq!(refused, NoiseError::LowOrder);
    initiation[8..40].fill(0);
    let refused = pair.receive(&initiation).err();
    assert_eq!(refused, Some(NoiseError::LowOrder));
    assert_eq!(
        DropReason::from(NoiseError::LowOrder),
        DropReason::LowOrderKey
    );
}

#[test]
fn every_handshake_has_fresh_ephemeral_keys() {
    let pair = Pair::new(&PresharedKey::none());
    let (one, _) = pair.initiate();
    let (two, _) = pair.initiate();
    assert_ne!(one[8..40], two[8..40]);
    let received = pair.receive(&one).unwrap();
    let (one, _) = received.respond(&pair.b_of_a, 1, &mut os_rng()).unwrap();
    let (two, _) = received.respond(&pair.b_of_a, 1, &mut os_rng()).unwrap();
    assert_ne!(one[12..44], two[12..44]);
}

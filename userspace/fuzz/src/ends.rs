//! Two ends with fixed keys, and one true handshake between them.

use crate::SeededRng;
use ringtun::crypto::{PresharedKey, PrivateKey};
use ringtun::tunnel::cookie::{CookieChecker, CookieJar};
use ringtun::tunnel::messages::{
    COOKIE_REPLY_LEN, INITIATION_LEN, Initiation, RESPONSE_LEN, Response,
};
use ringtun::tunnel::noise::{
    Identity, OpenedInitiation, PeerKeys, ReceivedInitiation, SentInitiation, SessionKeys, initiate,
};
use ringtun::tunnel::tai64n::Tai64n;
use ringtun::tunnel::time::{BootTime, WallTime};
use std::net::SocketAddr;
use std::sync::OnceLock;

/// The time at which everything happens.
pub const NOW: BootTime = BootTime::from_nanos(1_000_000_000_000);
/// Index of the initiator.
pub const A_INDEX: u32 = 0x1122_3344;
/// Index of the responder.
pub const B_INDEX: u32 = 0x5566_7788;

/// `a` initiates, `b` responds.
pub struct Ends {
    /// Initiator.
    pub a: Identity,
    /// Responder.
    pub b: Identity,
    /// What `a` knows of `b`.
    pub a_of_b: PeerKeys,
    /// What `b` knows of `a`.
    pub b_of_a: PeerKeys,
    /// With MAC1.
    pub initiation: [u8; INITIATION_LEN],
    /// What `a` keeps of it.
    pub sent: SentInitiation,
    /// What `b` made of it.
    pub received: ReceivedInitiation,
    /// With MAC1.
    pub response: [u8; RESPONSE_LEN],
    /// The session, at `a`.
    pub a_keys: SessionKeys,
    /// The session, at `b`.
    pub b_keys: SessionKeys,
    /// By `b`, to the initiation.
    pub cookie_reply: [u8; COOKIE_REPLY_LEN],
}

impl Ends {
    /// Made once per process.
    pub fn get() -> &'static Self {
        static ENDS: OnceLock<Ends> = OnceLock::new();
        ENDS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let rng = &mut SeededRng(7);
        let a = Identity::new(PrivateKey::generate(rng));
        let b = Identity::new(PrivateKey::generate(rng));
        let psk = PresharedKey::generate(rng);
        let a_of_b = PeerKeys::new(&a, *b.public(), psk.clone()).expect("no low-order key");
        let b_of_a = PeerKeys::new(&b, *a.public(), psk).expect("no low-order key");
        let stamp = Tai64n::of(WallTime {
            secs: 1_700_000_000,
            nanos: 0,
        });
        let (mut initiation, sent) =
            initiate(&a, &a_of_b, A_INDEX, stamp, rng).expect("no low-order key");
        CookieJar::default().stamp(NOW, &a_of_b, &mut initiation);
        let message = Initiation::new(&initiation).expect("our own initiation");
        let received = OpenedInitiation::read(&b, message)
            .and_then(|opened| opened.authenticate(&b_of_a))
            .expect("our own initiation");
        let (mut response, b_keys) = received
            .respond(&b_of_a, B_INDEX, rng)
            .expect("no low-order key");
        CookieJar::default().stamp(NOW, &b_of_a, &mut response);
        let message = Response::new(&response).expect("our own response");
        let a_keys = sent
            .accept(&a, &a_of_b, &message)
            .expect("our own response");
        let from: SocketAddr = ([192, 0, 2, 1], 51820).into();
        let cookie_reply = CookieChecker::new(NOW, rng)
            .reply(NOW, &b, from, &initiation, &mut SeededRng(13), rng)
            .expect("an initiation has a MAC1");
        Self {
            a,
            b,
            a_of_b,
            b_of_a,
            initiation,
            sent,
            received,
            response,
            a_keys,
            b_keys,
            cookie_reply,
        }
    }
}

/// Take the rest of the input as the datagram, in place of editing a true one.
pub const RAW: u8 = 1;
/// Make MAC1 fit afterwards, as whoever knows the public key can.
pub const RESTAMP: u8 = 2;

/// The datagram that an input stands for: a byte of flags, then either the
/// datagram itself ([`RAW`]) or pairs of bytes, each a place in `good` and what
/// to flip there. Random bytes never authenticate; edited ones nearly do.
pub fn datagram(data: &[u8], good: &[u8]) -> Option<(u8, Vec<u8>)> {
    let (flags, rest) = data.split_first()?;
    if flags & RAW != 0 {
        return Some((*flags, rest.to_vec()));
    }
    let mut bytes = good.to_vec();
    for pair in rest.chunks_exact(2) {
        let at = usize::from(pair[0]) % bytes.len();
        bytes[at] ^= pair[1];
    }
    Some((*flags, bytes))
}

//! MAC1, MAC2, cookies and their lifetimes.

use super::*;
use crate::crypto::{PresharedKey, PrivateKey, os_rng};
use crate::tunnel::messages::INITIATION_LEN;
use crate::tunnel::noise::initiate;
use crate::tunnel::tai64n::Tai64n;

const SECOND: u64 = 1_000_000_000;

fn at(secs: u64) -> BootTime {
    BootTime::from_nanos(secs * SECOND)
}

struct Ends {
    client: Identity,
    server: Identity,
    keys: PeerKeys,
    checker: CookieChecker,
    jar: CookieJar,
}

impl Ends {
    fn new() -> Self {
        let client = Identity::new(PrivateKey::generate(&mut os_rng()));
        let server = Identity::new(PrivateKey::generate(&mut os_rng()));
        Self {
            keys: PeerKeys::new(&client, *server.public(), PresharedKey::none()).unwrap(),
            checker: CookieChecker::new(at(1_000), &mut os_rng()),
            jar: CookieJar::default(),
            client,
            server,
        }
    }

    fn initiation(&mut self, now: BootTime) -> [u8; INITIATION_LEN] {
        let stamp = Tai64n::ZERO;
        let (mut message, _) =
            initiate(&self.client, &self.keys, 42, stamp, &mut os_rng()).unwrap();
        self.jar.stamp(now, &self.keys, &mut message);
        message
    }

    fn reply(&self, now: BootTime, from: &str, message: &[u8]) -> [u8; COOKIE_REPLY_LEN] {
        let from = from.parse().unwrap();
        self.checker
            .reply(
                now,
                &self.server,
                from,
                message,
                &mut os_rng(),
                &mut os_rng(),
            )
            .unwrap()
    }

    fn receive(&mut self, now: BootTime, reply: &[u8]) -> Result<(), NoiseError> {
        let reply = CookieReply::new(reply).unwrap();
        self.jar.receive(now, &self.keys, &reply)
    }

    fn mac2_ok(&self, now: BootTime, from: &str, message: &[u8]) -> bool {
        let from = from.parse().unwrap();
        self.checker.check_mac2(now, from, message, &mut os_rng())
    }
}

const HERE: &str = "192.0.2.7:1000";

#[test]
fn a_cookie_proves_address_and_port() {
    let mut ends = Ends::new();
    let first = ends.initiation(at(1_000));
    assert!(check_mac1(&ends.server, &first));
    assert!(!check_mac1(&ends.client, &first));
    assert!(!ends.mac2_ok(at(1_000), HERE, &first));
    let reply = ends.reply(at(1_000), HERE, &first);
    assert!(reply.len() < first.len());
    assert_eq!(reply[4..8], 42u32.to_le_bytes());
    ends.receive(at(1_000), &reply).unwrap();

    let second = ends.initiation(at(1_005));
    assert!(ends.mac2_ok(at(1_005), HERE, &second));
    assert!(ends.mac2_ok(at(1_005), "[::ffff:192.0.2.7]:1000", &second));
    for elsewhere in ["192.0.2.7:1001", "192.0.2.8:1000", "[2001:db8::7]:1000"] {
        assert!(!ends.mac2_ok(at(1_005), elsewhere, &second), "{elsewhere}");
    }
    for bit in 0..second.len() * 8 {
        let mut bad = second;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!ends.mac2_ok(at(1_005), HERE, &bad), "bit {bit}");
    }
    for len in 0..second.len() {
        assert!(!ends.mac2_ok(at(1_005), HERE, &second[..len]));
        assert!(!check_mac1(&ends.server, &second[..len]));
    }
}

#[test]
fn every_byte_of_an_ipv6_address_counts() {
    let mut ends = Ends::new();
    let from = "[2001:db8:1:2:3:4:5:6]:1000";
    let first = ends.initiation(at(1_000));
    let reply = ends.reply(at(1_000), from, &first);
    ends.receive(at(1_000), &reply).unwrap();
    let second = ends.initiation(at(1_000));
    assert!(ends.mac2_ok(at(1_000), from, &second));
    assert!(!ends.mac2_ok(at(1_000), "[2001:db8:1:2:3:4:5:7]:1000", &second));
    assert!(!ends.mac2_ok(at(1_000), "[2001:db9:1:2:3:4:5:6]:1000", &second));
}

#[test]
fn the_secret_rotates_after_120_seconds() {
    let mut ends = Ends::new();
    let first = ends.initiation(at(1_000));
    let reply = ends.reply(at(1_000), HERE, &first);
    ends.receive(at(1_000), &reply).unwrap();
    let second = ends.initiation(at(1_110));
    assert!(ends.mac2_ok(at(1_119), HERE, &second));
    assert!(!ends.mac2_ok(at(1_120), HERE, &second));
    // The old secret does not come back, whatever time a slower thread has.
    assert!(!ends.mac2_ok(at(1_119), HERE, &second));
    let reply = ends.reply(at(1_121), HERE, &second);
    ends.receive(at(1_121), &reply).unwrap();
    let third = ends.initiation(at(1_200));
    assert!(ends.mac2_ok(at(1_239), HERE, &third));
    assert!(!ends.mac2_ok(at(1_240), HERE, &third));
}

#[test]
fn a_jar_uses_a_cookie_for_115_seconds() {
    let mut ends = Ends::new();
    let first = ends.initiation(at(1_000));
    assert_eq!(first[132..], [0; 16]);
    let reply = ends.reply(at(1_000), HERE, &first);
    ends.receive(at(1_000), &reply).unwrap();
    assert_ne!(ends.initiation(at(1_115))[132..], [0; 16]);
    let late = BootTime::from_nanos(1_115 * SECOND + 1);
    assert_eq!(ends.initiation(late)[132..], [0; 16]);
    // Dropped, not asleep: an earlier reading of the clock does not revive it.
    assert_eq!(ends.initiation(at(1_001))[132..], [0; 16]);
}

#[test]
fn a_reply_answers_the_last_message_only_and_once() {
    let mut ends = Ends::new();
    let first = ends.initiation(at(1_000));
    let to_first = ends.reply(at(1_000), HERE, &first);
    let second = ends.initiation(at(1_006));
    let to_second = ends.reply(at(1_006), HERE, &second);
    let refused = ends.receive(at(1_006), &to_first);
    assert_eq!(refused, Err(NoiseError::Auth));
    assert!(ends.receive(at(1_006), &to_second).is_ok());
    let refused = ends.receive(at(1_006), &to_second);
    assert_eq!(refused, Err(NoiseError::Mismatch));
}

#[test]
fn only_the_peer_can_give_a_cookie() {
    let mut ends = Ends::new();
    let stranger = Identity::new(PrivateKey::generate(&mut os_rng()));
    let first = ends.initiation(at(1_000));
    let from = HERE.parse().unwrap();
    let forged = ends
        .checker
        .reply(
            at(1_000),
            &stranger,
            from,
            &first,
            &mut os_rng(),
            &mut os_rng(),
        )
        .unwrap();
    assert_eq!(ends.receive(at(1_000), &forged), Err(NoiseError::Auth));
    // And it is no cookie of ours if it is nobody's reply at all.
    let mut fresh = Ends::new();
    assert_eq!(fresh.receive(at(1_000), &forged), Err(NoiseError::Mismatch));
}

#[test]
fn replies_never_repeat_a_nonce_and_never_answer_a_fragment() {
    let mut ends = Ends::new();
    let first = ends.initiation(at(1_000));
    let one = ends.reply(at(1_000), HERE, &first);
    let two = ends.reply(at(1_000), HERE, &first);
    assert_ne!(one[8..32], two[8..32]);
    for len in 0..40 {
        let from = HERE.parse().unwrap();
        let reply = ends.checker.reply(
            at(1_000),
            &ends.server,
            from,
            &first[..len],
            &mut os_rng(),
            &mut os_rng(),
        );
        assert!(reply.is_none(), "{len} bytes");
    }
}

#[test]
fn many_threads_share_a_checker_across_a_rotation() {
    let mut ends = Ends::new();
    let message = ends.initiation(at(1_000));
    let ends = &ends;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for secs in 1_000..1_300 {
                    let reply = ends.reply(at(secs), HERE, &message);
                    let mac1 = message[116..132].try_into().unwrap();
                    let reply = CookieReply::new(&reply).unwrap();
                    assert!(Cookie::open(&ends.keys, mac1, &reply).is_ok());
                }
            });
        }
    });
}

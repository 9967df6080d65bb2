//! Every truncation and every single-bit flip of each message is refused, and
//! leaves whoever refused it able to take the true one.

use super::*;
use crate::tunnel::cookie::{CookieChecker, CookieJar, check_mac1};
use crate::tunnel::messages::{COOKIE_REPLY_LEN, CookieReply, DataHeader, Message};
use crate::tunnel::time::BootTime;

const NOW: BootTime = BootTime::from_nanos(1_000_000_000);

fn flips<const N: usize>(good: &[u8; N]) -> impl Iterator<Item = (usize, [u8; N])> + '_ {
    (0..N * 8).map(|bit| {
        let mut bad = *good;
        bad[bit / 8] ^= 1 << (bit % 8);
        (bit, bad)
    })
}

fn assert_truncations_are_no_message(good: &[u8]) {
    for len in 0..good.len() {
        assert!(Message::parse(&good[..len]).is_err(), "{len} bytes");
    }
    let longer = [good, &[0]].concat();
    assert!(Message::parse(&longer).is_err(), "one byte more");
}

/// What a responder that is not under load does with a datagram.
fn take_initiation(pair: &Pair, datagram: &[u8]) -> Result<ReceivedInitiation, DropReason> {
    let Message::Initiation(message) = Message::parse(datagram)? else {
        return Err(DropReason::UnexpectedReply);
    };
    if !check_mac1(&pair.b, datagram) {
        return Err(DropReason::BadMac1);
    }
    Ok(OpenedInitiation::read(&pair.b, message)?.authenticate(&pair.b_of_a)?)
}

fn take_response(
    pair: &Pair,
    sent: &SentInitiation,
    datagram: &[u8],
) -> Result<SessionKeys, DropReason> {
    let Message::Response(message) = Message::parse(datagram)? else {
        return Err(DropReason::UnexpectedReply);
    };
    if !check_mac1(&pair.a, datagram) {
        return Err(DropReason::BadMac1);
    }
    Ok(sent.accept(&pair.a, &pair.a_of_b, &message)?)
}

#[test]
fn initiation() {
    let pair = Pair::new(&PresharedKey::generate(&mut os_rng()));
    let (mut good, sent) = pair.initiate();
    CookieJar::default().stamp(NOW, &pair.a_of_b, &mut good);
    assert_truncations_are_no_message(&good);
    for (bit, bad) in flips(&good) {
        let taken = take_initiation(&pair, &bad);
        // MAC2 is judged under load only.
        assert_eq!(taken.is_ok(), bit >= 132 * 8, "bit {bit}");

        // Whoever knows the public key can make MAC1 fit; then the sender's
        // index is all that can be changed, and the answer goes astray.
        let mut forged = bad;
        CookieJar::default().stamp(NOW, &pair.a_of_b, &mut forged);
        let taken = take_initiation(&pair, &forged);
        let index = (4 * 8..8 * 8).contains(&bit);
        assert_eq!(taken.is_ok(), index || bit >= 116 * 8, "bit {bit}");
        if let (true, Ok(taken)) = (index, taken) {
            let (astray, _) = taken.respond(&pair.b_of_a, 1, &mut os_rng()).unwrap();
            let astray = Response::new(&astray).unwrap();
            let refused = sent.accept(&pair.a, &pair.a_of_b, &astray);
            assert_eq!(refused.unwrap_err(), NoiseError::Mismatch);
        }
    }
    assert!(take_initiation(&pair, &good).is_ok());
}

#[test]
fn response() {
    let pair = Pair::new(&PresharedKey::generate(&mut os_rng()));
    let (initiation, sent) = pair.initiate();
    let received = pair.receive(&initiation).unwrap();
    let (mut good, b) = received.respond(&pair.b_of_a, 77, &mut os_rng()).unwrap();
    CookieJar::default().stamp(NOW, &pair.b_of_a, &mut good);
    assert_truncations_are_no_message(&good);
    for (bit, bad) in flips(&good) {
        let taken = take_response(&pair, &sent, &bad);
        assert_eq!(taken.is_ok(), bit >= 76 * 8, "bit {bit}");

        let mut forged = bad;
        CookieJar::default().stamp(NOW, &pair.b_of_a, &mut forged);
        let taken = take_response(&pair, &sent, &forged);
        let index = (4 * 8..8 * 8).contains(&bit);
        assert_eq!(taken.is_ok(), index || bit >= 60 * 8, "bit {bit}");
    }
    // After all these the true response is still accepted.
    let a = take_response(&pair, &sent, &good).unwrap();
    assert_same_session(&a, &b);
}

#[test]
fn cookie_reply() {
    let pair = Pair::new(&PresharedKey::none());
    let (mut initiation, _) = pair.initiate();
    let mut jar = CookieJar::default();
    jar.stamp(NOW, &pair.a_of_b, &mut initiation);
    let from = "192.0.2.1:51820".parse().unwrap();
    let checker = CookieChecker::new(NOW, &mut os_rng());
    let good: [u8; COOKIE_REPLY_LEN] = checker
        .reply(
            NOW,
            &pair.b,
            from,
            &initiation,
            &mut os_rng(),
            &mut os_rng(),
        )
        .unwrap();
    assert_truncations_are_no_message(&good);
    for (bit, bad) in flips(&good) {
        let Ok(Message::CookieReply(reply)) = Message::parse(&bad) else {
            assert!(bit < 4 * 8, "bit {bit}");
            continue;
        };
        // The receiver's index is looked up, not authenticated.
        let index = (4 * 8..8 * 8).contains(&bit);
        assert_eq!(reply.receiver() != 0x0102_0304, index, "bit {bit}");
        if !index {
            let refused = jar.receive(NOW, &pair.a_of_b, &reply);
            assert_eq!(refused, Err(NoiseError::Auth), "bit {bit}");
            let mac1 = initiation[116..132].try_into().ok();
            assert_eq!(jar.awaiting(), mac1, "still waiting");
        }
    }
    let reply = CookieReply::new(&good).unwrap();
    jar.receive(NOW, &pair.a_of_b, &reply).unwrap();
    // Taken once; a second copy answers nothing.
    let again = jar.receive(NOW, &pair.a_of_b, &reply);
    assert_eq!(again, Err(NoiseError::Mismatch));
}

#[test]
fn data() {
    let pair = Pair::new(&PresharedKey::none());
    let (initiation, sent) = pair.initiate();
    let received = pair.receive(&initiation).unwrap();
    let (response, b) = received.respond(&pair.b_of_a, 77, &mut os_rng()).unwrap();
    let response = Response::new(&response).unwrap();
    let a = sent.accept(&pair.a, &pair.a_of_b, &response).unwrap();

    let header = DataHeader {
        receiver: a.remote_index,
        counter: 5,
    };
    let mut good = [0x45; 16 + 64 + 16];
    good[..16].copy_from_slice(&header.to_bytes());
    let tag = a.send.seal_in_place(5, &mut good[16..80]);
    good[80..].copy_from_slice(&tag);

    let open = |datagram: &[u8]| {
        let header = DataHeader::read(datagram).ok_or(DropReason::Malformed)?;
        if header.receiver != b.local_index {
            return Err(DropReason::UnknownIndex);
        }
        let mut sealed = datagram[16..].to_vec();
        b.receive
            .open_in_place(header.counter, &mut sealed)
            .map(|text| text.to_vec())
            .map_err(|_| DropReason::DataAuth)
    };
    assert_eq!(open(&good).unwrap(), [0x45; 64]);
    for (bit, bad) in flips(&good) {
        assert!(open(&bad).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(open(&good[..len]).is_err(), "{len} bytes");
    }
}

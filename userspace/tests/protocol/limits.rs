//! Counters: the replay window, message limits, no nonce twice.

use ringtun::drops::DropReason;
use ringtun::tunnel::keypair::SealError;
use ringtun::tunnel::messages::DataHeader;
use ringtun::tunnel::replay::REJECT_AFTER_MESSAGES;

use crate::support::{Datagram, World, ms, secs};

fn counter(d: &Datagram) -> u64 {
    DataHeader::read(&d.bytes).unwrap().counter
}

/// Data packets with the counters of a session, captured instead of delivered.
fn captured(w: &mut World, counters: &[u64]) -> Vec<Datagram> {
    let keypair = w.current(0, 1).unwrap();
    counters
        .iter()
        .map(|c| {
            keypair.skip_to(*c);
            w.send(0, 1, &c.to_le_bytes());
            w.link.clear();
            let d = w.last(0, 4);
            assert_eq!(counter(&d), *c);
            d
        })
        .collect()
}

#[test]
fn a_packet_is_delivered_once() {
    let mut w = World::pair(110);
    w.connect(0, 1);
    let d = captured(&mut w, &[5]).remove(0);
    assert_eq!(w.deliver(1, &d), Ok(()));
    assert_eq!(w.deliver(1, &d), Err(DropReason::Replay));
    assert_eq!(w.payloads(1).len(), 2);
}

#[test]
fn the_window_takes_what_is_up_to_8128_behind() {
    let mut w = World::pair(111);
    w.connect(0, 1);
    let newest = 20_000;
    let oldest = newest - 8128;
    let late = captured(
        &mut w,
        &[10, oldest - 1, oldest, oldest + 1, newest - 1, newest],
    );
    assert_eq!(w.deliver(1, &late[5]), Ok(()));
    assert_eq!(
        w.deliver(1, &late[1]),
        Err(DropReason::Replay),
        "8129 behind"
    );
    assert_eq!(w.deliver(1, &late[2]), Ok(()), "8128 behind");
    assert_eq!(w.deliver(1, &late[2]), Err(DropReason::Replay));
    assert_eq!(w.deliver(1, &late[3]), Ok(()));
    assert_eq!(w.deliver(1, &late[4]), Ok(()));
    assert_eq!(w.deliver(1, &late[0]), Err(DropReason::Replay));
}

/// A forged counter that does not authenticate must not move the window.
#[test]
fn a_forged_counter_does_not_move_the_window() {
    let mut w = World::pair(112);
    w.connect(0, 1);
    let d = captured(&mut w, &[3]).remove(0);
    let mut forged = d.clone();
    forged.bytes[8..16].copy_from_slice(&1_000_000u64.to_le_bytes());
    assert_eq!(w.deliver(1, &forged), Err(DropReason::DataAuth));
    assert_eq!(w.deliver(1, &d), Ok(()));
}

/// Section 7: 32-bit counter reused.
#[test]
fn counters_have_64_bits() {
    let mut w = World::pair(113);
    w.connect(0, 1);
    let edge = u64::from(u32::MAX);
    let sent = captured(&mut w, &[edge - 1, edge, edge + 1, edge + 2]);
    for d in &sent {
        assert_eq!(w.deliver(1, d), Ok(()));
    }
    for d in &sent {
        assert_eq!(w.deliver(1, d), Err(DropReason::Replay));
    }
}

#[test]
fn either_side_renews_a_key_after_2_to_the_60_messages() {
    for (sender, other) in [(0, 1), (1, 0)] {
        let mut w = World::pair(114);
        w.connect(0, 1);
        w.run(secs(6));
        let keypair = w.current(sender, other).unwrap();
        let initiations = w.count(sender, 1);
        keypair.skip_to((1 << 60) - 1);
        w.send(sender, other, b"2^60th");
        assert_eq!(w.count(sender, 1), initiations);
        w.send(sender, other, b"one more");
        assert_eq!(w.count(sender, 1), initiations + 1, "side {sender}");
        w.run(ms(200));
        assert_ne!(
            w.current(sender, other).unwrap().local_index(),
            keypair.local_index()
        );
    }
}

/// Section 7: nonce past its limit. 2^64 − 2^13 − 1 messages, and no more.
#[test]
fn no_packet_is_sealed_past_the_message_limit() {
    let mut w = World::pair(115);
    w.connect(0, 1);
    w.run(secs(6));
    w.filter = Box::new(|d| d.kind() == 4);
    let keypair = w.current(0, 1).unwrap();
    keypair.skip_to(REJECT_AFTER_MESSAGES - 2);
    for n in 0..5 {
        w.send(0, 1, &[n]);
    }
    let last = w
        .log
        .iter()
        .filter(|s| s.host == 0 && s.datagram.kind() == 4);
    let counters: Vec<_> = last.map(|s| counter(&s.datagram)).collect();
    assert_eq!(
        counters[counters.len() - 2..],
        [REJECT_AFTER_MESSAGES - 2, REJECT_AFTER_MESSAGES - 1]
    );
    assert_eq!(w.cell(0, 1).staged.len(), 3, "the others wait");
    assert_eq!(keypair.reserve(w.now, 1), Err(SealError::NonceLimit));
    assert_eq!(keypair.sent(), REJECT_AFTER_MESSAGES);
    w.filter = Box::new(|_| true);
    w.run(secs(7));
    assert_eq!(w.payloads(1).len(), 6, "and go with a new key");
}

#[test]
fn a_batch_that_would_pass_the_limit_takes_no_counter() {
    let mut w = World::pair(116);
    w.connect(0, 1);
    let k = w.current(0, 1).unwrap();
    k.skip_to(REJECT_AFTER_MESSAGES - 10);
    assert_eq!(k.reserve(w.now, 11), Err(SealError::NonceLimit));
    assert_eq!(k.reserve(w.now, u64::MAX), Err(SealError::NonceLimit));
    assert_eq!(k.reserve(w.now, 4), Ok(REJECT_AFTER_MESSAGES - 10));
    assert_eq!(k.reserve(w.now, 6), Ok(REJECT_AFTER_MESSAGES - 6));
    for _ in 0..20_000 {
        assert_eq!(
            k.reserve(w.now, 1),
            Err(SealError::NonceLimit),
            "never wraps"
        );
    }
}

#[test]
fn a_received_counter_past_the_limit_is_refused() {
    let mut w = World::pair(117);
    w.connect(0, 1);
    let mut d = captured(&mut w, &[2]).remove(0);
    for c in [REJECT_AFTER_MESSAGES, u64::MAX] {
        d.bytes[8..16].copy_from_slice(&c.to_le_bytes());
        assert_eq!(w.deliver(1, &d), Err(DropReason::KeyExpired));
    }
}

#[test]
fn no_counter_is_used_twice_by_many_threads() {
    let mut w = World::pair(118);
    w.connect(0, 1);
    let (keypair, now) = (w.current(0, 1).unwrap(), w.now);
    let mut all: Vec<u64> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4u64)
            .map(|t| {
                let keypair = &keypair;
                s.spawn(move || {
                    let mut mine = Vec::new();
                    for _ in 0..5000 {
                        let first = keypair.reserve(now, t + 1).unwrap();
                        mine.extend(first..first + t + 1);
                    }
                    mine
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let n = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), n);
}

#[test]
fn counters_given_back_are_used_again_unless_others_came_behind_them() {
    let mut w = World::pair(119);
    w.connect(0, 1);
    let k = w.current(0, 1).unwrap();
    let first = k.reserve(w.now, 8).unwrap();
    assert!(k.give_back(first + 3..first + 8));
    assert_eq!(
        k.reserve(w.now, 2),
        Ok(first + 3),
        "as if only three were taken"
    );
    let mine = k.reserve(w.now, 4).unwrap();
    let others = k.reserve(w.now, 1).unwrap();
    assert!(
        !k.give_back(mine + 1..mine + 4),
        "they are no more the last"
    );
    assert_eq!(k.reserve(w.now, 1), Ok(others + 1));
}

#[test]
fn no_counter_is_used_twice_by_threads_that_give_some_back() {
    let mut w = World::pair(120);
    w.connect(0, 1);
    let (keypair, now) = (w.current(0, 1).unwrap(), w.now);
    let (mut all, given_back) = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4u64)
            .map(|t| {
                let keypair = &keypair;
                s.spawn(move || {
                    let (mut mine, mut given_back) = (Vec::new(), 0);
                    for n in 0..20_000 {
                        let first = keypair.reserve(now, 4).unwrap();
                        let used = (n + t) % 5;
                        mine.extend(first..first + used);
                        if used < 4 {
                            given_back += u64::from(keypair.give_back(first + used..first + 4));
                        }
                    }
                    (mine, given_back)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).fold(
            (Vec::new(), 0),
            |(mut all, given), (mine, more)| {
                all.extend(mine);
                (all, given + more)
            },
        )
    });
    let n = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), n);
    assert!(given_back > 0, "none could be given back");
}

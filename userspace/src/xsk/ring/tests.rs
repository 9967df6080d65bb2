use super::{Consumer, Corrupt, Desc, Producer, pair};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What one end does next.
#[derive(Clone, Debug)]
enum Step {
    /// Reserve, write, and submit or let it be.
    Produce {
        reserve: u32,
        write: u32,
        submit: bool,
    },
    /// Peek, read, and release or let it be.
    Consume { peek: u32, read: u32, release: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let few = 0u32..20;
    prop_oneof![
        (few.clone(), few.clone(), prop::bool::weighted(0.8)).prop_map(
            |(reserve, write, submit)| Step::Produce {
                reserve,
                write,
                submit
            }
        ),
        (few.clone(), few, prop::bool::weighted(0.8)).prop_map(|(peek, read, release)| {
            Step::Consume {
                peek,
                read,
                release,
            }
        }),
    ]
}

/// Anywhere, and often just below the wrap.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (0u32..64).prop_map(|below| u32::MAX - below)]
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue_from_any_index(
        start in start(),
        order in 0u32..6,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let size = 1 << order;
        let (mut producer, mut consumer) = pair::<Desc>(size, start);
        let mut oracle = VecDeque::new();
        let mut serial = 0;
        for step in steps {
            match step {
                Step::Produce { reserve, write, submit } => {
                    let mut reserved = producer.reserve(reserve).unwrap();
                    let room = reserve.min(size - oracle.len() as u32);
                    prop_assert_eq!(reserved.room(), room);
                    let mut written = Vec::new();
                    for _ in 0..write {
                        serial += 1;
                        let entry = Desc { addr: serial, len: serial as u32, options: 7 };
                        match reserved.write(entry) {
                            Ok(()) => written.push(entry),
                            Err(back) => {
                                prop_assert_eq!(back, entry);
                                prop_assert_eq!(written.len() as u32, room);
                            }
                        }
                    }
                    if submit {
                        prop_assert_eq!(reserved.submit(), written.len() as u32);
                        oracle.extend(written);
                    }
                }
                Step::Consume { peek, read, release } => {
                    let mut peeked = consumer.peek(peek).unwrap();
                    prop_assert_eq!(peeked.left(), peek.min(oracle.len() as u32));
                    let mut got = 0;
                    for _ in 0..read {
                        let expected = oracle.get(got).filter(|_| (got as u32) < peek);
                        let entry = peeked.read();
                        prop_assert_eq!(entry.as_ref(), expected);
                        got += usize::from(entry.is_some());
                    }
                    if release {
                        prop_assert_eq!(peeked.release() as usize, got);
                        oracle.drain(..got);
                    }
                }
            }
            prop_assert_eq!(producer.pending().unwrap() as usize, oracle.len());
        }
    }

    #[test]
    fn an_index_that_cannot_be_is_refused_and_moves_nothing(
        start in start(),
        order in 0u32..6,
        filled in 0u32..64,
        claim in any::<u32>(),
    ) {
        let size = 1 << order;
        let filled = filled % (size + 1);
        let (mut producer, mut consumer) = pair::<u64>(size, start);
        fill(&mut producer, filled);
        let honest = start.wrapping_add(filled);

        // A producer that claims `claim` entries.
        producer.forge_producer(start.wrapping_add(claim));
        match consumer.peek(u32::MAX) {
            Ok(peeked) => prop_assert_eq!((peeked.left(), claim <= size), (claim, true)),
            Err(error) => prop_assert_eq!((error, claim > size), (Corrupt { claimed: claim, size }, true)),
        }
        producer.forge_producer(honest);
        if claim > size {
            prop_assert_eq!(drain(&mut consumer), (0..u64::from(filled)).collect::<Vec<_>>());
            prop_assert_eq!(producer.pending().unwrap(), 0);
        }

        // A consumer that claims to have taken what was never there.
        let (mut producer, _consumer) = pair::<u64>(size, start);
        fill(&mut producer, filled);
        producer.forge_consumer(start.wrapping_add(claim));
        let claimed = filled.wrapping_sub(claim);
        if claimed > size {
            let corrupt = Corrupt { claimed, size };
            prop_assert_eq!(producer.reserve(u32::MAX).unwrap_err(), corrupt);
            prop_assert_eq!(producer.pending().unwrap_err(), corrupt);
        } else {
            prop_assert_eq!(producer.reserve(u32::MAX).unwrap().room(), size - claimed);
        }
    }
}

fn fill(producer: &mut Producer<u64>, n: u32) {
    let mut reserved = producer.reserve(n).unwrap();
    for entry in 0..n {
        reserved.write(entry.into()).unwrap();
    }
    assert_eq!(reserved.submit(), n);
}

fn drain(consumer: &mut Consumer<u64>) -> Vec<u64> {
    let mut peeked = consumer.peek(u32::MAX).unwrap();
    let entries = std::iter::from_fn(|| peeked.read()).collect();
    peeked.release();
    entries
}

#[test]
fn two_threads_see_every_entry_once_and_whole_across_the_wrap() {
    const ENTRIES: u64 = 2_000_000;
    let (mut producer, mut consumer) = pair::<Desc>(64, u32::MAX - 1000);
    let entry = |n: u64| Desc {
        addr: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        len: n as u32,
        options: !(n as u32),
    };
    // How long all of it takes is for those to say who have the processors, too.
    let patience = || {
        let mut last = (0, Instant::now());
        move |at: u64| {
            if last.0 != at {
                last = (at, Instant::now());
            }
            assert!(last.1.elapsed() < Duration::from_secs(60), "no progress");
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut sent, mut pause) = (0, patience());
            while sent < ENTRIES {
                let mut reserved = producer.reserve(1 + (sent % 50) as u32).unwrap();
                while sent < ENTRIES && reserved.write(entry(sent)).is_ok() {
                    sent += 1;
                }
                if reserved.submit() == 0 {
                    pause(sent);
                }
            }
        });
        let (mut got, mut pause) = (0, patience());
        while got < ENTRIES {
            let mut peeked = consumer.peek(1 + (got % 37) as u32).unwrap();
            while let Some(read) = peeked.read() {
                assert_eq!(read, entry(got));
                got += 1;
            }
            if peeked.release() == 0 {
                pause(got);
            }
        }
    });
    assert_eq!(consumer.peek(1).unwrap().left(), 0);
}

#[test]
fn the_producer_sees_the_flag_that_the_consumer_sets() {
    let (producer, mut consumer) = pair::<u64>(8, 0);
    assert!(!producer.needs_wakeup());
    consumer.set_needs_wakeup(true);
    assert!(producer.needs_wakeup());
    consumer.set_needs_wakeup(false);
    assert!(!producer.needs_wakeup());
}

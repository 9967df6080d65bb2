use std::thread;

use proptest::prelude::*;

use super::queue::QUEUE_BATCHES;
use super::*;

fn wants(outer: bool, inner: bool, snap: usize) -> Wants {
    Wants {
        outer,
        inner,
        snap,
        peer: None,
    }
}

fn open(taps: &Taps, side: Side) -> Option<Open> {
    let about = || (Link::Ip, Size::default());
    taps.open(side, Direction::In, Who::Nobody, about)
}

/// All that waits, packet by packet.
fn taken(attached: &Attached) -> Vec<(Side, Vec<u8>, usize)> {
    let mut all = Vec::new();
    while let Some(batch) = attached.pop() {
        let packets = batch.packets();
        all.extend(packets.map(|p| (batch.side, p.bytes.to_vec(), p.len)));
    }
    all
}

#[test]
fn nobody_captures_nothing_is_opened() {
    let taps = Arc::new(Taps::default());
    assert!(open(&taps, Side::Outer).is_none());
    let outer = taps.attach(wants(true, false, 100)).expect("room");
    assert!(open(&taps, Side::Inner).is_none());
    assert!(open(&taps, Side::Outer).is_some());
    drop(outer);
    assert!(open(&taps, Side::Outer).is_none());
}

#[test]
fn there_are_so_many_captures_and_no_more() {
    let taps = Arc::new(Taps::default());
    let mut all: Vec<_> = std::iter::from_fn(|| taps.attach(wants(true, true, 9))).collect();
    assert_eq!(all.len(), CAPTURES_MAX);
    all.pop();
    assert!(taps.attach(wants(true, true, 9)).is_some());
}

#[test]
fn each_capture_gets_its_sides_and_its_length() {
    let taps = Arc::new(Taps::default());
    let all = taps.attach(wants(true, true, 100)).expect("room");
    let inner = taps.attach(wants(false, true, 2)).expect("room");
    if let Some(mut open) = open(&taps, Side::Outer) {
        open.push_all(b"abcde", 3);
    }
    if let Some(mut open) = open(&taps, Side::Inner) {
        open.push(b"wxyz");
        open.push(b"");
    }
    let (outer, wxyz) = (Side::Outer, (Side::Inner, b"wxyz".to_vec(), 4));
    let empty = (Side::Inner, vec![], 0);
    assert_eq!(
        taken(&all),
        [
            (outer, b"abc".to_vec(), 3),
            (outer, b"de".to_vec(), 2),
            wxyz,
            empty.clone()
        ]
    );
    assert_eq!(taken(&inner), [(Side::Inner, b"wx".to_vec(), 4), empty]);
    assert_eq!(inner.counts(outer), Counts::default());
}

#[test]
fn a_reader_that_stands_still_is_bounded_and_what_it_misses_is_counted() {
    for (len, most) in [(1, QUEUE_BATCHES), (60_000, QUEUE_BYTES / 60_000 + 1)] {
        let taps = Arc::new(Taps::default());
        let attached = taps.attach(wants(true, true, 1 << 18)).expect("room");
        let packet = vec![7; len];
        let offered = QUEUE_BATCHES + 100;
        for _ in 0..offered {
            open(&taps, Side::Inner).expect("wanted").push(&packet);
        }
        let counts = attached.counts(Side::Inner);
        assert_eq!(counts.kept + counts.missed, offered as u64);
        assert!(counts.kept <= most as u64, "{counts:?}");
        assert!(counts.kept + 1 >= most as u64, "{counts:?}");
        assert_eq!(taken(&attached).len() as u64, counts.kept);
        // Its place is free again.
        open(&taps, Side::Inner).expect("wanted").push(&packet);
        assert_eq!(taken(&attached).len(), 1);
    }
}

#[test]
fn what_waits_when_a_capture_closes_can_still_be_taken() {
    let taps = Arc::new(Taps::default());
    let attached = taps.attach(wants(true, true, 9)).expect("room");
    open(&taps, Side::Outer).expect("wanted").push(b"x");
    attached.close();
    assert!(open(&taps, Side::Outer).is_none());
    assert_eq!(taken(&attached).len(), 1);
}

#[test]
fn threads_fill_one_takes_and_none_is_lost_or_doubled() {
    const EACH: u32 = 5000;
    let taps = Arc::new(Taps::default());
    let attached = taps.attach(wants(true, true, 9)).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut seen = Vec::new();
    thread::scope(|scope| {
        for thread in 0..3 {
            let taps = &taps;
            scope.spawn(move || {
                for number in 0..EACH {
                    let packet = (thread * EACH + number).to_le_bytes();
                    open(taps, Side::Outer).expect("wanted").push(&packet);
                }
            });
        }
        runtime.block_on(async {
            loop {
                while let Some(batch) = attached.pop() {
                    seen.extend(batch.packets().map(|p| p.bytes.to_vec()));
                }
                let counts = attached.counts(Side::Outer);
                if counts.kept + counts.missed == u64::from(3 * EACH)
                    && seen.len() as u64 == counts.kept
                {
                    break;
                }
                let more = attached.wait();
                // The last ones may all be missed, and nobody rings for those.
                let _ = tokio::time::timeout(std::time::Duration::from_millis(10), more).await;
            }
        });
    });
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

proptest! {
    #[test]
    fn what_is_pushed_comes_out_cut_to_the_length(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..40),
        snap in 0usize..250,
        hint in any::<(u8, u8)>(),
    ) {
        let taps = Arc::new(Taps::default());
        let attached = taps.attach(wants(true, false, snap)).expect("room");
        let size = Size { packets: hint.0.into(), bytes: hint.1.into() };
        let about = || (Link::Ip, size);
        if let Some(mut open) = taps.open(Side::Outer, Direction::Out, Who::Nobody, about) {
            for packet in &packets {
                open.push(packet);
            }
        }
        let expected: Vec<_> = packets
            .iter()
            .map(|p| (Side::Outer, p[..p.len().min(snap)].to_vec(), p.len()))
            .collect();
        prop_assert_eq!(taken(&attached), expected);
        prop_assert_eq!(attached.counts(Side::Outer).kept, packets.len() as u64);
    }
}

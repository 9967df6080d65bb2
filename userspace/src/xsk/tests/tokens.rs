//! Tokens: what is refused, what happens to them when others are gone.

use super::{packet, receive, socket, umem};
use crate::xsk::{
    OutOfFrame, Pages, Reason, RingSizes, Socket, TX_METADATA_LEN, TxChecksum, Umem, UmemConfig,
    XskError,
};

#[test]
fn a_frame_that_cannot_be_sent_comes_back_with_the_reason() {
    let mut umem = umem(8);
    let mut foreign = super::umem(1);
    let (mut socket, _peer) = socket(&mut umem, 2);
    let mut frame = || {
        let mut frame = umem.take().expect("free");
        frame.write(TX_METADATA_LEN, &packet(1, 60)).expect("fits");
        frame
    };
    let (good, last, extra) = (frame(), frame(), frame());
    let (mut short, mut near) = (frame(), frame());
    short.set_range(100..113).expect("fits");
    near.set_range(TX_METADATA_LEN - 1..200).expect("fits");
    let mut other = foreign.take().expect("free");
    other.write(0, &packet(1, 60)).expect("fits");

    let mut batch = socket.tx.batch(&mut umem, 8).expect("sane");
    assert_eq!(batch.room(), 2);
    let refused = batch.push(short).expect_err("13 bytes");
    assert_eq!(
        (refused.reason, refused.frame.range()),
        (Reason::TooShort, 100..113)
    );
    let refused = batch.push(other).expect_err("of another UMEM");
    assert_eq!(refused.reason, Reason::Foreign);
    foreign.give_back(refused.frame);
    let refused = batch
        .push_with(near, TxChecksum::udp(34))
        .expect_err("23 bytes");
    assert_eq!(refused.reason, Reason::NoHeadroom);
    let refused = batch
        .push_with(good, TxChecksum::udp(53))
        .expect_err("ends at 61");
    assert_eq!(refused.reason, Reason::OutsidePacket);
    batch
        .push_with(refused.frame, TxChecksum::udp(52))
        .expect("ends at 60");
    batch.push(last).expect("room");
    let refused = batch.push(extra).expect_err("full");
    assert_eq!(refused.reason, Reason::Full);
    let mut chain = vec![refused.frame];
    assert_eq!(batch.push_chain(&mut chain), Err(Reason::Full));
    assert_eq!(chain.len(), 1);
    assert_eq!(batch.submit(), 2);
    drop(chain);
    // The short one and the one without headroom are still in their refusals.
    assert_eq!((umem.audit().sent, umem.audit().held), (2, 2));
    assert_eq!(foreign.audit().free, 1);
}

#[test]
fn a_umem_without_metadata_sends_no_request() {
    let mut umem = Umem::new(UmemConfig {
        frames: 1,
        tx_metadata: false,
        ..UmemConfig::default()
    })
    .expect("memory");
    let (mut socket, _peer) = socket(&mut umem, 2);
    assert!(!socket.tx.finishes_checksums());
    let mut frame = umem.take().expect("free");
    frame.write(TX_METADATA_LEN, &packet(1, 60)).expect("fits");
    let mut batch = socket.tx.batch(&mut umem, 1).expect("sane");
    let refused = batch
        .push_with(frame, TxChecksum::udp(34))
        .expect_err("cannot");
    assert_eq!(refused.reason, Reason::NoMetadata);
}

#[test]
fn a_packet_in_several_frames_goes_through_whole() {
    let mut umem = Umem::new(UmemConfig {
        frames: 16,
        multi_buffer: true,
        ..UmemConfig::default()
    })
    .expect("memory");
    let (mut socket, mut peer) = socket(&mut umem, 8);
    socket.fill.refill(&mut umem, 8).expect("sane");
    let jumbo = packet(7, 2 * 1792 + 100);
    peer.deliver(&jumbo).expect("three frames");
    let mut frames = receive(&mut socket, &mut umem);
    let more: Vec<bool> = frames.iter().map(|frame| frame.is_continued()).collect();
    assert_eq!(more, [true, true, false]);

    let mut batch = socket.tx.batch(&mut umem, 2).expect("sane");
    assert_eq!(batch.push_chain(&mut frames), Err(Reason::Full));
    assert_eq!(frames.len(), 3, "all or nothing");
    drop(batch);
    let mut batch = socket.tx.batch(&mut umem, 8).expect("sane");
    assert_eq!(batch.push_chain(&mut frames), Ok(()));
    assert_eq!((frames.len(), batch.submit()), (0, 3));
    let mut sent = Vec::new();
    let mut more = Vec::new();
    peer.collect(8, |part| {
        sent.extend(part.bytes);
        more.push(part.continued);
    })
    .expect("sane");
    assert_eq!((sent, more), (jumbo, vec![true, true, false]));
    assert_eq!(socket.completion.complete(&mut umem, 8), Ok(3));
}

#[test]
fn a_chain_is_refused_without_multi_buffer_or_when_the_kernel_would_drop_it() {
    for (multi_buffer, many) in [(false, 2), (true, 17)] {
        let mut umem = Umem::new(UmemConfig {
            frames: 32,
            multi_buffer,
            ..UmemConfig::default()
        })
        .expect("memory");
        let (mut socket, _peer) = socket(&mut umem, 32);
        let mut frames: Vec<_> = std::iter::from_fn(|| umem.take()).take(many).collect();
        for frame in &mut frames {
            frame.write(0, &packet(1, 60)).expect("fits");
        }
        let mut batch = socket.tx.batch(&mut umem, 32).expect("sane");
        assert_eq!(batch.push_chain(&mut frames), Err(Reason::Chain));
        assert_eq!(frames.len(), many);
    }
}

#[test]
fn a_packet_stays_within_its_frame() {
    let mut umem = umem(1);
    let mut frame = umem.take().expect("free");
    assert_eq!(frame.size(), 2048);
    assert_eq!(frame.range(), 256..256);
    frame.set_range(0..2048).expect("all of it");
    let error = frame.write(1, &[7; 2048]).expect_err("a byte too long");
    let (start, end, size) = (1, 2049, 2048);
    assert_eq!(error, OutOfFrame { start, end, size });
    assert_eq!(frame.range(), 0..2048);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let reversed = 20..10;
    frame.set_range(reversed).expect_err("reversed");
    frame
        .set_range(usize::MAX..usize::MAX)
        .expect_err("far out");
    frame.write(usize::MAX, &[7]).expect_err("far out");
}

#[test]
fn a_token_outlives_its_umem_and_comes_home_from_any_thread() {
    let mut umem = umem(4);
    let mut frames: Vec<_> = std::iter::from_fn(|| umem.take()).collect();
    assert_eq!(frames.len(), 4);
    let mut kept = frames.pop().expect("four");
    std::thread::spawn(move || drop(frames))
        .join()
        .expect("thread");
    assert_eq!((umem.audit().free, umem.audit().held), (3, 1));
    drop(umem);
    kept.bytes_mut().fill(0x5a);
    assert!(kept.bytes().iter().all(|byte| *byte == 0x5a));
    std::thread::spawn(move || drop(kept))
        .join()
        .expect("thread");
}

#[test]
fn frames_of_a_closed_socket_are_lost_and_its_name_is_not_used_again() {
    let mut umem = umem(8);
    let (mut first, peer) = socket(&mut umem, 4);
    first.fill.refill(&mut umem, 2).expect("sane");
    drop((first, peer));
    assert_eq!((umem.audit().lost, umem.audit().free), (2, 6));
    let (mut second, mut peer) = socket(&mut umem, 4);
    second.fill.refill(&mut umem, 1).expect("sane");
    // An address of the first socket's.
    let mut slots = peer.rx.reserve(1).expect("sane");
    slots
        .write(crate::xsk::ring::Desc {
            addr: 256,
            len: 60,
            options: 0,
        })
        .expect("room");
    slots.submit();
    assert!(receive(&mut second, &mut umem).is_empty());
    assert_eq!((umem.audit().lost, umem.audit().filled), (2, 1));
}

#[test]
fn wake_ups_are_counted_when_the_ring_asks() {
    let mut umem = umem(4);
    let (mut socket, mut peer) = socket(&mut umem, 4);
    socket.wake_rx().expect("awake");
    assert_eq!(socket.wake_tx().expect("awake"), 0);
    peer.set_needs_wakeup(true);
    socket.wake_rx().expect("sane");
    assert_eq!(socket.wake_tx().expect("nothing to send"), 0);
    let counted = socket.wakeups();
    assert_eq!((counted.rx, counted.tx), (1, 0));
    let mut frame = umem.take().expect("free");
    frame.write(0, &packet(1, 60)).expect("fits");
    let mut batch = socket.tx.batch(&mut umem, 1).expect("sane");
    batch.push(frame).expect("room");
    batch.submit();
    assert_eq!(socket.wake_tx().expect("sane"), 1);
    assert_eq!(socket.wakeups().tx, 1);
}

#[test]
fn impossible_sizes_are_named_with_what_is_possible() {
    let good = UmemConfig::default();
    for (config, words) in [
        (
            UmemConfig { frames: 0, ..good },
            "frames of a UMEM cannot be 0",
        ),
        (
            UmemConfig {
                frame_size: 1500,
                ..good
            },
            "take 2048 or 4096",
        ),
        (
            UmemConfig {
                headroom: 1345,
                ..good
            },
            "the frame size less 704",
        ),
    ] {
        let error = Umem::new(config).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut umem = Umem::new(UmemConfig {
        headroom: 1344,
        ..good
    })
    .expect("fits");
    assert!(matches!(umem.pages(), Pages::Huge | Pages::Normal));
    for size in [0, 3, 1 << 17] {
        let error = Socket::in_memory(&mut umem, &RingSizes::all(size), 0).expect_err("size");
        assert!(matches!(error, XskError::Config { .. }), "{error}");
        assert!(error.to_string().contains("power of two"), "{error}");
    }
}

#[test]
fn a_umem_has_so_many_sockets_and_no_more() {
    let mut umem = umem(1);
    let sizes = RingSizes::all(1);
    let open: Vec<_> = (0..63)
        .map(|_| Socket::in_memory(&mut umem, &sizes, 0).expect("room"))
        .collect();
    let error = Socket::in_memory(&mut umem, &sizes, 0).expect_err("full");
    assert!(matches!(error, XskError::TooManySockets), "{error}");
    drop(open);
    Socket::in_memory(&mut umem, &sizes, 0).expect("room again");
}

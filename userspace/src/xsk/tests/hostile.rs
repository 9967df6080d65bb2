//! A kernel that says what cannot be.

use super::{packet, receive, socket, umem};
use crate::xsk::ring::{Corrupt, Desc};
use crate::xsk::{Peer, Umem, XskError};

fn inject(peer: &mut Peer, addr: u64, len: u32) {
    let mut slots = peer.rx.reserve(1).expect("sane");
    let options = 0;
    slots.write(Desc { addr, len, options }).expect("room");
    slots.submit();
}

fn inject_completion(peer: &mut Peer, addr: u64) {
    let mut slots = peer.completion.reserve(1).expect("sane");
    slots.write(addr).expect("room");
    slots.submit();
}

#[test]
fn a_descriptor_of_a_frame_that_the_kernel_does_not_have_is_rejected() {
    let mut umem = umem(8);
    let (mut first, mut peer) = socket(&mut umem, 16);
    let (mut second, _other) = socket(&mut umem, 16);
    // Frames 0 to 2 and 7 are filled by the first socket, 3 by the second, 4 is
    // held, 5 is sent, 6 is free.
    first.fill.refill(&mut umem, 3).expect("sane");
    second.fill.refill(&mut umem, 1).expect("sane");
    let held = umem.take().expect("free");
    let mut sent = umem.take().expect("free");
    sent.write(256, &packet(1, 60)).expect("fits");
    let mut batch = first.tx.batch(&mut umem, 1).expect("sane");
    batch.push(sent).expect("room");
    batch.submit();
    let free = umem.take().expect("free");
    first.fill.refill(&mut umem, 1).expect("sane");
    umem.give_back(free);
    let before = umem.audit();

    let at = |frame: u64| frame * 2048 + 256;
    let bad = [
        (at(3), 60),             // another socket's
        (at(4), 60),             // ours at this moment
        (at(5), 60),             // being transmitted
        (at(6), 60),             // free
        (at(8), 60),             // the first byte behind the UMEM
        (u64::MAX - 100, 60),    // far out
        (1 << 43, 60),           // an index whose low 32 bits are zero
        (at(0), 2048 - 256 + 1), // into the next frame
        (at(0), u32::MAX),       // a length that wraps
        (at(1), 0x1_0000 + 60),  // a length whose low 16 bits are fine
    ];
    for (addr, len) in bad {
        inject(&mut peer, addr, len);
    }
    inject(&mut peer, at(2), 2048 - 256);
    inject(&mut peer, at(2), 60);
    let frames = receive(&mut first, &mut umem);
    assert_eq!(frames.len(), 1, "the one good descriptor, once");
    assert_eq!(frames[0].range(), 256..2048);
    assert_eq!(first.rx.rejected(), bad.len() as u64 + 1);
    drop((frames, held));
    let after = umem.audit();
    assert_eq!(after.total(), before.total());
    assert_eq!((after.filled, after.sent), (before.filled - 1, before.sent));
}

#[test]
fn a_completion_of_a_frame_that_was_not_sent_is_rejected() {
    let mut umem = umem(8);
    let (mut first, mut peer) = socket(&mut umem, 16);
    let (mut second, mut other) = socket(&mut umem, 16);
    first.fill.refill(&mut umem, 1).expect("sane"); // frame 0
    let _held = umem.take().expect("free"); // frame 1
    let mut sent = umem.take().expect("free"); // frame 2
    sent.write(100, &packet(1, 60)).expect("fits");
    let mut batch = first.tx.batch(&mut umem, 1).expect("sane");
    batch.push(sent).expect("room");
    batch.submit();

    for addr in [0, 2048 + 256, 3 * 2048, 8 * 2048, u64::MAX] {
        inject_completion(&mut peer, addr);
    }
    assert_eq!(first.completion.complete(&mut umem, 16), Ok(0));
    assert_eq!(first.completion.rejected(), 5);
    inject_completion(&mut other, 2 * 2048 + 100);
    assert_eq!(second.completion.complete(&mut umem, 16), Ok(0));
    // Where in the frame the address points does not matter, twice does.
    inject_completion(&mut peer, 2 * 2048 + 100);
    inject_completion(&mut peer, 2 * 2048 + 100);
    assert_eq!(first.completion.complete(&mut umem, 16), Ok(1));
    assert_eq!(first.completion.rejected(), 6);
    assert_eq!(umem.audit().sent, 0);
}

#[test]
fn an_index_beyond_the_ring_is_an_error_of_the_socket() {
    let mut umem = umem(64);
    let (mut socket, mut peer) = socket(&mut umem, 16);
    socket.fill.refill(&mut umem, 16).expect("sane");
    peer.deliver(&packet(1, 60)).expect("room");
    let corrupt = |claimed| Corrupt { claimed, size: 16 };

    peer.rx.forge_producer(17);
    let mut frames = Vec::with_capacity(64);
    let error = socket.rx.receive(&mut umem, &mut frames);
    assert_eq!((error, frames.len()), (Err(corrupt(17)), 0));
    peer.completion.forge_producer(u32::MAX);
    let error = socket.completion.complete(&mut umem, 16);
    assert_eq!(error, Err(corrupt(u32::MAX)));

    let error = XskError::from(corrupt(17)).to_string();
    assert!(
        error.contains("17") && error.contains("open a new socket"),
        "{error}"
    );
    assert_eq!(umem.audit().filled, 16);
}

#[test]
#[should_panic(expected = "another UMEM")]
fn a_ring_does_not_work_on_another_umem() {
    let mut mine: Umem = umem(4);
    let mut yours = umem(4);
    let (mut socket, _peer) = socket(&mut mine, 4);
    let _ = socket.fill.refill(&mut yours, 1);
}

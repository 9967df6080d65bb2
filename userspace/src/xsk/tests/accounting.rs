//! Any order of operations: each frame is where the model says, each packet
//! arrives as it was sent.

use super::packet;
use crate::xsk::peer::Undelivered;
use crate::xsk::{
    Accounting, Frame, Peer, Reason, RingSizes, Socket, TX_METADATA_LEN, TxChecksum, Umem,
    UmemConfig,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    Take,
    Drop,
    GiveBack,
    Refill(u32),
    Deliver(usize),
    Receive(usize),
    Transmit {
        frames: u32,
        checksum: bool,
        end: End,
    },
    Collect(u32),
    Complete(u32),
}

/// What becomes of a transmit batch.
#[derive(Clone, Copy, Debug)]
enum End {
    Submit,
    Drop,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let few = 0u32..12;
    let step = prop_oneof![
        2 => Just(Step::Take),
        1 => Just(Step::Drop),
        1 => Just(Step::GiveBack),
        4 => few.clone().prop_map(Step::Refill),
        6 => (14usize..1800).prop_map(Step::Deliver),
        4 => (0usize..12).prop_map(Step::Receive),
        4 => (
            few.clone(),
            any::<bool>(),
            prop_oneof![4 => Just(End::Submit), 1 => Just(End::Drop), 1 => Just(End::Forget)]
        )
            .prop_map(|(frames, checksum, end)| Step::Transmit { frames, checksum, end }),
        4 => few.clone().prop_map(Step::Collect),
        4 => few.prop_map(Step::Complete),
    ];
    prop::collection::vec((0usize..2, step), 1..300)
}

/// One socket, its other end, and what should be in its rings.
struct Side {
    socket: Socket,
    peer: Peer,
    filled: u32,
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<(Vec<u8>, bool)>,
    completed: u32,
}

struct Model {
    umem: Umem,
    sides: [Side; 2],
    held: Vec<Frame>,
    /// In a batch that was forgotten: held by nobody, until the next batch.
    limbo: u32,
    ring: u32,
    serial: u64,
}

impl Model {
    fn new(frames: u32, ring: u32, start: u32) -> Self {
        let mut umem = Umem::new(UmemConfig {
            frames,
            ..UmemConfig::default()
        })
        .expect("memory");
        let sides = [start, !start].map(|start| {
            let (socket, peer) =
                Socket::in_memory(&mut umem, &RingSizes::all(ring), start).expect("rings");
            Side {
                socket,
                peer,
                filled: 0,
                received: VecDeque::new(),
                sent: VecDeque::new(),
                completed: 0,
            }
        });
        Self {
            umem,
            sides,
            held: Vec::new(),
            limbo: 0,
            ring,
            serial: 0,
        }
    }

    fn expected(&self) -> Accounting {
        let sum = |f: fn(&Side) -> u32| self.sides.iter().map(f).sum::<u32>();
        let mut expected = Accounting {
            free: 0,
            held: self.held.len() as u32 + self.limbo,
            filled: sum(|side| side.filled + side.received.len() as u32),
            sent: sum(|side| side.sent.len() as u32 + side.completed),
            lost: 0,
        };
        expected.free = self.umem.frames() - expected.total();
        expected
    }

    fn step(&mut self, at: usize, step: &Step) {
        self.serial += 1;
        let side = &mut self.sides[at];
        match *step {
            Step::Take => self.held.extend(self.umem.take().map(|mut frame| {
                let bytes = packet(self.serial, 60);
                frame.write(TX_METADATA_LEN + at, &bytes).expect("fits");
                frame
            })),
            Step::Drop => drop(self.held.pop()),
            Step::GiveBack => {
                if let Some(frame) = self.held.pop() {
                    self.umem.give_back(frame);
                }
            }
            Step::Refill(n) => {
                let free = self.umem.free_frames();
                let room = self.ring - side.peer.fill.peek(u32::MAX).expect("sane").left();
                let filled = side.socket.fill.refill(&mut self.umem, n).expect("sane");
                assert_eq!(filled, n.min(room).min(free));
                side.filled += filled;
            }
            Step::Deliver(len) => {
                let bytes = packet(self.serial, len);
                let expected = if len > self.umem.rx_room() {
                    Err(Undelivered::Length)
                } else if side.filled == 0 {
                    Err(Undelivered::NoFrame)
                } else if side.received.len() as u32 == self.ring {
                    Err(Undelivered::RingFull)
                } else {
                    side.filled -= 1;
                    side.received.push_back(bytes.clone());
                    Ok(())
                };
                assert_eq!(side.peer.deliver(&bytes), expected);
            }
            Step::Receive(n) => {
                let mut frames = Vec::with_capacity(n);
                let room = frames.capacity();
                let got = side
                    .socket
                    .rx
                    .receive(&mut self.umem, &mut frames)
                    .expect("sane");
                assert_eq!(got, room.min(side.received.len()));
                for frame in &frames {
                    assert_eq!(Some(frame.packet()), side.received.pop_front().as_deref());
                    assert!(!frame.is_continued());
                }
                self.held.append(&mut frames);
            }
            Step::Transmit {
                frames,
                checksum,
                end,
            } => self.transmit(at, frames, checksum, end),
            Step::Collect(n) => {
                let room = self.ring - side.completed;
                let mut got = 0;
                let collected = side.peer.collect(n, |sent| {
                    let (bytes, checksum) = side.sent.pop_front().expect("no more than was sent");
                    assert_eq!(sent.bytes, bytes);
                    let expected = checksum.then_some(TxChecksum::udp(34));
                    assert_eq!(sent.checksum, expected);
                    got += 1;
                });
                assert_eq!(collected, Ok(got));
                assert!(got == n.min(room) || side.sent.is_empty());
                side.completed += got;
            }
            Step::Complete(n) => {
                let freed = side
                    .socket
                    .completion
                    .complete(&mut self.umem, n)
                    .expect("sane");
                assert_eq!(freed, n.min(side.completed));
                side.completed -= freed;
            }
        }
    }

    fn transmit(&mut self, at: usize, n: u32, checksum: bool, end: End) {
        let side = &mut self.sides[at];
        let room = self.ring - side.sent.len() as u32;
        let mut batch = side.socket.tx.batch(&mut self.umem, n).expect("sane");
        self.limbo = 0;
        let mut queued = Vec::new();
        for _ in 0..n {
            let Some(frame) = self.held.pop() else { break };
            let bytes = frame.packet().to_vec();
            let pushed = if checksum {
                batch.push_with(frame, TxChecksum::udp(34))
            } else {
                batch.push(frame)
            };
            match pushed {
                Ok(()) => queued.push((bytes, checksum)),
                Err(refused) => {
                    // The frame is back, with its packet.
                    assert_eq!(refused.frame.packet(), bytes);
                    match refused.reason {
                        Reason::Full => assert_eq!(queued.len() as u32, room.min(n)),
                        Reason::OutsidePacket => assert!(bytes.len() < 42),
                        other => panic!("{other}"),
                    }
                    self.held.push(refused.frame);
                    break;
                }
            }
        }
        match end {
            End::Submit => {
                assert_eq!(batch.submit(), queued.len() as u32);
                side.sent.extend(queued);
            }
            End::Drop => drop(batch),
            End::Forget => {
                std::mem::forget(batch);
                self.limbo = queued.len() as u32;
            }
        }
    }
}

proptest! {
    #[test]
    fn every_frame_is_where_it_should_be_and_every_packet_whole(
        frames in 1u32..40,
        order in 0u32..5,
        start in any::<u32>(),
        steps in steps(),
    ) {
        let mut model = Model::new(frames, 1 << order, start);
        for (at, step) in &steps {
            model.step(*at, step);
            let expected = model.expected();
            prop_assert_eq!(model.umem.audit(), expected, "after {:?}", step);
        }
        for side in &model.sides {
            prop_assert_eq!(side.socket.rx.rejected(), 0);
            prop_assert_eq!(side.socket.completion.rejected(), 0);
        }
    }
}

#[test]
fn a_forwarder_and_the_kernel_on_two_threads_lose_nothing() {
    const PACKETS: u64 = 200_000;
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut model = Model::new(128, 32, u32::MAX - 77);
    let [a, b] = &mut model.sides;
    let (peer_a, peer_b) = (&mut a.peer, &mut b.peer);
    let (rx, tx) = (&mut a.socket, &mut b.socket);
    let umem = &mut model.umem;
    std::thread::scope(|scope| {
        let kernel = scope.spawn(move || {
            let (mut delivered, mut collected) = (0, 0);
            // How long all of it takes is for those to say who have the processors, too.
            let mut last = Instant::now();
            while collected < PACKETS {
                while delivered < PACKETS && peer_a.deliver(&packet(delivered, 64)).is_ok() {
                    delivered += 1;
                }
                let got = peer_b.collect(8, |sent| {
                    let mut expected = packet(collected, 64);
                    expected[0] ^= 0xff;
                    assert_eq!(sent.bytes, expected);
                    collected += 1;
                });
                if got == Ok(0) {
                    assert!(last.elapsed() < PATIENCE, "{collected} of {delivered}");
                    std::thread::yield_now();
                } else {
                    last = Instant::now();
                }
            }
        });
        let mut frames = Vec::with_capacity(16);
        let mut forwarded = 0;
        while !kernel.is_finished() {
            tx.completion.complete(umem, 64).expect("sane");
            rx.fill.refill(umem, 64).expect("sane");
            rx.rx.receive(umem, &mut frames).expect("sane");
            let mut batch = tx.tx.batch(umem, frames.len() as u32).expect("sane");
            let room = batch.room() as usize;
            for mut frame in frames.drain(..room) {
                frame.packet_mut()[0] ^= 0xff;
                batch.push(frame).expect("room");
            }
            if batch.submit() == 0 {
                std::thread::yield_now();
            }
            forwarded += room as u64;
        }
        kernel.join().expect("the kernel's end");
        tx.completion.complete(umem, 64).expect("sane");
        assert_eq!((forwarded, frames.len()), (PACKETS, 0));
    });
    let count = model.umem.audit();
    assert_eq!((count.sent, count.held, count.lost), (0, 0, 0), "{count:?}");
    assert_eq!(count.filled, model.sides[0].peer.waiting().expect("sane"));
}

//! From the transmit ring to a UDP socket at the other end.

use crate::frames::{Checksum, numbered};
use crate::wire::{PATIENCE, Wire, complete};
use ringtun::xsk::{
    RX_HEADROOM, RingSizes, Socket, SocketConfig, Transfer, TxChecksum, Umem, UmemConfig,
};
use ringtun_lab::{NetNs, wait};
use std::net::UdpSocket;
use std::time::Duration;

const HEADROOM: usize = RX_HEADROOM as usize;

fn open(wire: &Wire) -> (Umem, Socket) {
    let mut umem = Umem::new(UmemConfig::default()).expect("memory");
    let socket = wire
        .bind(&mut umem, &SocketConfig::default())
        .expect("a socket");
    (umem, socket)
}

/// Sends frames in one batch; all of them leave with one call of the kernel.
fn send(socket: &mut Socket, umem: &mut Umem, frames: &[Vec<u8>], checksum: Option<TxChecksum>) {
    let tokens: Vec<_> = frames
        .iter()
        .map(|bytes| {
            let mut frame = umem.take().expect("free");
            frame.write(HEADROOM, bytes).expect("fits");
            frame
        })
        .collect();
    let mut batch = socket.tx.batch(umem, frames.len() as u32).expect("sane");
    for frame in tokens {
        match checksum {
            Some(checksum) => batch.push_with(frame, checksum),
            None => batch.push(frame),
        }
        .expect("room");
    }
    assert_eq!(batch.submit() as usize, frames.len());
    assert_eq!(socket.wake_tx().expect("up"), 0, "the kernel took all");
    complete(socket, umem);
}

fn expect(socket: &UdpSocket, payload: &[u8]) {
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).expect("a datagram");
    assert!(buffer[..len] == *payload, "{len} other bytes arrived");
}

fn expect_nothing(socket: &UdpSocket) {
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("timeout");
    let error = socket.recv(&mut [0; 2048]).expect_err("nothing");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
}

fn udp_counter(ns: &NetNs, v6: bool, name: &str) -> u64 {
    if v6 {
        let text = ns
            .run("cat", ["/proc/thread-self/net/snmp6"])
            .expect("snmp6");
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&format!("Udp6{name}")))
            .expect("a counter");
        return line
            .split_whitespace()
            .nth(1)
            .expect("a value")
            .parse()
            .expect("a number");
    }
    let text = ns.run("cat", ["/proc/thread-self/net/snmp"]).expect("snmp");
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let at = names
        .split_whitespace()
        .position(|other| other == name)
        .expect("a counter");
    values
        .split_whitespace()
        .nth(at)
        .expect("a value")
        .parse()
        .expect("a number")
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release
        .split('.')
        .map(|part| part.parse().expect("a number"));
    let mut next = || numbers.next().expect("two numbers");
    (next(), next())
}

#[test]
fn a_batch_arrives_whole_and_in_order_and_its_frames_come_back() {
    let wire = Wire::new();
    let (mut umem, mut socket) = open(&wire);
    assert_eq!(socket.transfer(), Transfer::Copy);
    assert!(socket.why_copy().is_some(), "zero-copy was tried");
    for v6 in [false, true] {
        let (flow, far) = (wire.outward(v6), wire.far_socket(v6));
        for round in 0..20 {
            let payloads: Vec<_> = (0..100)
                .map(|at| numbered(round * 100 + at, 8 + (at as usize * 13) % 1400))
                .collect();
            let frames: Vec<_> = payloads
                .iter()
                .map(|payload| flow.frame(payload, Checksum::Full))
                .collect();
            send(&mut socket, &mut umem, &frames, None);
            for payload in &payloads {
                expect(&far, payload);
            }
        }
    }
    let count = umem.audit();
    assert_eq!((count.free, count.total()), (4096, 4096), "{count:?}");
    let statistics = socket.statistics().expect("statistics");
    assert_eq!(statistics.tx_invalid_descs, 0, "{statistics:?}");
    let wakeups = socket.wakeups();
    // A call takes the whole batch where its budget can be set, else 32 frames.
    let (calls, again) = if kernel() >= (6, 18) {
        (40, 0)
    } else {
        (160, 120)
    };
    assert_eq!((wakeups.tx, wakeups.tx_again), (calls, again));
}

#[test]
fn the_kernel_finishes_the_checksum_that_it_is_asked_to() {
    let wire = Wire::new();
    // So that the kernel computes it now, and the far end verifies it.
    wire.near
        .run("ethtool", ["-K", &wire.device, "tx", "off"])
        .expect("ethtool");
    let (mut umem, mut socket) = open(&wire);
    assert!(socket.tx.finishes_checksums(), "this kernel can");
    for v6 in [false, true] {
        let (flow, far) = (wire.outward(v6), wire.far_socket(v6));
        let checksum = Some(TxChecksum::udp(flow.udp_at()));
        let payload = |n| numbered(n, 777 + n as usize);
        let partial = |n| flow.frame(&payload(n), Checksum::Partial);
        let errors = || udp_counter(&wire.far, v6, "InCsumErrors");

        // Without the request it is a broken datagram.
        let before = errors();
        send(&mut socket, &mut umem, &[partial(0)], None);
        // The kernel looks at the checksum when somebody reads.
        wait::until("the far end finds it broken", PATIENCE, || {
            expect_nothing(&far);
            Ok((errors() > before).then_some(()))
        })
        .expect("an error");

        let frames: Vec<_> = (1..40).map(partial).collect();
        send(&mut socket, &mut umem, &frames, checksum);
        for n in 1..40 {
            expect(&far, &payload(n));
        }
        assert_eq!(errors() - before, 1);
    }
    assert_eq!(umem.audit().free, 4096);
}

#[test]
fn a_full_completion_ring_stops_the_kernel_and_not_the_program() {
    let wire = Wire::new();
    let mut umem = Umem::new(UmemConfig::default()).expect("memory");
    let config = SocketConfig {
        rings: RingSizes {
            completion: 16,
            ..RingSizes::all(64)
        },
        ..SocketConfig::default()
    };
    let mut socket = wire.bind(&mut umem, &config).expect("a socket");
    let (flow, far) = (wire.outward(false), wire.far_socket(false));
    let mut tokens = Vec::new();
    for n in 0..64 {
        let mut frame = umem.take().expect("free");
        let bytes = flow.frame(&numbered(n, 100), Checksum::Full);
        frame.write(HEADROOM, &bytes).expect("fits");
        tokens.push(frame);
    }
    let mut batch = socket.tx.batch(&mut umem, 64).expect("sane");
    for frame in tokens {
        batch.push(frame).expect("room");
    }
    batch.submit();
    for left in [48, 32, 16, 0] {
        assert_eq!(socket.wake_tx().expect("up"), left);
        wait::until("sixteen are through", PATIENCE, || {
            socket.completion.complete(&mut umem, 16)?;
            let now = umem.audit().sent;
            Ok((now == left).then_some(()))
        })
        .expect("completions");
    }
    let wakeups = socket.wakeups();
    assert!(wakeups.tx_again >= 3 && wakeups.tx <= 12, "{wakeups:?}");
    for n in 0..64 {
        expect(&far, &numbered(n, 100));
    }
    assert_eq!(umem.audit().free, 4096);
}

#[test]
fn a_ring_smaller_than_the_batch_hands_frames_back() {
    let wire = Wire::new();
    let mut umem = Umem::new(UmemConfig::default()).expect("memory");
    let config = SocketConfig {
        rings: RingSizes::all(16),
        ..SocketConfig::default()
    };
    let mut socket = wire.bind(&mut umem, &config).expect("a socket");
    let (flow, far) = (wire.outward(false), wire.far_socket(false));
    let mut waiting: Vec<_> = (0..100)
        .map(|n| {
            let mut frame = umem.take().expect("free");
            let bytes = flow.frame(&numbered(n, 100), Checksum::Full);
            frame.write(HEADROOM, &bytes).expect("fits");
            frame
        })
        .rev()
        .collect();
    let mut turns = 0;
    while let Some(frame) = waiting.pop() {
        let mut batch = socket.tx.batch(&mut umem, 100).expect("sane");
        let mut next = Some(frame);
        while let Some(frame) = next.take() {
            match batch.push(frame) {
                Ok(()) => next = waiting.pop(),
                Err(refused) => waiting.push(refused.frame),
            }
        }
        batch.submit();
        socket.wake_tx().expect("up");
        socket.completion.complete(&mut umem, 16).expect("sane");
        turns += 1;
        assert!(turns < 10_000, "no progress");
    }
    complete(&mut socket, &mut umem);
    for n in 0..100 {
        expect(&far, &numbered(n, 100));
    }
    assert!(turns >= 7, "16 at a time, not 100 in {turns} turns");
    assert_eq!(umem.audit().free, 4096);
}

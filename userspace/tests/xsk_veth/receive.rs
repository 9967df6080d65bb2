//! From a socket at the other end, through an XDP redirect, to the receive ring.

use crate::frames::{Checksum, numbered, payload};
use crate::wire::{PATIENCE, PORT, Wire, complete, receive};
use ringtun::bpf::{Mode, RingProgram};
use ringtun::xsk::{BusyPoll, Frame, RingSizes, Socket, SocketConfig, Umem, UmemConfig};
use ringtun_lab::wait;
use std::net::SocketAddr;
use std::time::Duration;

fn open(wire: &Wire, umem: UmemConfig, socket: SocketConfig) -> (Umem, Socket) {
    let mut umem = Umem::new(umem).expect("memory");
    let socket = wire.bind(&mut umem, &socket).expect("a socket");
    (umem, socket)
}

/// Receives until `count` numbered datagrams of `len` bytes came, in order.
fn expect_numbered(socket: &mut Socket, umem: &mut Umem, from: u64, count: u64, len: usize) {
    let mut next = from;
    let mut frames = Vec::with_capacity(64);
    while next < from + count {
        receive(socket, umem, &mut frames);
        for frame in frames.drain(..) {
            assert_eq!(frame.range().start, 256);
            if let Some(bytes) = payload(frame.packet()) {
                assert_eq!(bytes, numbered(next, len));
                next += 1;
            }
            umem.give_back(frame);
        }
        socket.fill.refill(umem, 64).expect("sane");
        socket.wake_rx().expect("up");
    }
}

/// Receives until a datagram is there; what else the far end's kernel sends
/// (multicast of IPv6) is dropped.
fn receive_datagram(socket: &mut Socket, umem: &mut Umem) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(64);
    loop {
        receive(socket, umem, &mut frames);
        while let Some(end) = frames.iter().position(|frame| !frame.is_continued()) {
            let packet: Vec<_> = frames.drain(..=end).collect();
            if payload(packet[0].packet()).is_some() {
                return packet;
            }
        }
    }
}

#[test]
fn what_the_program_redirects_is_received_in_each_mode() {
    let busy_poll = BusyPoll {
        microseconds: 20,
        budget: 64,
    };
    for (mode, busy_poll) in [
        (Mode::Native, None),
        (Mode::Generic, None),
        (Mode::Native, Some(busy_poll)),
    ] {
        let wire = Wire::new();
        let config = SocketConfig {
            prefill: 512,
            busy_poll,
            ..SocketConfig::default()
        };
        let (mut umem, mut socket) = open(&wire, UmemConfig::default(), config);
        assert_eq!(umem.audit().filled, 512);
        let _redirect = wire.redirect(&socket, mode);
        for v6 in [false, true] {
            let far = wire.far_socket(v6);
            for round in 0..20 {
                for at in 0..50 {
                    far.send(&numbered(round * 50 + at, 1300)).expect("send");
                }
                expect_numbered(&mut socket, &mut umem, round * 50, 50, 1300);
            }
        }
        assert_eq!(socket.rx.rejected(), 0);
        let count = umem.audit();
        assert_eq!((count.held, count.sent, count.lost), (0, 0, 0), "{count:?}");
        assert_eq!(socket.wakeups().rx > 0, busy_poll.is_some());
    }
}

#[test]
fn without_a_socket_the_kernel_has_the_frames() {
    let wire = Wire::new();
    let far = wire.far_socket(false);
    let near = wire
        .near
        .udp(SocketAddr::from((wire.address(1, false), PORT)))
        .expect("bind");
    near.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = [0; 2048];
    let mut passes = |n: u64| {
        far.send(&numbered(n, 64)).expect("send");
        let len = near.recv(&mut buffer).expect("a datagram");
        assert_eq!(buffer[..len], numbered(n, 64));
    };

    let mut program = RingProgram::load().expect("the program");
    let _link = wire.attach(&program, Mode::Native);
    passes(1);
    let config = SocketConfig {
        prefill: 64,
        ..SocketConfig::default()
    };
    let (mut umem, mut socket) = open(&wire, UmemConfig::default(), config);
    passes(2);
    let fd = socket.fd().expect("the kernel's");
    program.insert(0, fd).expect("this queue's");
    program.insert(64, fd).expect_err("beyond the map");
    far.send(&numbered(3, 64)).expect("send");
    expect_numbered(&mut socket, &mut umem, 3, 1, 64);
    program.remove(0).expect("it is there");
    passes(4);
    program
        .insert(0, socket.fd().expect("open"))
        .expect("again");
    // Closing takes it out of the map. A process that another test starts at this
    // moment has the descriptor too, until it executes its program.
    drop(socket);
    near.set_read_timeout(Some(Duration::from_millis(20)))
        .expect("timeout");
    wait::until("the kernel has the frames", PATIENCE, || {
        far.send(&numbered(5, 64))?;
        Ok(near.recv(&mut [0; 2048]).ok())
    })
    .expect("a datagram");
}

#[test]
fn a_starved_fill_ring_shows_in_the_statistics_and_recovers() {
    let wire = Wire::new();
    let (mut umem, mut socket) = open(&wire, UmemConfig::default(), SocketConfig::default());
    let _redirect = wire.redirect(&socket, Mode::Native);
    let far = wire.far_socket(false);
    let before = socket.statistics().expect("statistics");
    for n in 0..20 {
        far.send(&numbered(n, 64)).expect("send");
    }
    wait::until("twenty drops", PATIENCE, || {
        let now = socket.statistics()?;
        Ok((now.rx_dropped - before.rx_dropped >= 20).then_some(()))
    })
    .expect("drops");
    let starved = socket.statistics().expect("statistics");
    assert!(
        starved.rx_fill_ring_empty_descs >= before.rx_fill_ring_empty_descs + 20,
        "{starved:?}"
    );
    assert_eq!(starved.rx_ring_full, 0, "{starved:?}");

    assert_eq!(socket.fill.refill(&mut umem, 32).expect("sane"), 32);
    let refilled = socket.statistics().expect("statistics");
    far.send(&numbered(20, 64)).expect("send");
    expect_numbered(&mut socket, &mut umem, 20, 1, 64);
    let after = socket.statistics().expect("statistics");
    assert_eq!(after.rx_dropped, refilled.rx_dropped, "{after:?}");
}

#[test]
fn a_full_receive_ring_shows_in_the_statistics_and_loses_no_frame() {
    let wire = Wire::new();
    let config = SocketConfig {
        rings: RingSizes {
            rx: 16,
            ..RingSizes::all(64)
        },
        prefill: 64,
        ..SocketConfig::default()
    };
    let (mut umem, mut socket) = open(&wire, UmemConfig::default(), config);
    let _redirect = wire.redirect(&socket, Mode::Native);
    let far = wire.far_socket(false);
    for n in 0..40 {
        far.send(&numbered(n, 64)).expect("send");
    }
    wait::until("the ring is full", PATIENCE, || {
        Ok((socket.statistics()?.rx_ring_full >= 20).then_some(()))
    })
    .expect("full");
    let mut frames = Vec::with_capacity(64);
    assert_eq!(receive(&mut socket, &mut umem, &mut frames), 16);
    frames.clear();
    let count = umem.audit();
    assert_eq!((count.filled, count.held), (48, 0), "{count:?}");
}

#[test]
fn a_jumbo_packet_in_several_frames_comes_in_and_goes_out_whole() {
    const LEN: usize = 8000;
    let wire = Wire::new();
    for (ns, device) in [(&*wire.near, &wire.device), (&wire.far, &wire.far_device)] {
        ns.ip(&format!("link set {device} mtu 9000\n"))
            .expect("MTU");
    }
    let umem = UmemConfig {
        multi_buffer: true,
        ..UmemConfig::default()
    };
    let config = SocketConfig {
        prefill: 512,
        ..SocketConfig::default()
    };
    let (mut umem, mut socket) = open(&wire, umem, config);
    let _redirect = wire.redirect(&socket, Mode::Native);
    let far = wire.far_socket(false);
    let flow = wire.outward(false);
    for n in 0..20 {
        far.send(&numbered(n, LEN)).expect("send");
        let mut frames = receive_datagram(&mut socket, &mut umem);
        assert_eq!(frames.len(), (LEN + 42).div_ceil(umem.rx_room()));
        let whole: Vec<u8> = frames
            .iter()
            .flat_map(|frame| frame.packet())
            .copied()
            .collect();
        assert_eq!(payload(&whole), Some(&numbered(n, LEN)[..]));

        // Back: other headers, and the other number, in the same frames.
        let answer = flow.frame(&numbered(!n, LEN), Checksum::Full);
        let mut rest = &answer[..];
        for frame in &mut frames {
            let (part, left) = rest.split_at(frame.range().len());
            frame.packet_mut().copy_from_slice(part);
            rest = left;
        }
        let mut batch = socket.tx.batch(&mut umem, 16).expect("sane");
        batch.push_chain(&mut frames).expect("room");
        batch.submit();
        assert_eq!(socket.wake_tx().expect("up"), 0);
        complete(&mut socket, &mut umem);
        let mut buffer = [0; LEN + 1];
        let len = far.recv(&mut buffer).expect("the answer");
        assert!(buffer[..len] == numbered(!n, LEN)[..], "{len} other bytes");
        socket.fill.refill(&mut umem, 64).expect("sane");
    }
    let count = umem.audit();
    assert_eq!((count.held, count.sent, count.lost), (0, 0, 0), "{count:?}");
}

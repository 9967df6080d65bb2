//! From one device to another on the frames of one UMEM.

use crate::frames::numbered;
use crate::wire::{PATIENCE, Redirect, Wire};
use ringtun::bpf::Mode;
use ringtun::xsk::{Accounting, Frame, RingSizes, Socket, SocketConfig, Umem, UmemConfig};
use ringtun_lab::flood::{self, Flood};
use ringtun_lab::{ping, wait};
use std::io::PipeReader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// Two links to one near namespace whose frames a thread forwards, answering for
/// both of its addresses: what comes from one far end goes to the other.
struct Forwarder {
    umem: Umem,
    sockets: [Socket; 2],
    /// Per direction: the MAC addresses to write.
    macs: [[[u8; 6]; 2]; 2],
    frames: Vec<Frame>,
    forwarded: [u64; 2],
    full: u64,
}

impl Forwarder {
    /// Receives at one socket, rewrites, transmits at the other.
    fn forward(&mut self, from: usize) {
        let to = 1 - from;
        let got = self.sockets[from]
            .rx
            .receive(&mut self.umem, &mut self.frames);
        got.expect("sane");
        let wanted = self.frames.len() as u32;
        let mut batch = self.sockets[to]
            .tx
            .batch(&mut self.umem, wanted)
            .expect("sane");
        for mut frame in self.frames.drain(..) {
            let packet = frame.packet_mut();
            packet[..6].copy_from_slice(&self.macs[to][1]);
            packet[6..12].copy_from_slice(&self.macs[to][0]);
            match batch.push(frame) {
                Ok(()) => self.forwarded[from] += 1,
                // Dropping the refused frame frees it.
                Err(_refused) => self.full += 1,
            }
        }
        batch.submit();
    }

    fn turn(&mut self) {
        for at in [0, 1] {
            self.forward(at);
            let socket = &mut self.sockets[at];
            socket.wake_tx().expect("up");
            socket
                .completion
                .complete(&mut self.umem, 64)
                .expect("sane");
            socket.fill.refill(&mut self.umem, 64).expect("sane");
            socket.wake_rx().expect("up");
        }
    }

    /// Forwards until `stop` is closed.
    fn run(mut self, stop: &PipeReader) -> Self {
        loop {
            self.turn();
            let pending = self.sockets.iter_mut().any(|socket| {
                let left = socket.tx.pending().expect("sane");
                left > 0
            });
            let [a, b] = &self.sockets;
            let fds = [a.fd().expect("open"), b.fd().expect("open"), stop.as_fd()];
            // A ring that could not be emptied is tried again, not waited for.
            let patience = if pending {
                Duration::ZERO
            } else {
                PATIENCE * 10
            };
            let Ok(ready) = wait::ready(&fds, patience) else {
                continue;
            };
            if ready[2].error {
                return self;
            }
        }
    }

    /// Nothing more comes: waits until every frame is free or waits for packets.
    fn drain(&mut self) -> Accounting {
        wait::until("every frame is accounted for", PATIENCE, || {
            self.turn();
            let count = self.umem.audit();
            Ok((count.sent == 0).then_some(count))
        })
        .expect("completions")
    }
}

/// Two far ends that reach each other through a forwarder.
struct Path {
    wires: [Wire; 2],
    _redirects: Vec<Redirect>,
    forwarder: Option<Forwarder>,
}

impl Path {
    fn new(rings: u32, frames: u32) -> Self {
        let first = Wire::new();
        let second = first.beside();
        let mut umem = Umem::new(UmemConfig {
            frames,
            ..UmemConfig::default()
        })
        .expect("memory");
        let config = SocketConfig {
            rings: RingSizes::all(rings),
            prefill: rings / 2,
            ..SocketConfig::default()
        };
        let wires = [first, second];
        // The second socket shares the UMEM, with rings of its own.
        let sockets = wires
            .each_ref()
            .map(|wire| wire.bind(&mut umem, &config).expect("a socket"));
        let mut redirects = Vec::new();
        for (at, wire) in wires.iter().enumerate() {
            redirects.push(wire.redirect(&sockets[at], Mode::Native));
            // A checksum that is left to a device would stay unfinished.
            let off = ["-K", &wire.far_device, "tx", "off"];
            wire.far.run("ethtool", off).expect("ethtool");
            wire.far
                .ip(&format!(
                    "route add default via {}\n",
                    wire.address(1, false)
                ))
                .expect("route");
        }
        let forwarder = Forwarder {
            umem,
            macs: [wires[0].macs, wires[1].macs],
            sockets,
            frames: Vec::with_capacity(64),
            forwarded: [0; 2],
            full: 0,
        };
        Self {
            wires,
            _redirects: redirects,
            forwarder: Some(forwarder),
        }
    }

    /// Calls `f` while the forwarder runs; the forwarder afterwards.
    fn during(&mut self, f: impl FnOnce(&[Wire; 2])) -> Forwarder {
        let forwarder = self.forwarder.take().expect("once");
        let (stopped, stop) = std::io::pipe().expect("a pipe");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || forwarder.run(&stopped));
            f(&self.wires);
            drop(stop);
            thread.join().expect("the forwarder")
        })
    }
}

/// Sends `windows` of datagrams from the first far end to the second, which
/// answers each; all of them arrive.
fn exchange(wires: &[Wire; 2], port: u16, windows: u64) {
    const WINDOW: u64 = 24;
    let address = |at: usize| SocketAddr::from((wires[at].address(2, false), port));
    let [client, server] = [0, 1].map(|at| {
        let socket = wires[at].far.udp(address(at)).expect("bind");
        socket.connect(address(1 - at)).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 2048];
            for _ in 0..windows * WINDOW {
                let len = server.recv(&mut buffer).expect("a request");
                server.send(&buffer[..len]).expect("answer");
            }
        });
        let mut buffer = [0; 2048];
        for window in 0..windows {
            let numbers = window * WINDOW..(window + 1) * WINDOW;
            let payload = |n: u64| numbered(n, 8 + (n as usize * 37) % 1400);
            for n in numbers.clone() {
                client.send(&payload(n)).expect("send");
            }
            for n in numbers {
                let len = client.recv(&mut buffer).expect("an answer");
                assert!(buffer[..len] == payload(n)[..], "{len} other bytes");
            }
        }
    });
}

#[test]
fn both_directions_share_one_umem_and_every_frame_is_accounted_for() {
    const WINDOWS: u64 = 200;
    let mut path = Path::new(128, 512);
    let mut forwarder = path.during(|wires| exchange(wires, 7000, WINDOWS));
    let count = forwarder.drain();
    assert_eq!(count.total(), 512);
    assert_eq!((count.held, count.lost), (0, 0), "{count:?}");
    assert!(forwarder.forwarded.iter().all(|n| *n >= WINDOWS * 24));
    assert_eq!(forwarder.full, 0);
    for socket in &forwarder.sockets {
        let statistics = socket.statistics().expect("statistics");
        assert_eq!(statistics.rx_dropped, 0, "{statistics:?}");
        assert_eq!(statistics.rx_ring_full, 0, "{statistics:?}");
        assert_eq!(statistics.tx_invalid_descs, 0, "{statistics:?}");
        assert_eq!(statistics.rx_invalid_descs, 0, "{statistics:?}");
        assert_eq!((socket.rx.rejected(), socket.completion.rejected()), (0, 0));
    }
}

#[test]
fn small_rings_that_overflow_all_the_time_lose_no_frame_and_go_on() {
    const FLOOD: u64 = 200_000;
    let mut path = Path::new(64, 96);
    let mut forwarder = path.during(|wires| {
        let floods: Vec<_> = wires
            .iter()
            .zip([&wires[1], &wires[0]])
            .map(|(from, to)| {
                let target = flood::Target {
                    hardware: from.macs[0],
                    address: v4(to.address(2, false)),
                    port: 9,
                };
                let source = v4(from.address(2, false));
                let frame = flood::frame(&target, source, 9, &[7; 200]);
                // More than the link carries.
                Flood::start(&from.far, &from.far_device, vec![frame; 64], 10_000_000)
                    .expect("flood")
            })
            .collect();
        wait::until("the flood has passed", PATIENCE * 4, || {
            let all = floods.iter().all(|flood| flood.progress().0 >= FLOOD);
            Ok(all.then_some(()))
        })
        .expect("a flood");
        drop(floods);
        // What is left of it on the way must not crowd out what is to arrive.
        exchange_when_quiet(wires);
    });
    let count = forwarder.drain();
    assert_eq!(count.total(), 96);
    assert_eq!((count.held, count.sent, count.lost), (0, 0, 0), "{count:?}");
    assert!(
        forwarder.forwarded.iter().all(|n| *n > 1000),
        "{:?}",
        forwarder.forwarded
    );
    let mut overflows = forwarder.full;
    for socket in &forwarder.sockets {
        let statistics = socket.statistics().expect("statistics");
        overflows += statistics.rx_dropped + statistics.rx_ring_full;
        assert_eq!(statistics.tx_invalid_descs, 0, "{statistics:?}");
        assert_eq!((socket.rx.rejected(), socket.completion.rejected()), (0, 0));
    }
    assert!(
        overflows > 1000,
        "{overflows} overflows: the rings were not small"
    );
}

/// Pings until one gets through, then exchanges.
fn exchange_when_quiet(wires: &[Wire; 2]) {
    let to = wires[1].address(2, false);
    let second = Duration::from_secs(1);
    wait::until("the path is quiet", PATIENCE, || {
        let report = ping::ping(&wires[0].far, to, 1, second, second)?;
        Ok((report.received == 1).then_some(()))
    })
    .expect("a ping");
    exchange(wires, 7000, 20);
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("{v6}"),
    }
}

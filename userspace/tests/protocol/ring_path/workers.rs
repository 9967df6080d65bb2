//! Worker threads at a ring in memory, of which the test is the kernel.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::offload::VNET_LEN;
use ringtun::datapath::port::{Port, Tunnel};
use ringtun::datapath::rings::Way;
use ringtun::datapath::taps::Side;
use ringtun::datapath::team::Team;
use ringtun::datapath::worker::{Command, Handle};
use ringtun::net::clock;
use ringtun::xsk::Peer;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::packet;
use tokio::sync::oneshot;

use super::net::{self, Net, Options, numbered};

/// Patience where something must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Workers of host 0; the first has the ring.
struct Workers {
    handles: Vec<Handle>,
    /// By worker and device.
    tuns: Vec<Vec<UnixDatagram>>,
    tunnels: Vec<Arc<Tunnel>>,
    kernel: Peer,
    /// Host 1, and whatever else must stay.
    net: Net,
}

impl Workers {
    fn start(seed: u64, workers: usize, options: Options) -> Self {
        let mut net = Net::new(
            seed,
            Options {
                now: Some(clock::boot()),
                ..options
            },
        );
        net.set_exits(0, true);
        let (ring, kernel, _) = net::ring(net::ifindex(0), 0, 1, &net.options);
        let team = Team::new(workers);
        let handles: Vec<_> = (0..workers)
            .map(|at| Handle::start(at, Queues::new(0), &team).expect("a thread"))
            .collect();
        handles[0].send(Command::AddWay(Side::Outer, Way::Own(Box::new(ring))));
        for handle in &handles[1..] {
            let way = Way::Relay {
                ifindex: net::ifindex(0),
                to: Arc::clone(handles[0].inbox()),
            };
            handle.send(Command::AddWay(Side::Outer, way));
        }
        let tunnels: Vec<_> = (0..options.devices)
            .map(|device| Arc::clone(&net.hosts[0].port(device).tunnel))
            .collect();
        let tuns = handles.iter().enumerate().map(|(at, handle)| {
            let devices = tunnels.iter().enumerate().map(|(device, tunnel)| {
                let (queue, tun) = net::tun();
                let mut port = Port::new(tunnel, at, queue, true);
                port.sockets = net::clone(net.hosts[0].port(device));
                handle.send(Command::Add(Box::new(port)));
                tun
            });
            devices.collect()
        });
        Self {
            tuns: tuns.collect(),
            handles,
            tunnels,
            kernel,
            net,
        }
    }

    /// Puts a packet into a TUN queue if there is room.
    fn write(&self, worker: usize, device: usize, number: u32) -> bool {
        let packet = numbered(0, 1, number, 400, 0);
        let read = [&[0; VNET_LEN][..], &packet].concat();
        self.tuns[worker][device].send(&read).is_ok()
    }

    /// Frames transmitted, as payload bytes with the port that they are for.
    fn collect(&mut self, n: u32) -> Vec<(u16, Vec<u8>)> {
        let mut sent = Vec::new();
        let each = |frame: ringtun::xsk::peer::Transmitted<'_>| {
            let bytes = super::wire::finish(&frame);
            let parsed = packet::parse(&mut SliceCursor::new(&bytes)).expect("a packet");
            sent.push((parsed.destination_port, bytes));
        };
        self.kernel.collect(n, each).expect("sane");
        sent
    }

    /// What comes out of the ring within a while, at least `n` frames.
    fn wait_for(&mut self, n: usize) -> Vec<(u16, Vec<u8>)> {
        let begin = Instant::now();
        let mut sent = Vec::new();
        while sent.len() < n {
            assert!(begin.elapsed() < PATIENCE, "{} of {n} came", sent.len());
            sent.extend(self.collect(u32::MAX));
            thread::sleep(Duration::from_micros(50));
        }
        sent
    }

    fn backpressure(&self) -> u64 {
        let workers = self.tunnels.iter().flat_map(|t| t.workers.iter());
        workers.map(|w| w.backpressure.get()).sum()
    }

    fn stop(self) {
        let pools: Vec<_> = self
            .handles
            .iter()
            .map(|h| Arc::clone(h.frames()))
            .collect();
        drop(self.handles);
        drop(self.net);
        for pool in pools {
            assert_eq!(pool.outstanding(), 0, "a frame was lost");
        }
    }
}

/// The sender sleeps and the owner sleeps, each time anew: nobody is forgotten.
#[test]
fn a_run_handed_to_a_sleeping_worker_wakes_it() {
    let mut workers = Workers::start(780, 2, Options::default());
    for n in 0..400u32 {
        assert!(workers.write(1, 0, n));
        workers.wait_for(1);
        // The owner goes to sleep for good some time after its ring is empty.
        thread::sleep(Duration::from_micros(u64::from(n) * 7919 % 3000));
    }
    workers.stop();
}

/// Keeps all TUN queues full and takes frames in small portions, so that the
/// ring is always full; how many frames each port number got.
fn contend(workers: &mut Workers, frames: usize) -> Vec<(u16, Vec<u8>)> {
    let begin = Instant::now();
    let mut sent = Vec::new();
    while sent.len() < frames {
        assert!(begin.elapsed() < PATIENCE, "{} of {frames}", sent.len());
        for worker in 0..workers.tuns.len() {
            for device in 0..workers.tunnels.len() {
                while workers.write(worker, device, worker as u32) {}
            }
        }
        sent.extend(workers.collect(16));
        thread::sleep(Duration::from_micros(500));
    }
    sent
}

#[test]
fn a_full_ring_is_shared_by_the_devices_of_a_worker() {
    let options = Options {
        devices: 2,
        ..Options::default()
    };
    let mut workers = Workers::start(781, 1, options);
    let sent = contend(&mut workers, 3000);
    let first = sent.iter().filter(|(port, _)| *port == 51820).count();
    let second = sent.len() - first;
    assert!(first > 500 && second > 500, "{first} and {second}");
    workers.stop();
}

#[test]
fn a_full_ring_is_shared_by_its_owner_and_by_those_who_hand_over() {
    let mut workers = Workers::start(782, 2, Options::default());
    let tunnel = Arc::clone(&workers.tunnels[0]);
    contend(&mut workers, 3000);
    // Of the helper's, all that were read from its TUN queue left or wait.
    let [own, relayed] = [0, 1].map(|at| tunnel.workers[at].inner_tx_packets.get());
    assert!(own > 500 && relayed > 500, "{own} and {relayed}");
    workers.stop();
}

/// A device that stands still costs nothing: a worker that waits for room looks
/// once in a while.
#[test]
fn a_worker_does_not_spin_while_a_ring_is_full() {
    let mut workers = Workers::start(783, 2, Options::default());
    contend(&mut workers, 200);
    thread::sleep(Duration::from_millis(20));
    let before = workers.backpressure();
    thread::sleep(Duration::from_millis(200));
    let tries = workers.backpressure() - before;
    assert!((1..=1200).contains(&tries), "{tries} in 200 ms");
    workers.stop();
}

#[test]
fn when_a_card_goes_its_ring_is_closed_and_packets_leave_by_the_socket() {
    let options = Options {
        sockets: true,
        ..Options::default()
    };
    let mut workers = Workers::start(784, 2, options);
    // Fuller than the ring, at both workers.
    contend(&mut workers, 100);
    for handle in &workers.handles {
        let (done, closed) = oneshot::channel();
        handle.send(Command::RemoveWays(net::ifindex(0), done));
        closed.blocking_recv().expect("it answers");
    }
    let begin = Instant::now();
    let now = workers.net.now;
    let mut received = 0;
    for n in 0..40u32 {
        while !workers.write(1, 0, 1000 + n) {
            thread::sleep(Duration::from_micros(200));
        }
    }
    while received < 40 {
        assert!(begin.elapsed() < PATIENCE, "{received} came by the socket");
        let host = &mut workers.net.hosts[1];
        host.serve_sockets(now);
        let delivered = host.delivered();
        let numbers = delivered.iter().map(|(_, p)| net::number(p).1);
        received += numbers.filter(|n| *n >= 1000).count();
    }
    workers.stop();
}

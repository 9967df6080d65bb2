//! Workers and the control thread at once, on real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};

use ringtun::crypto::PrivateKey;
use ringtun::crypto::os_rng;
use ringtun::tunnel::allowed_ips::Prefix;
use ringtun::tunnel::cell::{PeerCell, PeerId};
use ringtun::tunnel::device::Device;
use ringtun::tunnel::gate::GateOutcome;
use ringtun::tunnel::output::{HandshakeBytes, Output};
use ringtun::tunnel::snapshot::Shared;
use ringtun::tunnel::time::{BootTime, Now, WallTime};
use ringtun::tunnel::transport::{self, Amount};

use crate::support::{SeededRng, inner4, outer};

struct End {
    device: Device,
    shared: Arc<Shared>,
    raised: Receiver<PeerId>,
    rng: SeededRng,
    here: usize,
    /// Staged packets that were sent.
    flushed: u64,
}

impl End {
    fn pair(now: BootTime) -> [Self; 2] {
        let mut rngs = [SeededRng::new(1), SeededRng::new(2)];
        let keys = rngs.each_mut().map(PrivateKey::generate);
        [0, 1].map(|here| {
            let there = 1 - here;
            let (notify, raised) = channel();
            let notifier = Arc::new(move |id| {
                // The receiver may be gone at the end of the test.
                let _ = notify.send(id);
            });
            let mut rng = SeededRng::new(10 + here as u64);
            let mut device = Device::new(now, &mut rng, notifier);
            let peer = keys[there].public();
            device.set_private_key(now, Some(keys[here].clone()));
            device.set_up(now, true);
            device.add_peer(peer);
            device.add_allowed_ip(&peer, Prefix::host(inner4(there)));
            device.set_endpoint(now, &peer, outer(there));
            device.publish();
            Self {
                shared: device.shared(),
                device,
                raised,
                rng,
                here,
                flushed: 0,
            }
        })
    }

    fn now(boot: BootTime) -> Now {
        let nanos = boot.as_nanos();
        let wall = WallTime {
            secs: nanos / 1_000_000_000,
            nanos: (nanos % 1_000_000_000) as u32,
        };
        Now { boot, wall }
    }

    /// What a worker does with a packet: counts it as sealed or stages it.
    fn route(shared: &Shared, to: usize, now: BootTime) -> bool {
        let snapshot = shared.snapshot();
        let cell = snapshot.allowed_ips.lookup(inner4(to)).expect("a peer");
        let current = cell.current();
        let keypair = current.as_ref().filter(|k| k.reserve(now, 1).is_ok());
        if let Some(keypair) = keypair {
            transport::sent(cell, keypair, now, Amount::one(128), true);
            return true;
        }
        let overflow = cell.stage(Box::new([0; 64]));
        cell.want_handshake(now);
        drop(overflow);
        false
    }

    fn flush(&mut self, now: BootTime, cell: &Arc<PeerCell>) {
        for packet in cell.take_staged() {
            let current = cell.current();
            match current.as_ref().map(|k| (k, k.reserve(now, 1))) {
                Some((k, Ok(_))) => {
                    let outer = Amount::one(packet.len() as u64);
                    transport::sent(cell, k, now, outer, true);
                    self.flushed += 1;
                }
                _ => {
                    drop(cell.stage(packet));
                    cell.want_handshake(now);
                }
            }
        }
    }

    /// One round of the control thread; handshake messages for the other end.
    fn control(&mut self, now: BootTime) -> Vec<HandshakeBytes> {
        let at = Self::now(now);
        let mut messages = Vec::new();
        self.device.handle_timeout(at);
        while let Ok(id) = self.raised.try_recv() {
            self.device.handle_signal(at, id);
        }
        while let Some(output) = self.device.poll_output() {
            match output {
                Output::Initiate(job) => {
                    let done = job.run(now, &mut self.rng);
                    // Superseded ones are made again by the timers.
                    let _ = self.device.handle_initiated(at, done);
                }
                Output::Send { bytes, .. } => messages.push(bytes),
                Output::Flush { cell, .. } => self.flush(now, &cell),
                Output::Purged { .. } | Output::Event { .. } => {}
            }
        }
        messages
    }

    fn receive(&mut self, now: BootTime, message: &HandshakeBytes) {
        let from = outer(1 - self.here).into();
        let shared = Arc::clone(&self.shared);
        let bytes = message.as_bytes();
        if let GateOutcome::Commit(commit) = shared.gate.process(
            &shared,
            now,
            false,
            &from,
            bytes,
            &mut os_rng(),
            &mut self.rng,
        ) {
            let _ = self.device.handle_commit(Self::now(now), commit);
        }
    }
}

fn exchange(ends: &mut [End; 2], now: BootTime) {
    loop {
        let [a, b] = ends;
        let (from_a, from_b) = (a.control(now), b.control(now));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        from_a.iter().for_each(|m| b.receive(now, m));
        from_b.iter().for_each(|m| a.receive(now, m));
    }
}

/// A packet that is staged while a handshake ends, a key dies or a signal is
/// lowered must not be forgotten.
#[test]
fn no_staged_packet_is_forgotten_when_workers_and_control_race() {
    let start = BootTime::from_nanos(1_000_000_000_000);
    let mut ends = End::pair(start);
    let shared = Arc::clone(&ends[0].shared);
    let clock = AtomicU64::new(start.as_nanos());
    let stop = AtomicBool::new(false);
    let staged = AtomicU64::new(0);
    let read = || BootTime::from_nanos(clock.load(SeqCst));
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(SeqCst) {
                    if !End::route(&shared, 1, read()) {
                        staged.fetch_add(1, SeqCst);
                    }
                }
            });
        }
        // At least 300 rounds, and more where the workers' threads start late.
        let mut round = 0;
        while round < 300 || (round < 100_000 && (staged.load(SeqCst) == 0 || ends[0].flushed == 0))
        {
            round += 1;
            // Keys are renewed, die, or are simply old, in turn.
            for seconds in [7, 121, 185] {
                clock.fetch_add(seconds * 1_000_000_000, SeqCst);
                for _ in 0..3 {
                    exchange(&mut ends, read());
                }
            }
        }
        stop.store(true, SeqCst);
    });
    // Nobody asks any more: what was asked for must suffice.
    for _ in 0..4 {
        exchange(&mut ends, read());
        clock.fetch_add(6_000_000_000, SeqCst);
    }
    let cell = ends[0].device.peers().next().map(|p| Arc::clone(p.cell()));
    let left = cell.map_or(0, |c| c.staged.len());
    assert_eq!(left, 0, "packets wait for a handshake that nobody wants");
    let (staged, flushed) = (staged.load(SeqCst), ends[0].flushed);
    assert!(
        staged > 0 && flushed > 0,
        "there was no race: {staged} staged, {flushed} flushed"
    );
}

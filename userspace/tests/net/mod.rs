//! Two TUN devices in two namespaces, joined by what stands between them in a
//! gateway without the cryptography: segment, coalesce.

use ringtun::datapath::offload::{Coalescer, Segmenter};
use ringtun::net::tun::{READ_MAX, Tun, TunQueue};
use ringtun_lab::link::addressed;
use ringtun_lab::{NetNs, names, wait};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// MTU of the devices, in bytes: that of a WireGuard device over Ethernet.
pub const MTU: u32 = 1420;
/// Packets taken from one device before they are written to the other.
const BATCH: usize = 256;

/// No test is silent for longer.
const LIFE: Duration = Duration::from_secs(600);

/// What went one way.
#[derive(Debug, Default)]
pub struct Counts {
    pub reads: AtomicUsize,
    pub packets: AtomicUsize,
    pub writes: AtomicUsize,
    pub largest_read: AtomicUsize,
    pub largest_write: AtomicUsize,
}

/// A namespace with a TUN device that is up and has an address of each family.
pub struct End {
    pub ns: NetNs,
    pub tun: Tun,
}

impl End {
    pub fn new(tag: &str, number: u8, queues: usize) -> Self {
        let ns = NetNs::new(tag).expect("a namespace: these tests need root");
        let name = names::unique(tag);
        let tun = ns
            .within(|| Ok(Tun::create(&name, queues)?))
            .expect("a TUN device");
        tun.set_mtu(MTU).expect("MTU");
        tun.set_up(true).expect("up");
        ns.ip(&format!(
            "address add 10.66.0.{number}/24 dev {name}\naddress add fd66::{number}/64 dev {name} nodad\n"
        ))
        .expect("addresses");
        addressed(&ns, &name).expect("addresses that receive");
        Self { ns, tun }
    }
}

/// Both ends, and the thread that joins them.
pub struct Joined {
    pub ends: [End; 2],
    /// Of packets read at end 0, and at end 1.
    pub counts: Arc<[Counts; 2]>,
    /// Closed to end the thread.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Joined {
    pub fn new(udp: bool) -> Self {
        let mut ends = [End::new("ta", 1, 1), End::new("tb", 2, 1)];
        assert!(ends[0].tun.has_udp_offload(), "this kernel has it");
        let queues = ends.each_mut().map(|end| end.tun.take_queues().remove(0));
        let counts = Arc::new([Counts::default(), Counts::default()]);
        let (ended, end) = std::io::pipe().expect("pipe");
        let thread = std::thread::spawn({
            let counts = Arc::clone(&counts);
            move || join(&queues, &counts, &ended, udp)
        });
        Self {
            ends,
            counts,
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        drop(self.end.take());
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(result, Some(Ok(()))), "the joining thread failed");
        }
    }
}

fn join(queues: &[TunQueue; 2], counts: &[Counts; 2], ended: &PipeReader, udp: bool) {
    let watched = [queues[0].as_fd(), queues[1].as_fd(), ended.as_fd()];
    let mut read = vec![0; READ_MAX];
    let mut frames = vec![vec![0; 2048]; BATCH];
    let mut lens = Vec::with_capacity(BATCH);
    let mut coalescer = Coalescer::new(BATCH, udp);
    loop {
        let ready = wait::ready(&watched, LIFE).expect("tests are shorter");
        if ready[2].error {
            return;
        }
        for from in [0, 1].into_iter().filter(|at| ready[*at].readable) {
            let (source, target, counts) = (&queues[from], &queues[1 - from], &counts[from]);
            lens.clear();
            while lens.len() + 64 <= BATCH
                && let Some(len) = source.read(&mut read).expect("read")
            {
                counts.reads.fetch_add(1, Relaxed);
                counts.largest_read.fetch_max(len, Relaxed);
                let mut segments = Segmenter::new(&mut read[..len]).expect("well-formed");
                while let Some(len) = segments.write_next(&mut frames[lens.len()]) {
                    assert!(len <= MTU as usize, "a segment of {len} bytes");
                    lens.push(len);
                }
            }
            counts.packets.fetch_add(lens.len(), Relaxed);
            coalescer.run(
                lens.len(),
                |i| &frames[i][..lens[i]],
                |merged| {
                    counts.writes.fetch_add(1, Relaxed);
                    let len: usize = merged.slices.iter().map(|slice| slice.len()).sum();
                    counts.largest_write.fetch_max(len, Relaxed);
                    assert!(target.write_vectored(merged.slices).expect("write"));
                },
            );
        }
    }
}

/// A counter of `/proc/net/snmp` or `/proc/net/snmp6` in a namespace.
pub fn counter(ns: &NetNs, group: &str, name: &str) -> u64 {
    let text = ns.run("cat", ["/proc/thread-self/net/snmp"]).expect("snmp");
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next().expect(group), lines.next().expect(group));
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(other, _)| *other == name)
        .unwrap_or_else(|| panic!("no counter {group} {name}"))
        .1
        .parse()
        .expect("a number")
}

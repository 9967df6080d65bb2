//! Captures in a middle namespace: how many WireGuard data packets, which bytes in the clear.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::registry::Directory;
use crate::sys::PacketSocket;
use crate::{NetNs, Process, names, wait};

mod packets;

pub use packets::{Messages, Packets};

const FILE: &str = "capture.pcap";
/// For what `tcpdump` does on a machine whose processors are taken.
const PATIENCE: Duration = Duration::from_secs(60);
/// EtherType for experiments on one network (IEEE 802): nobody answers it.
const LOCAL_EXPERIMENT: u16 = 0x88b5;

/// A running `tcpdump` on one device.
///
/// A veth end with native XDP or AF_XDP shows nothing to `tcpdump`: capture on a hop between.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    directory: Directory,
    last: PacketSocket,
}

impl Capture {
    /// Starts capturing whole packets on `device`; returns once packets are seen.
    ///
    /// # Errors
    /// `tcpdump` cannot run, or does not start to listen within a minute.
    pub fn start(ns: &NetNs, device: &str) -> Result<Capture> {
        Capture::start_filtered(ns, device, "")
    }

    /// As [`Capture::start`], of those packets only that `filter` (see `pcap-filter(7)`) selects.
    ///
    /// # Errors
    /// As [`Capture::start`], or the filter is not understood.
    pub fn start_filtered(ns: &NetNs, device: &str, filter: &str) -> Result<Capture> {
        // The end mark has to be seen too.
        let filter = if filter.is_empty() {
            String::new()
        } else {
            format!("({filter}) or ether proto {LOCAL_EXPERIMENT:#x}")
        };
        let directory = Directory::new()?;
        let mut command = ns.command("tcpdump");
        command
            .args(["-i", device, "-n", "-U", "-s", "0", "-B", "65536"])
            .args(["-Z", "root", "-w"])
            .arg(directory.path().join(FILE))
            .arg(filter);
        let process = ns
            .spawn(command)
            .context("tcpdump (apt-get install tcpdump)")?;
        process.wait_line(PATIENCE, |line| line.contains("listening on"))?;
        let last = ns.within(|| {
            PacketSocket::open(device).with_context(|| format!("packet socket on {device}"))
        })?;
        Ok(Capture {
            process,
            directory,
            last,
        })
    }

    /// Ends the capture, once it holds all that was on the device before this call, and reads it.
    ///
    /// # Errors
    /// The kernel dropped packets on the way to `tcpdump` (the capture then proves nothing), or
    /// the file is not a capture.
    pub fn finish(self) -> Result<Packets> {
        let file = self.directory.path().join(FILE);
        // An interrupt loses what is still in the ring. Packets come out of it in order, so a
        // frame of our own at the end of the file means that all before it is there.
        let mark = names::unique("end").into_bytes();
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(LOCAL_EXPERIMENT.to_be_bytes());
        frame.extend(&mark);
        frame.resize(60, 0);
        self.last.send(&[&frame]).context("end mark")?;
        let mut tail = Tail::default();
        wait::on_directory(self.directory.path(), PATIENCE, || {
            tail.holds(&file, &mark).then_some(())
        })
        .context("the end mark is not in the capture")?;
        self.process.signal(libc::SIGINT)?;
        self.process.wait_exit(PATIENCE)?;
        let output = self.process.output();
        let dropped = output
            .lines()
            .find_map(|line| line.strip_suffix(" packets dropped by kernel"))
            .with_context(|| format!("no statistics from tcpdump:\n{output}"))?;
        ensure!(dropped.trim() == "0", "tcpdump lost {dropped} packets");
        let mut packets = Packets::read(&file)?;
        packets.0.retain(|packet| *packet != frame);
        Ok(packets)
    }
}

/// Looks for bytes in a growing file, reading each part once.
#[derive(Debug, Default)]
struct Tail {
    read: u64,
    rest: Vec<u8>,
}

impl Tail {
    fn holds(&mut self, file: &Path, wanted: &[u8]) -> bool {
        let Ok(mut file) = File::open(file) else {
            return false;
        };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).is_err() || file.read_to_end(&mut new).is_err() {
            return false;
        }
        self.read += new.len() as u64;
        self.rest.extend(new);
        let found = self.rest.windows(wanted.len()).any(|bytes| bytes == wanted);
        let keep = self.rest.len().saturating_sub(wanted.len());
        self.rest.drain(..keep);
        found
    }
}

/// Compares what the ends counted with what was on the wire.
///
/// # Errors
/// The wire shows less than 99 % of `counted`, so the capture missed something.
pub fn expect_complete(seen: u64, counted: u64) -> Result<()> {
    if counted == 0 || (seen as f64) < 0.99 * counted as f64 {
        bail!("the capture holds {seen} data packets of {counted} counted");
    }
    Ok(())
}

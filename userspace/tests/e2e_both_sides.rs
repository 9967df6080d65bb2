//! `ringtun capture`: what it writes, compared with counters and with what went
//! through; and all that can end it.

mod e2e;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringtun::control::capture::blocks::{Block, Blocks};
use ringtun::datapath::taps::Side;
use ringtun_lab::capture::Packets;
use ringtun_lab::link::Middle;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Process, Tunnel, ping, scrape, wait};
use serde_json::Value;
use tempfile::TempDir;

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);
const INSIDE: &[u8] = b"marker-inside-the-tunnel";

/// A `ringtun capture` that writes a file.
struct Running {
    process: Process,
    file: PathBuf,
}

/// What it left behind.
struct Left {
    /// Its summary.
    summary: Value,
    file: PathBuf,
    /// What each whole block holds, and the block.
    blocks: Vec<(Block, Vec<u8>)>,
}

impl Running {
    fn start(tunnel: &Tunnel, directory: &TempDir, name: &str, arguments: &[&str]) -> Self {
        let file = directory.path().join(name);
        let mut all = vec!["capture", &tunnel.devices[0].name, "--json", "-w"];
        all.push(file.to_str().unwrap());
        all.extend(arguments);
        let program = e2e::ringtun().program;
        let process = tunnel.ns(0).start(program.to_str().unwrap(), all).unwrap();
        // The head of the file is written once the capture has begun.
        wait::on_directory(directory.path(), SOON, || {
            fs::metadata(&file).ok().filter(|f| f.len() > 0).map(drop)
        })
        .unwrap();
        Self { process, file }
    }

    fn interrupt(self) -> Left {
        self.process.signal(libc::SIGINT).unwrap();
        self.end()
    }

    /// Waits for its end, which must be a good one.
    fn end(self) -> Left {
        let status = self.process.wait_exit(SOON).unwrap();
        let output = self.process.output();
        assert!(status.success(), "{output}");
        let last = output.lines().last().unwrap();
        let summary = serde_json::from_str(last).unwrap_or_else(|_| panic!("{output}"));
        let left = Left {
            summary,
            blocks: blocks(&self.file),
            file: self.file,
        };
        let mode = fs::metadata(&left.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for (side, name) in [(Side::Outer, "outer"), (Side::Inner, "inner")] {
            assert_eq!(left.count(side), left.number(name), "{}", left.summary);
        }
        left
    }
}

impl Left {
    fn number(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap()
    }

    fn count(&self, side: Side) -> u64 {
        let of = |(block, _): &&(Block, Vec<u8>)| *block == Block::Packet(side);
        self.blocks.iter().filter(of).count() as u64
    }

    /// Frames whose Ethernet addresses are known.
    fn addressed(&self) -> u64 {
        let packets = self
            .blocks
            .iter()
            .filter(|(block, _)| matches!(block, Block::Packet(_)));
        packets
            .filter(|(_, bytes)| bytes[28..40] != [0; 12])
            .count() as u64
    }

    /// What tcpdump reads of it.
    fn packets(&self) -> Packets {
        let classic = self.file.with_extension("pcap");
        tcpdump(&self.file, &["-w", classic.to_str().unwrap()]);
        Packets::read(&classic).unwrap()
    }
}

/// A file that ends with a whole block.
fn blocks(file: &Path) -> Vec<(Block, Vec<u8>)> {
    let bytes = fs::read(file).unwrap();
    let mut blocks = Blocks::default();
    blocks.push(&bytes);
    let mut all = Vec::new();
    while let Some((block, holds)) = blocks.next_block().unwrap() {
        all.push((holds, block.to_vec()));
    }
    let whole: usize = all.iter().map(|(_, block)| block.len()).sum();
    assert_eq!(whole, bytes.len(), "it ends in the middle of a block");
    all
}

fn tcpdump(file: &Path, arguments: &[&str]) -> String {
    let mut all = vec!["-n", "-Z", "root", "-r", file.to_str().unwrap()];
    all.extend(arguments);
    NetNs::current().unwrap().run("tcpdump", all).unwrap()
}

fn tunnel(io: &str) -> Tunnel {
    let ringtun = e2e::ringtun();
    let arguments = ["--io", io];
    let options = Options {
        middle: Middle::Bridge,
        arguments: &arguments,
        ..Options::default()
    };
    Tunnel::new([&ringtun, &ringtun], &options).unwrap()
}

fn until_on(tunnel: &Tunnel, io: &str) {
    let program = e2e::ringtun().program;
    for at in [0, 1] {
        wait::until("the way that was asked for", SOON, || {
            let name = tunnel.devices[at].name.as_str();
            let text = tunnel
                .ns(at)
                .run(program.to_str().unwrap(), ["io", name, "--json"])?;
            let now: Value = serde_json::from_str(&text)?;
            let all = now["io"] == io && now["by_socket"].as_array().is_some_and(Vec::is_empty);
            Ok(all.then_some(()))
        })
        .unwrap();
    }
}

/// Packets of end 0 so far, both ways: data outside, and inside.
fn counted(tunnel: &Tunnel) -> [u64; 2] {
    let metrics = SocketAddr::new([127, 0, 0, 1].into(), 9586);
    let samples = scrape::scrape(tunnel.ns(0), metrics).unwrap();
    let sum = |names: [&str; 2]| {
        let counts = names.map(|name| samples.sum(name).unwrap() as u64);
        counts[0] + counts[1]
    };
    [
        sum([
            "ringtun_outer_tx_packets_total",
            "ringtun_outer_rx_packets_total",
        ]),
        sum([
            "ringtun_inner_tx_packets_total",
            "ringtun_inner_rx_packets_total",
        ]),
    ]
}

/// Sends `marker` by UDP.
fn show(from: &NetNs, to: &NetNs, address: IpAddr, marker: &[u8]) {
    let there = SocketAddr::new(address, 6000);
    let receiver = to.udp(there).unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    let any: IpAddr = if address.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let near = SocketAddr::new(any, 0);
    from.udp(near).unwrap().send_to(marker, there).unwrap();
    let mut bytes = [0; 100];
    assert_eq!(receiver.recv(&mut bytes).unwrap(), marker.len());
}

/// As many as counted, and few that fell into the time around it.
#[track_caller]
fn agree(seen: u64, counted: u64, what: &str) {
    println!("{what}: {seen} captured, {counted} counted");
    assert!(
        seen >= counted,
        "{what}: {seen} captured, {counted} counted"
    );
    let more = counted / 100 + 20;
    assert!(
        seen <= counted + more,
        "{what}: {seen} captured, {counted} counted"
    );
}

fn both_sides_agree_with_the_counters(io: &str) {
    let tunnel = tunnel(io);
    let directory = tempfile::tempdir().unwrap();
    let start =
        |name: &str, arguments: &[&str]| Running::start(&tunnel, &directory, name, arguments);
    let handshake = start("handshake", &["--side", "outer"]);
    for v6 in [false, true] {
        tunnel.reach(0, v6, SOON).unwrap();
    }
    until_on(&tunnel, io);
    let handshake = handshake.interrupt();
    let messages = handshake.packets().wireguard(PORT);
    assert!(
        messages.initiations >= 1 && messages.responses >= 1,
        "{messages:?}"
    );

    let outer = start("outer", &["--side", "outer"]);
    let inner = start("inner", &["--side", "inner"]);
    let peer = tunnel.keys[1].public.to_string();
    let both = start("both", &["--peer", &peer, "--snap", "100"]);
    let before = counted(&tunnel);
    for v6 in [false, true] {
        for at in [0, 1] {
            let there = Tunnel::inside(1 - at, v6);
            show(tunnel.ns(at), tunnel.ns(1 - at), there, INSIDE);
            ping::expect_all(tunnel.ns(at), there, 3).unwrap();
            let plan = Plan {
                rate: Some(20_000_000),
                ..Plan::bulk(10_000_000)
            };
            let address = SocketAddr::new(there, 5000);
            stream::transfer(tunnel.ns(at), tunnel.ns(1 - at), address, &plan).unwrap();
        }
    }
    let after = counted(&tunnel);
    let [outside, inside] = [0, 1].map(|i| after[i] - before[i]);
    let [outer, inner, both] = [outer, inner, both].map(Running::interrupt);
    for left in [&outer, &inner, &both] {
        assert_eq!(left.number("missed"), 0, "{}", left.summary);
        assert_eq!(left.summary["ended_by"], "signal");
    }

    let packets = outer.packets();
    let messages = packets.wireguard(PORT);
    agree(messages.data + messages.keepalives, outside, "outer");
    agree(both.count(Side::Outer), outside, "outer, of the peer");
    assert_eq!(packets.holding(INSIDE), 0, "the inside is in clear outside");
    agree(inner.count(Side::Inner), inside, "inner");
    agree(both.count(Side::Inner), inside, "inner, of the peer");
    assert_eq!(inner.packets().holding(INSIDE), 4);
    assert_eq!((inner.count(Side::Outer), outer.count(Side::Inner)), (0, 0));
    for (_, bytes) in &both.blocks {
        assert!(bytes.len() < 200, "--snap 100, and {} bytes", bytes.len());
    }
    if io == "xdp" {
        let (addressed, all) = (outer.addressed(), outer.count(Side::Outer));
        assert!(addressed > all * 9 / 10, "{addressed} of {all} frames");
    } else {
        let text = tcpdump(&outer.file, &["-vv"]);
        assert!(text.contains("[udp sum ok]") && !text.contains("bad"));
    }
    assert_eq!(inner.addressed(), 0);
}

#[test]
fn both_sides_agree_with_the_counters_by_sockets() {
    both_sides_agree_with_the_counters("udp");
}

#[cfg(ringtun_bpf)]
#[test]
fn both_sides_agree_with_the_counters_through_rings() {
    both_sides_agree_with_the_counters("xdp");
}

#[test]
fn a_reader_that_stands_still_slows_nobody_and_is_told_what_it_missed() {
    let tunnel = tunnel("udp");
    let directory = tempfile::tempdir().unwrap();
    tunnel.reach(0, false, SOON).unwrap();
    let address = SocketAddr::new(Tunnel::inside_v4(1).into(), 5000);
    let transfer = || {
        let plan = Plan::bulk(256 << 20);
        let report = stream::transfer(tunnel.ns(0), tunnel.ns(1), address, &plan).unwrap();
        assert!(report.longest_pause < Duration::from_secs(5), "{report:?}");
        report.bits_per_second() / 1e9
    };
    let alone = transfer();
    let still = Running::start(&tunnel, &directory, "still", &[]);
    still.process.signal(libc::SIGSTOP).unwrap();
    let before = counted(&tunnel);
    let with = transfer();
    println!("{alone:.2} Gbit/s without, {with:.2} with a reader that stands still");
    assert!(with > alone / 3.0);
    // The control thread has time for others.
    let begin = Instant::now();
    tunnel.show(0, "latest-handshakes").unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    let after = counted(&tunnel);
    still.process.signal(libc::SIGCONT).unwrap();
    let left = still.interrupt();
    println!("{}", left.summary);
    assert!(left.number("missed") > 0);
    for (i, side) in ["outer", "inner"].into_iter().enumerate() {
        let all = left.number(side) + left.number(&format!("missed_{side}"));
        agree(all, after[i] - before[i], side);
    }
    tcpdump(&left.file, &["-c", "10"]);
}

#[test]
fn whatever_ends_it_the_file_is_whole() {
    let tunnel = tunnel("udp");
    let directory = tempfile::tempdir().unwrap();
    tunnel.reach(0, false, SOON).unwrap();
    let there = Tunnel::inside_v4(1).into();
    let start =
        |name: &str, arguments: &[&str]| Running::start(&tunnel, &directory, name, arguments);

    // The file was there before, and readable for all.
    fs::write(directory.path().join("count"), "x".repeat(1 << 20)).unwrap();
    let count = start("count", &["--count", "7"]);
    ping::expect_all(tunnel.ns(0), there, 3).unwrap();
    let count = count.end();
    assert_eq!(count.number("packets"), 7);
    assert_eq!(count.summary["ended_by"], "count");

    let seconds = start("seconds", &["--seconds", "1"]);
    assert_eq!(seconds.end().summary["ended_by"], "seconds");

    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let running = start("signal", &[]);
        ping::expect_all(tunnel.ns(0), there, 3).unwrap();
        running.process.signal(signal).unwrap();
        let left = running.end();
        assert_eq!(left.summary["ended_by"], "signal");
        // Each request and answer, outside and inside.
        assert!(left.number("packets") >= 12, "{}", left.summary);
        assert!(tcpdump(&left.file, &[]).contains("ICMP echo reply"));
    }

    let end = start("end", &[]);
    ping::expect_all(tunnel.ns(0), there, 3).unwrap();
    tunnel.devices[0].process.stop(SOON).unwrap();
    let end = end.end();
    assert_eq!(end.summary["ended_by"], "device");
    tcpdump(&end.file, &[]);
}

#[test]
fn a_pipe_is_read_live_and_its_end_is_noticed_without_a_packet() {
    let tunnel = tunnel("udp");
    tunnel.reach(0, false, SOON).unwrap();
    let (name, program) = (&tunnel.devices[0].name, e2e::ringtun().program);
    let capture = format!("{} capture {name}", program.display());
    let shell = |line: String| tunnel.ns(0).start("sh", ["-c", &line]).unwrap();

    let live = shell(format!("{capture} --side inner | tcpdump -l -n -r -"));
    live.wait_line(SOON, |line| line.contains("capturing"))
        .unwrap();
    ping::expect_all(tunnel.ns(0), Tunnel::inside_v4(1).into(), 3).unwrap();
    live.wait_line(SOON, |line| line.contains("ICMP echo reply"))
        .unwrap();
    drop(live);

    let closed = shell(format!("{capture} --side inner | head -c 8 > /dev/null"));
    closed.wait_exit(SOON).unwrap();
    let output = closed.output();
    assert!(output.contains("ended by the reader"), "{output}");
}

#[test]
fn what_cannot_be_captured_is_said_with_the_remedy() {
    let tunnel = tunnel("udp");
    let directory = tempfile::tempdir().unwrap();
    let program = e2e::ringtun().program;
    let refused = |name: &str, arguments: &[&str], expected: &str| {
        let file = directory.path().join("refused");
        let mut command = tunnel.ns(0).command(&program);
        command.args(["capture", name]).args(arguments);
        let output = command.arg("-w").arg(&file).output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{text}");
        assert!(!file.exists(), "an empty file is left behind");
    };
    let name = tunnel.devices[0].name.as_str();
    refused("rt-none", &[], "no device `rt-none` runs here");
    let stranger = format!("{}=", "A".repeat(43));
    refused(name, &["--peer", &stranger], "no such peer");
    refused(name, &["--side", "left"], "wants outer, inner or both");
    let names = ["a", "b", "c", "d"];
    let running = names.map(|name| Running::start(&tunnel, &directory, name, &[]));
    refused(name, &[], "4 captures");
    let [first, ..] = running;
    first.interrupt();
    Running::start(&tunnel, &directory, "e", &[]).interrupt();
}

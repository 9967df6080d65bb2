//! What the XDP program logs, in the log of the agent.

use std::time::Duration;

use ringtun_lab::flood::{self, Target};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{PacketSocket, Tunnel, ping, wait};
use serde_json::Value;

use crate::e2e;
use crate::support::{FIRST, options, passes_sockets_by, tunnel};

const FLOOD: u64 = 10_000;
const BATCH: usize = 64;

/// Lines of an end that a program in the kernel has written.
fn lines(tunnel: &Tunnel, at: usize) -> Vec<String> {
    let output = tunnel.devices[at].process.output();
    let lines = output.lines().filter(|line| line.contains("verdict="));
    lines.map(str::to_owned).collect()
}

/// Packets of an end with this verdict.
fn packets(tunnel: &Tunnel, at: usize, verdict: &str) -> u64 {
    let ringtun = e2e::ringtun();
    let program = ringtun.program.to_str().unwrap();
    let arguments = ["show", &tunnel.devices[at].name, "--json"];
    let text = tunnel.ns(at).run(program, arguments).unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    shown["verdicts"][verdict]["packets"].as_u64().unwrap_or(0)
}

#[test]
fn a_packet_that_is_too_long_for_the_rings_is_told_of_with_its_card_and_sender() {
    let tunnel = tunnel(&Options {
        outer_mtu: 9000,
        ..options()
    });
    passes_sockets_by(&tunnel);
    for at in [0, 1] {
        assert_eq!(lines(&tunnel, at), [] as [&str; 0], "ordinary traffic");
        let device = &tunnel.devices[at].name;
        let mtu = format!("link set {device} mtu 8920\n");
        tunnel.ns(at).ip(&mtu).unwrap();
    }
    let to = Tunnel::inside_v4(1).to_string();
    let arguments = ["-c", "1", "-W", "20", "-s", "8000", &to];
    tunnel.ns(0).run("ping", arguments).unwrap();
    let process = &tunnel.devices[1].process;
    let line = process
        .wait_line(FIRST, |line| line.contains("verdict="))
        .unwrap();
    let [sender, receiver] = &tunnel.pair.ends;
    for part in [
        "WARN ".to_owned(),
        "verdict=oversize".to_owned(),
        format!("interface={}", receiver.device),
        "queue=0".to_owned(),
        format!("source={}:{PORT}", sender.address(false)),
        "suppressed=0".to_owned(),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }
}

#[test]
fn a_flood_of_what_cannot_be_read_is_a_line_per_cpu() {
    let tunnel = tunnel(&options());
    let end = &tunnel.pair.ends[1];
    let target = Target {
        hardware: flood::hardware_address(&end.ns, &end.device).unwrap(),
        address: end.v4,
        port: PORT,
    };
    let sender = &tunnel.pair.ends[0];
    let mut frame = flood::frame(&target, sender.v4, 4711, &[0; 64]);
    // UDP that is shorter than its header.
    frame[14 + 20 + 4..14 + 20 + 6].copy_from_slice(&[0, 7]);
    let open = || Ok(PacketSocket::open(&sender.device)?);
    let socket = sender.ns.within(open).unwrap();
    let frames = vec![frame; BATCH];
    wait::until("the flood", FIRST, || {
        for _ in 0..20 {
            socket.send(&frames)?;
        }
        let packets = packets(&tunnel, 1, "malformed");
        Ok((packets >= FLOOD).then_some(()))
    })
    .unwrap();
    let process = &tunnel.devices[1].process;
    let line = process
        .wait_line(FIRST, |line| line.contains("verdict="))
        .unwrap();
    let source = format!("source={}:4711", sender.v4);
    for part in ["INFO ", "verdict=malformed", &source, "length=106"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let address = Tunnel::inside_v4(1).into();
    let every = Duration::from_millis(10);
    let report = ping::ping(tunnel.ns(0), address, 10, every, FIRST).unwrap();
    assert_eq!(report.received, 10, "the tunnel goes on");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let lines = lines(&tunnel, 1);
    assert!(lines.len() <= cpus, "{lines:#?}");
}

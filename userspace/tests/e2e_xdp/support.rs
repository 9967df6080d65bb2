//! A tunnel whose ends use rings, and what they say of it.

use std::time::Duration;

use ringtun_lab::counters::udp_datagrams;
use ringtun_lab::link::Middle;
use ringtun_lab::peers::Prepared;
use ringtun_lab::tunnel::Options;
use ringtun_lab::{NetNs, Tunnel, ping, wait};
use serde_json::Value;

use crate::e2e;

/// How long anything may take to begin.
pub const FIRST: Duration = Duration::from_secs(20);
/// Within this the traffic has to go on, whatever happened.
pub const GOES_ON: Duration = Duration::from_secs(5);

/// Arguments of every ringtun here.
pub const XDP: [&str; 4] = ["--io", "xdp", "--metrics", "off"];

/// Two ends on one network, with a bridge between them.
pub fn options() -> Options<'static> {
    Options {
        middle: Middle::Bridge,
        arguments: &XDP,
        ..Options::default()
    }
}

/// The tunnel, with both ends on rings.
pub fn tunnel(options: &Options<'_>) -> Tunnel {
    let ringtun = e2e::ringtun();
    let tunnel = Tunnel::new([&ringtun, &ringtun], options).unwrap();
    for v6 in [false, true] {
        tunnel.reach(0, v6, FIRST).unwrap();
    }
    for at in [0, 1] {
        until_on_rings(&tunnel, at);
    }
    tunnel
}

/// What `ringtun io` says of a device.
pub fn io(ns: &NetNs, ringtun: &Prepared, device: &str) -> Value {
    let program = ringtun.program.to_str().unwrap();
    let text = ns.run(program, ["io", device, "--json"]).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What `ringtun io` says of an end.
pub fn io_of(tunnel: &Tunnel, at: usize) -> Value {
    io(tunnel.ns(at), &e2e::ringtun(), &tunnel.devices[at].name)
}

/// Switches an end; what it says afterwards.
pub fn switch(tunnel: &Tunnel, at: usize, mode: &str) -> Value {
    let ringtun = e2e::ringtun();
    let device = tunnel.devices[at].name.as_str();
    let program = ringtun.program.to_str().unwrap();
    let text = tunnel.ns(at).run(program, ["io", device, mode, "--json"]);
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// Waits until an end's packets go through rings.
#[track_caller]
pub fn until_on_rings(tunnel: &Tunnel, at: usize) {
    let io = wait::until("rings", FIRST, || {
        let io = io_of(tunnel, at);
        let all = io["io"] == "xdp" && io["by_socket"].as_array().is_some_and(Vec::is_empty);
        Ok(all.then_some(io))
    });
    if let Err(error) = io {
        let log = tunnel.devices[at].process.output();
        panic!("{error:#}: {}\n{log}", io_of(tunnel, at));
    }
}

/// Echo requests through the tunnel that no UDP socket of either end sees.
#[track_caller]
pub fn passes_sockets_by(tunnel: &Tunnel) {
    const COUNT: u32 = 50;
    let count = || -> u64 {
        [0, 1]
            .map(|at| udp_datagrams(tunnel.ns(at)).unwrap())
            .iter()
            .sum()
    };
    let before = count();
    let to = Tunnel::inside_v4(1).into();
    let every = Duration::from_millis(10);
    let report = ping::ping(tunnel.ns(0), to, COUNT, every, FIRST).unwrap();
    let datagrams = count() - before;
    assert_eq!(report.received, COUNT);
    // A handshake, a keepalive or the probe of a neighbour may fall into the time.
    assert!(datagrams <= 8, "{datagrams} datagrams for {COUNT} echoes");
}

/// Which XDP program the kernel has on a device; null for none.
pub fn program_on(ns: &NetNs, device: &str) -> Value {
    let text = ns.run("ip", ["-j", "-d", "link", "show", device]).unwrap();
    let links: Value = serde_json::from_str(&text).unwrap();
    links[0]["xdp"].clone()
}

/// When the last handshake of an end was, Unix time.
pub fn latest_handshake(tunnel: &Tunnel, at: usize) -> String {
    tunnel.show(at, "latest-handshakes").unwrap()
}

//! Outer MTUs up to 9000, and rings so short that they overflow all the time.

use std::net::SocketAddr;

use ringtun_lab::Tunnel;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::Options;

use crate::support::{io_of, options, passes_sockets_by, tunnel};

#[track_caller]
fn transfer(tunnel: &Tunnel, megabytes: u64) {
    for (from, to) in [(0, 1), (1, 0)] {
        let address = SocketAddr::new(Tunnel::inside_v4(to).into(), 5001);
        let plan = Plan::bulk(megabytes << 20);
        let report = stream::transfer(tunnel.ns(from), tunnel.ns(to), address, &plan).unwrap();
        assert_eq!(report.bytes, plan.bytes);
    }
}

/// The sum of a counter over the queues of an end's card.
fn of_rings(tunnel: &Tunnel, at: usize, counter: &str) -> u64 {
    let io = io_of(tunnel, at);
    let queues = io["cards"][0]["queues"].as_array().unwrap();
    queues
        .iter()
        .map(|queue| queue[counter].as_u64().unwrap())
        .sum()
}

#[test]
fn every_outer_mtu_up_to_9000() {
    for (outer_mtu, v6) in [(1500, true), (3000, false), (9000, true), (9000, false)] {
        let tunnel = tunnel(&Options {
            outer_mtu,
            v6,
            ..options()
        });
        let inner = outer_mtu - 80;
        for at in [0, 1] {
            let device = &tunnel.devices[at].name;
            tunnel
                .ns(at)
                .ip(&format!("link set {device} mtu {inner}\n"))
                .unwrap();
        }
        passes_sockets_by(&tunnel);
        transfer(&tunnel, 32);
        // What is longer than a frame of the ring goes by the socket.
        let frames = of_rings(&tunnel, 0, "tx_packets");
        let least = if outer_mtu <= 3000 {
            (32 << 20) / 3000
        } else {
            100
        };
        assert!(
            frames > least,
            "MTU {outer_mtu}: {frames} frames by the ring"
        );
    }
}

#[test]
fn rings_of_64_entries_overflow_and_lose_no_frame() {
    let arguments = ["--io", "xdp", "--metrics", "off", "--ring-size", "64"];
    let tunnel = tunnel(&Options {
        arguments: &arguments,
        ..options()
    });
    transfer(&tunnel, 128);
    // What is lost is lost by the kernel, and counted; no frame stays away.
    passes_sockets_by(&tunnel);
    for at in [0, 1] {
        assert_eq!(of_rings(&tunnel, at, "kernel_invalid"), 0);
        assert_eq!(of_rings(&tunnel, at, "stray"), 0);
        let fill = of_rings(&tunnel, at, "fill_pending");
        assert_eq!(fill, 64, "every frame to receive into is back");
    }
}

//! What is on the wire between two gateways: everything that was counted, and nothing in clear.

mod e2e;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringtun_lab::capture::{Capture, expect_complete};
use ringtun_lab::link::Middle;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Tunnel, ping, scrape};

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);
const INSIDE: &[u8] = b"marker-inside-the-tunnel";
const CLEAR: &[u8] = b"marker-in-the-clear";

/// Sends `marker` by UDP and by TCP.
fn show(from: &NetNs, to: &NetNs, address: IpAddr, marker: &[u8]) {
    let (near, there) = (
        SocketAddr::new(
            if address.is_ipv4() {
                [0; 4].into()
            } else {
                [0; 16].into()
            },
            0,
        ),
        SocketAddr::new(address, 6000),
    );
    let receiver = to.udp(there).unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    from.udp(near).unwrap().send_to(marker, there).unwrap();
    let mut bytes = [0; 100];
    assert_eq!(receiver.recv(&mut bytes).unwrap(), marker.len());

    let listener = to.listen(there).unwrap();
    let mut sender = from.connect(there, SOON).unwrap();
    let (mut accepted, _) = stream::accept(&listener, SOON).unwrap();
    sender.write_all(marker).unwrap();
    accepted.read_exact(&mut bytes[..marker.len()]).unwrap();
    assert_eq!(&bytes[..marker.len()], marker);
}

/// Data packets both ends have sent so far.
fn counted(tunnel: &Tunnel) -> u64 {
    let metrics = SocketAddr::new([127, 0, 0, 1].into(), 9586);
    [0, 1]
        .map(|at| {
            let samples = scrape::scrape(tunnel.ns(at), metrics).unwrap();
            samples.sum("ringtun_outer_tx_packets_total").unwrap() as u64
        })
        .iter()
        .sum()
}

#[test]
fn the_wire_shows_every_packet_counted_and_nothing_of_what_is_inside() {
    let ringtun = e2e::ringtun();
    for v6 in [false, true] {
        let options = Options {
            middle: Middle::Bridge,
            v6,
            ..Options::default()
        };
        let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
        let hop = tunnel.pair.middle.as_ref().unwrap();
        let capture = Capture::start(&hop.ns, &hop.devices[0]).unwrap();
        let before = counted(&tunnel);

        show(
            tunnel.ns(0),
            tunnel.ns(1),
            tunnel.pair.ends[1].address(v6),
            CLEAR,
        );
        for inner_v6 in [false, true] {
            tunnel.reach(0, inner_v6, SOON).unwrap();
            for at in [0, 1] {
                let there = Tunnel::inside(1 - at, inner_v6);
                show(tunnel.ns(at), tunnel.ns(1 - at), there, INSIDE);
                ping::expect_all(tunnel.ns(at), there, 3).unwrap();
                let plan = Plan {
                    // A pace at which tcpdump writes whole packets without losing one.
                    rate: Some(10_000_000),
                    ..Plan::bulk(10_000_000)
                };
                let address = SocketAddr::new(there, 5000);
                stream::transfer(tunnel.ns(at), tunnel.ns(1 - at), address, &plan).unwrap();
            }
        }

        let counted = counted(&tunnel) - before;
        let packets = capture.finish().unwrap();
        let messages = packets.wireguard(PORT);
        let seen = messages.data + messages.keepalives;
        println!("{seen} data packets on the wire, {counted} counted");
        expect_complete(seen, counted).unwrap();
        assert!(
            seen as f64 <= 1.01 * counted as f64,
            "{seen} on the wire, {counted} counted"
        );
        assert!(messages.initiations >= 1 && messages.responses >= 1);
        let af41 = [0x88].into();
        assert_eq!(
            messages.handshake_classes, af41,
            "DSCP of handshake messages"
        );
        assert!(
            packets.holding(CLEAR) >= 2,
            "the capture misses the marker in clear"
        );
        assert_eq!(
            packets.holding(INSIDE),
            0,
            "the inside is on the wire in clear"
        );
    }
}

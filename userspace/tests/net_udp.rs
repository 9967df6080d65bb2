//! UDP sockets over links that are not loopback. Needs root.

use ringtun::net::udp::{Outgoing, Received, RecvBatch, Source, Stop, UdpSocket, UdpSockets};
use ringtun_lab::link::{Middle, Pair};
use ringtun_lab::{NetNs, wait};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

const BOTH: [bool; 2] = [false, true];
/// How long to wait for what must come, on a machine whose processors are taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sockets at both ends of a link, and their namespaces.
struct Wire {
    pair: Pair,
    sockets: [UdpSockets; 2],
}

fn bind(ns: &NetNs) -> UdpSockets {
    let mut all = ns
        .within(|| Ok(UdpSockets::bind(0, 1, 0)?))
        .expect("sockets");
    all.remove(0)
}

impl Wire {
    fn new(mtu: u32) -> Self {
        let pair = Pair::new(Middle::None, mtu).expect("a link: these tests need root");
        let sockets = pair.ends.each_ref().map(|end| bind(&end.ns));
        Self { pair, sockets }
    }

    fn address(&self, end: usize, v6: bool) -> SocketAddr {
        let ip = self.pair.ends[end].address(v6);
        (ip, self.sockets[end].port()).into()
    }

    fn socket(&self, end: usize, v6: bool) -> &UdpSocket {
        let to = self.address(1 - end, v6);
        self.sockets[end].for_address(to).expect("both families")
    }

    fn ip(&self, end: usize, line: &str) {
        let line = line.replace("{}", &self.pair.ends[end].device);
        let arguments: Vec<&str> = line.split(' ').collect();
        self.pair.ends[end].ns.run("ip", arguments).expect("ip");
    }
}

/// Receives `count` packets, each with what is known of it.
fn receive(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, Received)> {
    let mut batch = RecvBatch::new(8);
    let mut buffers = vec![vec![0; 65_536]; 8];
    let mut packets = Vec::new();
    while packets.len() < count {
        wait::ready(&[socket.as_fd()], PATIENCE)
            .unwrap_or_else(|error| panic!("{} of {count} packets: {error}", packets.len()));
        let got = socket
            .recv_batch(&mut batch, &mut buffers)
            .expect("receive");
        for (i, buffer) in buffers.iter_mut().enumerate().take(got) {
            let received = batch.get(i).expect("told");
            packets.extend(received.packets(buffer).map(|p| (p.to_vec(), received)));
        }
    }
    assert_eq!(packets.len(), count, "more came than was sent");
    packets
}

fn burst<'a>(to: SocketAddr, bytes: &'a [u8], segment: u16) -> Outgoing<'a> {
    Outgoing {
        to,
        source: None,
        tos: 0,
        bytes,
        segment,
    }
}

fn numbered(count: usize, size: usize) -> Vec<u8> {
    (0..count * size).map(|i| (i / size) as u8).collect()
}

fn joined(packets: &[(Vec<u8>, Received)]) -> Vec<u8> {
    packets
        .iter()
        .flat_map(|(bytes, _)| bytes.clone())
        .collect()
}

#[test]
fn bursts_cross_a_link_with_and_without_checksum_offload() {
    let wire = Wire::new(1500);
    let device = &wire.pair.ends[0].device;
    for offload in ["on", "off"] {
        let arguments = ["-K", device.as_str(), "tx", offload];
        wire.pair.ends[0]
            .ns
            .run("ethtool", arguments)
            .expect("ethtool");
        for v6 in BOTH {
            let bytes = numbered(100, 1400);
            let out = burst(wire.address(1, v6), &bytes, 1400);
            for _ in 0..3 {
                let sent = wire.socket(0, v6).send(&out);
                assert!(sent.stopped.is_none(), "{:?}", sent.stopped);
                assert_eq!(sent.packets, 100);
                let packets = receive(wire.socket(1, v6), 100);
                assert_eq!(joined(&packets), bytes, "IPv6 {v6}, offload {offload}");
            }
        }
    }
}

#[test]
fn a_burst_of_packets_larger_than_the_mtu_is_sent_in_fragments() {
    let wire = Wire::new(1300);
    for v6 in BOTH {
        let bytes = numbered(20, 1400);
        let out = burst(wire.address(1, v6), &bytes, 1400);
        // The first attempt is refused as a burst, the others are not tried.
        for _ in 0..3 {
            let sent = wire.socket(0, v6).send(&out);
            assert!(sent.stopped.is_none(), "{:?}", sent.stopped);
            assert_eq!((sent.packets, sent.source_refused), (20, false));
            let packets = receive(wire.socket(1, v6), 20);
            assert_eq!(joined(&packets), bytes);
        }
        // Smaller packets to the same place still go as bursts.
        let bytes = numbered(20, 1200);
        let sent = wire.socket(0, v6).send(&burst(out.to, &bytes, 1200));
        assert_eq!(sent.packets, 20);
        let packets = receive(wire.socket(1, v6), 20);
        assert_eq!(joined(&packets), bytes);
        assert!(packets[0].1.len > 1200, "not a burst");
    }
}

#[test]
fn a_burst_with_a_pinned_source_that_does_not_fit_keeps_its_source() {
    let wire = Wire::new(1300);
    for v6 in BOTH {
        let bytes = numbered(5, 1400);
        let out = Outgoing {
            source: Some(Source {
                addr: wire.pair.ends[0].address(v6),
                ifindex: 0,
            }),
            ..burst(wire.address(1, v6), &bytes, 1400)
        };
        let sent = wire.socket(0, v6).send(&out);
        assert!(sent.stopped.is_none(), "{:?}", sent.stopped);
        assert_eq!((sent.packets, sent.source_refused), (5, false));
        receive(wire.socket(1, v6), 5);
    }
}

#[test]
fn the_answer_leaves_from_the_address_that_was_spoken_to() {
    let wire = Wire::new(1500);
    wire.ip(1, "address add 10.77.0.99/24 dev {}");
    wire.ip(1, "address add fd77::99/64 dev {} nodad");
    for v6 in BOTH {
        let second = if v6 { "fd77::99" } else { "10.77.0.99" };
        let second: SocketAddr = (
            second.parse::<std::net::IpAddr>().expect("address"),
            wire.sockets[1].port(),
        )
            .into();
        let sent = wire.socket(0, v6).send(&burst(second, b"question", 0));
        assert_eq!(sent.packets, 1);
        let (_, received) = receive(wire.socket(1, v6), 1).remove(0);
        let source = received.local.expect("packet info");
        assert_eq!(source.addr, second.ip());
        let answer = Outgoing {
            source: Some(source),
            ..burst(received.from, b"answer", 0)
        };
        let sent = wire.socket(1, v6).send(&answer);
        assert!(!sent.source_refused && sent.packets == 1);
        let (_, received) = receive(wire.socket(0, v6), 1).remove(0);
        assert_eq!(received.from, second);

        // The address goes: the same answer leaves from the other one.
        let line = if v6 {
            "address delete fd77::99/64 dev {}"
        } else {
            "address delete 10.77.0.99/24 dev {}"
        };
        wire.ip(1, line);
        let sent = wire.socket(1, v6).send(&answer);
        assert!(sent.source_refused && sent.packets == 1, "{sent:?}");
        let (_, received) = receive(wire.socket(0, v6), 1).remove(0);
        assert_eq!(received.from, wire.address(1, v6));
    }
}

#[test]
fn a_source_on_an_interface_that_is_gone_is_given_up() {
    let wire = Wire::new(1500);
    for v6 in BOTH {
        let out = Outgoing {
            source: Some(Source {
                addr: wire.pair.ends[0].address(v6),
                ifindex: 4_000_000,
            }),
            ..burst(wire.address(1, v6), b"x", 0)
        };
        let sent = wire.socket(0, v6).send(&out);
        assert!(sent.source_refused && sent.packets == 1, "{sent:?}");
        receive(wire.socket(1, v6), 1);
    }
}

#[test]
fn the_mark_is_set_live_and_steers_the_route() {
    let wire = Wire::new(1500);
    wire.ip(0, "rule add fwmark 77 prohibit");
    wire.ip(0, "-6 rule add fwmark 77 prohibit");
    for v6 in BOTH {
        let out = burst(wire.address(1, v6), b"x", 0);
        for (mark, passes) in [(0, true), (77, false), (78, true), (77, false), (0, true)] {
            wire.sockets[0].set_fwmark(mark).expect("mark");
            let sent = wire.socket(0, v6).send(&out);
            assert_eq!(sent.packets == 1, passes, "mark {mark}: {sent:?}");
            assert_eq!(matches!(sent.stopped, Some(Stop::Refused(_))), !passes);
        }
        assert_eq!(receive(wire.socket(1, v6), 3).len(), 3);
    }
}

#[test]
fn a_congestion_mark_set_on_the_way_is_received() {
    let pair = Pair::new(Middle::Router, 1500).expect("a link: these tests need root");
    let sockets = pair.ends.each_ref().map(|end| bind(&end.ns));
    let router = &pair.middle.as_ref().expect("router").ns;
    let rules = "table inet congestion {
        chain forward {
            type filter hook forward priority 0;
            ip ecn ect0 ip ecn set ce
            ip6 ecn ect0 ip6 ecn set ce
        }
    }
";
    router
        .run_with_input("nft", ["-f", "-"], rules.as_bytes())
        .expect("nft");
    for v6 in BOTH {
        let to: SocketAddr = (pair.ends[1].address(v6), sockets[1].port()).into();
        let sender = sockets[0].for_address(to).expect("both families");
        for (sent_as, comes_as) in [(0x88, 0x88), (0x02, 0x03), (0x01, 0x01)] {
            let out = Outgoing {
                tos: sent_as,
                ..burst(to, b"x", 0)
            };
            assert_eq!(sender.send(&out).packets, 1);
            let receiver = sockets[1].for_address(to).expect("both families");
            let (_, received) = receive(receiver, 1).remove(0);
            assert_eq!(received.tos, comes_as, "IPv6 {v6}");
        }
    }
}

#[test]
fn sockets_stay_in_the_namespace_in_which_they_were_bound() {
    let wire = Wire::new(1500);
    // Used from this thread, which is in neither of the two.
    for v6 in BOTH {
        let out = burst(wire.address(1, v6), b"x", 0);
        assert_eq!(wire.socket(0, v6).send(&out).packets, 1);
        let (_, received) = receive(wire.socket(1, v6), 1).remove(0);
        assert_eq!(received.from, wire.address(0, v6));
    }
    // And their port is free elsewhere.
    let port = wire.sockets[0].port();
    let third = NetNs::new("up").expect("namespace");
    third
        .within(|| Ok(UdpSockets::bind(port, 1, 0)?))
        .expect("free there");
}

#[test]
fn without_any_ipv6_address_the_ipv4_socket_works() {
    let wire = Wire::new(1500);
    for end in [0, 1] {
        let ns = &wire.pair.ends[end].ns;
        ns.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
            .expect("sysctl");
    }
    let sockets = wire.pair.ends.each_ref().map(|end| bind(&end.ns));
    let to = (wire.pair.ends[1].address(false), sockets[1].port()).into();
    let sender = sockets[0].for_address(to).expect("IPv4");
    assert_eq!(sender.send(&burst(to, b"x", 0)).packets, 1);
    receive(sockets[1].for_address(to).expect("IPv4"), 1);
}

#[test]
fn a_destination_without_a_route_is_refused() {
    let wire = Wire::new(1500);
    let refused =
        wire.socket(0, false)
            .send(&burst("203.0.113.1:9".parse().expect("address"), b"x", 0));
    let Some(Stop::Refused(error)) = refused.stopped else {
        panic!("there is no route: {refused:?}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
}

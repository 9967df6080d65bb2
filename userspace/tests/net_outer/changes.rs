//! What changes is told, with the right hop, and soon.

use crate::netlink::{addr, inside, ip};
use crate::support::{
    Host, PATIENCE, SOON, first, flow, found, mac, regained, resolved, told, until,
};
use ringtun::net::hops::{Hops, NoHop};
use ringtun::net::outer::Hop;
use ringtun::net::udp::Source;
use std::time::{Duration, Instant};

/// An endpoint of each family, and the source to reach it from.
const FAMILIES: [(&str, &str); 2] = [("10.0.1.2", "10.0.1.1"), ("fd00:1::2", "fd00:1::1")];

/// From when the kernel has told of it, as it has when `ip` returns. The best of
/// five times each, as others may have the processors; the other tests wait longer.
#[test]
fn a_change_is_told_within_a_second() {
    let host = Host::new();
    let wire = host.wire(1);
    let device = &wire.device;
    let neighbour = |last| {
        format!(
            "neighbour replace 10.0.1.2 dev {device} lladdr {} nud permanent",
            mac(last)
        )
    };
    let route = |mtu| format!("route replace 192.0.2.0/24 via 10.0.1.2 mtu {mtu}");
    let link = |mtu| format!("link set {device} mtu {mtu}");
    let address = |what| format!("address {what} 10.0.1.9/24 dev {device}");
    ip(&host.ns, &neighbour(44));
    ip(&host.ns, &route(1333));
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let (near, beyond) = (flow("10.0.1.2"), flow("192.0.2.7"));
        let mut pinned = near;
        pinned.source = Some(Source {
            addr: addr("10.0.1.9"),
            ifindex: wire.index,
        });
        for (what, flow, lines) in [
            ("neighbour", near, [neighbour(45), neighbour(44)]),
            ("route", beyond, [route(1300), route(1333)]),
            ("MTU", near, [link(1380), link(1390)]),
            ("address", pinned, [address("add"), address("delete")]),
        ] {
            let _ = first(&hops, &flow).await;
            let mut times = Vec::new();
            for line in lines.iter().cycle().take(5) {
                ip(&host.ns, line);
                let begin = Instant::now();
                let _ = told(&hops, &flow).await;
                times.push(begin.elapsed());
            }
            println!("{what}: told after {times:?}");
            let best = times.iter().min().expect("five");
            assert!(*best <= SOON, "{what}: told after {times:?}");
            hops.forget(&flow);
        }
    });
}

#[test]
fn another_route_is_another_hop() {
    let host = Host::new();
    let wires = [host.wire(1), host.wire(2)];
    for line in [
        "route add 192.0.2.0/24 via 10.0.1.2",
        "-6 route add 2001:db8::/32 via fd00:1::2",
    ] {
        ip(&host.ns, line);
    }
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, sources, better) in [
            (
                "192.0.2.7",
                ["10.0.1.1", "10.0.2.1"],
                "route add 192.0.2.7 via 10.0.2.2",
            ),
            (
                "2001:db8::7",
                ["fd00:1::1", "fd00:2::1"],
                "-6 route add 2001:db8::7 via fd00:2::2",
            ),
        ] {
            let flow = flow(to);
            let by_first = wires[0].hop(sources[0], flow.to);
            let by_second = wires[1].hop(sources[1], flow.to);
            assert_eq!(resolved(&host, &hops, &flow).await, by_first);
            ip(&host.ns, better);
            assert!(matches!(
                told(&hops, &flow).await,
                Err(NoHop::Unresolved { .. })
            ));
            assert_eq!(found(&host, &hops, &flow).await, by_second);
            ip(&host.ns, &better.replace("add", "delete"));
            assert_eq!(told(&hops, &flow).await, Ok(by_first));
        }
    });
}

#[test]
fn a_neighbours_other_mac_address_is_another_hop() {
    let host = Host::new();
    let wire = host.wire(1);
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (number, (to, source)) in FAMILIES.into_iter().enumerate() {
            let flow = flow(to);
            let before = resolved(&host, &hops, &flow).await;
            let new = mac(200 + number as u8);
            // It says so itself: a packet of its own makes it ask for us, which
            // tells us who asks.
            let _ = wire.far.run(
                "ip",
                ["link", "set", &wire.far_device, "address", &new.to_string()],
            );
            ip(
                &wire.far,
                &format!("neighbour flush dev {}", wire.far_device),
            );
            let from = if flow.to.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = wire
                .far
                .udp(from.parse().expect("address"))
                .expect("socket");
            let us = std::net::SocketAddr::new(addr(source), 9);
            // ARP: the kernel believes another address no sooner than a second
            // after the last one (`locktime`), so it is told until it does.
            let told = async {
                loop {
                    if hops.get(&flow).expect("kept") != Ok(before) {
                        return;
                    }
                    ip(
                        &wire.far,
                        &format!("neighbour flush dev {}", wire.far_device),
                    );
                    let _ = socket.send_to(b"it is me", us);
                    let _ = tokio::time::timeout(Duration::from_millis(100), hops.changed()).await;
                }
            };
            tokio::time::timeout(PATIENCE, told)
                .await
                .expect("the new address is heard of");
            let expected = Hop {
                next_hop_mac: new,
                ..before
            };
            until(&hops, &flow, &Ok(expected)).await;
        }
    });
}

#[test]
fn a_removed_address_is_no_source_any_more() {
    let host = Host::new();
    let wire = host.wire(1);
    // Or the first IPv4 address of a network takes the others along.
    host.ns
        .sysctl("net.ipv4.conf.all.promote_secondaries", "1")
        .expect("sysctl");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, old, new, length) in [
            ("10.0.1.2", "10.0.1.1", "10.0.1.8", 24),
            ("fd00:1::2", "fd00:1::1", "fd00:1::8", 64),
        ] {
            let (free, mut pinned) = (flow(to), flow(to));
            pinned.source = Some(Source {
                addr: addr(old),
                ifindex: wire.index,
            });
            assert_eq!(resolved(&host, &hops, &free).await, wire.hop(old, free.to));
            resolved(&host, &hops, &pinned).await;
            let nodad = if free.to.is_ipv4() { "" } else { " nodad" };
            host.ns
                .ip(&format!(
                    "address add {new}/{length} dev {0}{nodad}\naddress delete {old}/{length} dev {0}\n",
                    wire.device
                ))
                .expect("addresses");
            until(&hops, &pinned, &Err(NoHop::SourceGone(addr(old)))).await;
            regained(&host, &hops, &free, &Ok(wire.hop(new, free.to))).await;
        }
    });
}

#[test]
fn a_link_that_goes_down_and_comes_up_is_followed() {
    let host = Host::new();
    let wire = host.wire(1);
    for ns in [&host.ns, &wire.far] {
        // Kept although the device is down.
        ns.sysctl("net.ipv6.conf.all.keep_addr_on_down", "1")
            .expect("sysctl");
    }
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, source) in FAMILIES {
            let flow = flow(to);
            let hop = Ok(wire.hop(source, flow.to));
            assert_eq!(resolved(&host, &hops, &flow).await, hop.clone().unwrap());
            // The other end: no carrier, of which the kernel tells up to a second late.
            ip(&wire.far, &format!("link set {} down", wire.far_device));
            assert!(told(&hops, &flow).await.is_err());
            ip(&wire.far, &format!("link set {} up", wire.far_device));
            regained(&host, &hops, &flow, &hop).await;
            // This end.
            ip(&host.ns, &format!("link set {} down", wire.device));
            until(&hops, &flow, &Err(NoHop::NoRoute(flow.to.ip()))).await;
            ip(&host.ns, &format!("link set {} up", wire.device));
            regained(&host, &hops, &flow, &hop).await;
        }
    });
}

#[test]
fn a_devices_own_mac_address_and_mtu_are_followed_and_its_end_is_seen() {
    let host = Host::new();
    let wire = host.wire(1);
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let flow = flow("10.0.1.2");
        let before = resolved(&host, &hops, &flow).await;
        ip(&host.ns, &format!("link set {} mtu 1350", wire.device));
        let lower = Hop {
            mtu: 1350,
            ..before
        };
        assert_eq!(told(&hops, &flow).await, Ok(lower));
        let new = mac(33);
        ip(&host.ns, &format!("link set {} address {new}", wire.device));
        let moved = Ok(Hop {
            source_mac: new,
            ..lower
        });
        regained(&host, &hops, &flow, &moved).await;
        ip(&host.ns, &format!("link delete {}", wire.device));
        until(&hops, &flow, &Err(NoHop::NoRoute(flow.to.ip()))).await;
    });
}

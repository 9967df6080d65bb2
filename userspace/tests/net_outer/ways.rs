//! Ways to an endpoint.

use crate::netlink::{addr, inside, ip};
use crate::support::{Host, first, flow, found, mac, resolved, told, until};
use ringtun::net::hops::{Hops, NoHop};
use ringtun::net::outer::{Addresses, Hop};
use ringtun::net::tun::Tun;
use ringtun::net::udp::Source;
use ringtun_lab::link::addressed;
use ringtun_lab::names;

#[test]
fn a_neighbour_that_the_kernel_finds_for_the_socket_becomes_a_hop() {
    let host = Host::new();
    let wire = host.wire(1);
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, source) in [("10.0.1.2", "10.0.1.1"), ("fd00:1::2", "fd00:1::1")] {
            let flow = flow(to);
            let unresolved = NoHop::Unresolved {
                next_hop: addr(to),
                device: wire.device.as_str().into(),
            };
            assert_eq!(first(&hops, &flow).await, Err(unresolved));
            let found = found(&host, &hops, &flow).await;
            assert_eq!(found, wire.hop(source, flow.to));
        }
    });
}

#[test]
fn an_address_that_nobody_has_does_not_answer() {
    let host = Host::new();
    let wire = host.wire(1);
    // One question instead of three, a second each.
    host.ns
        .sysctl(
            &format!("net.ipv4.neigh.{}.mcast_solicit", wire.device),
            "1",
        )
        .expect("sysctl");
    host.ns
        .sysctl(
            &format!("net.ipv4.neigh.{}.retrans_time_ms", wire.device),
            "100",
        )
        .expect("sysctl");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let flow = flow("10.0.1.77");
        assert!(matches!(
            first(&hops, &flow).await,
            Err(NoHop::Unresolved { .. })
        ));
        host.send_by_socket(flow.to);
        let no_answer = NoHop::NoAnswer {
            next_hop: flow.to.ip(),
            device: wire.device.as_str().into(),
        };
        assert_eq!(told(&hops, &flow).await, Err(no_answer));
    });
}

#[test]
fn through_a_router_the_frames_go_to_the_router() {
    let host = Host::new();
    let wire = host.wire(1);
    ip(&host.ns, "route add 192.0.2.0/24 via 10.0.1.2 mtu 1300");
    ip(
        &host.ns,
        "-6 route add 2001:db8::/32 via fd00:1::2 hoplimit 7",
    );
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let v4 = flow("192.0.2.7");
        let expected = Hop {
            mtu: 1300,
            ..wire.hop("10.0.1.1", v4.to)
        };
        assert_eq!(resolved(&host, &hops, &v4).await, expected);
        let v6 = flow("2001:db8::7");
        let expected = Hop {
            hop_limit: 7,
            ..wire.hop("fd00:1::1", v6.to)
        };
        assert_eq!(resolved(&host, &hops, &v6).await, expected);
    });
}

#[test]
fn a_gateway_can_be_link_local_for_either_family() {
    let host = Host::new();
    let wire = host.wire(1);
    ip(
        &wire.far,
        &format!("address add fe80::99/64 dev {} nodad", wire.far_device),
    );
    let dev = &wire.device;
    ip(
        &host.ns,
        &format!("-6 route add default via fe80::99 dev {dev}"),
    );
    ip(
        &host.ns,
        &format!("-4 route add default via inet6 fe80::99 dev {dev}"),
    );
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let v6 = flow("2001:db8::7");
        assert_eq!(
            resolved(&host, &hops, &v6).await,
            wire.hop("fd00:1::1", v6.to)
        );
        let v4 = flow("192.0.2.7");
        // Its neighbour is known already: it is that of the other family.
        assert_eq!(first(&hops, &v4).await, Ok(wire.hop("10.0.1.1", v4.to)));
    });
}

#[test]
fn the_mark_chooses_the_table_and_keeps_out_of_the_tunnel() {
    let host = Host::new();
    let wire = host.wire(1);
    let tunnel_name = names::unique("ht");
    inside(&host.ns, async || {
        let tun = Tun::create(&tunnel_name, 1).expect("device");
        tun.set_up(true).expect("up");
        ip(&host.ns, &format!("route add default dev {tunnel_name}"));
        ip(&host.ns, &format!("-6 route add default dev {tunnel_name}"));
        ip(
            &host.ns,
            &format!("address add fd99::1/64 dev {tunnel_name} nodad"),
        );
        ip(&host.ns, "route add default via 10.0.1.2 table 1000");
        ip(&host.ns, "-6 route add default via fd00:1::2 table 1000");
        ip(&host.ns, "rule add fwmark 0xca6c lookup 1000");
        ip(&host.ns, "-6 rule add fwmark 0xca6c lookup 1000");
        let hops = Hops::open().expect("netlink");
        for (to, source) in [("192.0.2.7", "10.0.1.1"), ("2001:db8::7", "fd00:1::1")] {
            let mut flow = flow(to);
            flow.tunnel = tun.index();
            assert_eq!(first(&hops, &flow).await, Err(NoHop::Loop(addr(to))));
            // Another tunnel's packets may go through this one, by the socket.
            flow.tunnel = 0;
            let not_ethernet = NoHop::NotEthernet {
                device: tunnel_name.as_str().into(),
                what: "a device without a link layer",
            };
            assert_eq!(first(&hops, &flow).await, Err(not_ethernet));
            flow.tunnel = tun.index();
            flow.mark = 0xca6c;
            assert!(matches!(
                first(&hops, &flow).await,
                Err(NoHop::Unresolved { .. })
            ));
            ip(
                &host.ns,
                &format!(
                    "neighbour add {} dev {} lladdr {} nud reachable",
                    source.replace(".1.1", ".1.2").replace("::1", "::2"),
                    wire.device,
                    wire.far_mac
                ),
            );
            assert_eq!(told(&hops, &flow).await, Ok(wire.hop(source, flow.to)));
            // Without the rule it is the loop again.
            let family = if flow.to.is_ipv4() { "-4" } else { "-6" };
            ip(
                &host.ns,
                &format!("{family} rule delete fwmark 0xca6c lookup 1000"),
            );
            assert_eq!(told(&hops, &flow).await, Err(NoHop::Loop(addr(to))));
        }
    });
}

#[test]
fn a_pinned_source_is_kept_and_one_that_is_not_ours_is_told() {
    let host = Host::new();
    let wire = host.wire(1);
    let other = host.wire(2);
    for line in [
        format!("address add 10.0.1.9/24 dev {}", wire.device),
        format!("address add fd00:1::9/64 dev {} nodad", wire.device),
    ] {
        ip(&host.ns, &line);
    }
    addressed(&host.ns, &wire.device).expect("addresses that are ours");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, ours, not_ours) in [
            ("10.0.1.2", "10.0.1.9", "10.0.1.99"),
            ("fd00:1::2", "fd00:1::9", "fd00:1::99"),
        ] {
            let mut flow = flow(to);
            let source = |text, ifindex| {
                Some(Source {
                    addr: addr(text),
                    ifindex,
                })
            };
            for ifindex in [0, wire.index] {
                flow.source = source(ours, ifindex);
                assert_eq!(resolved(&host, &hops, &flow).await, wire.hop(ours, flow.to));
            }
            flow.source = source(not_ours, 0);
            let gone = Err(NoHop::SourceGone(addr(not_ours)));
            assert_eq!(first(&hops, &flow).await, gone);
            // Bound to the other device. As for the socket: IPv4 takes the
            // endpoint to be on that link; IPv6 prefers a route that fits the
            // address.
            flow.source = source(ours, other.index);
            let expected = if flow.to.is_ipv4() {
                Err(NoHop::Unresolved {
                    next_hop: flow.to.ip(),
                    device: other.device.as_str().into(),
                })
            } else {
                Ok(wire.hop(ours, flow.to))
            };
            assert_eq!(first(&hops, &flow).await, expected);
        }
    });
}

#[test]
fn of_several_ways_the_kernel_takes_one_by_addresses_and_ports() {
    let host = Host::new();
    let wires = [host.wire(1), host.wire(2)];
    host.ns
        .sysctl("net.ipv4.fib_multipath_hash_policy", "1")
        .expect("sysctl");
    host.ns
        .ip("route add 192.0.2.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2\n")
        .expect("multipath");
    for wire in &wires {
        let number = wire.mac.0[5];
        ip(
            &host.ns,
            &format!(
                "neighbour add 10.0.{number}.2 dev {} lladdr {} nud permanent",
                wire.device, wire.far_mac
            ),
        );
    }
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let mut taken = [0, 0];
        for port in 0..64 {
            let mut flow = flow("192.0.2.7");
            flow.to.set_port(1000 + port);
            let hop = first(&hops, &flow).await.expect("a hop");
            let at = usize::from(hop.ifindex == wires[1].index);
            let source = hop.addresses.source();
            assert_eq!(hop, wires[at].hop(&source.to_string(), flow.to));
            taken[at] += 1;
        }
        assert!(taken.iter().all(|count| *count > 5), "{taken:?}");
    });
}

#[test]
fn a_link_local_endpoint_is_reached_by_its_scope() {
    let host = Host::new();
    let wires = [host.wire(1), host.wire(2)];
    for wire in &wires {
        ip(
            &wire.far,
            &format!("address add fe80::99/64 dev {} nodad", wire.far_device),
        );
        ip(
            &host.ns,
            &format!("address add fe80::11/64 dev {} nodad", wire.device),
        );
        addressed(&wire.far, &wire.far_device).expect("addresses that answer");
        addressed(&host.ns, &wire.device).expect("addresses that are ours");
    }
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for wire in &wires {
            let mut flow = flow("fe80::99");
            if let std::net::SocketAddr::V6(to) = &mut flow.to {
                to.set_scope_id(wire.index);
            }
            let hop = resolved(&host, &hops, &flow).await;
            assert_eq!(hop.ifindex, wire.index);
            assert_eq!(hop.next_hop_mac, wire.far_mac);
            let Addresses::V6 { source, .. } = hop.addresses else {
                panic!("{hop:?}");
            };
            assert!(source.is_unicast_link_local());
        }
    });
}

#[test]
fn a_stale_neighbour_in_use_is_asked_for_although_no_socket_sends() {
    let host = Host::new();
    let wire = host.wire(1);
    for family in ["ipv4", "ipv6"] {
        for (name, value) in [("delay_first_probe_time", "0"), ("ucast_solicit", "3")] {
            host.ns
                .sysctl(&format!("net.{family}.neigh.{}.{name}", wire.device), value)
                .expect("sysctl");
        }
    }
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for (to, source) in [("10.0.1.2", "10.0.1.1"), ("fd00:1::2", "fd00:1::1")] {
            let flow = flow(to);
            resolved(&host, &hops, &flow).await;
            // The host at the other end was replaced and did not say so; the
            // kernel's entry is STALE and has the old address.
            let old = mac(55);
            ip(
                &host.ns,
                &format!(
                    "neighbour change {to} dev {} lladdr {old} nud stale",
                    wire.device
                ),
            );
            let stale = Hop {
                next_hop_mac: old,
                ..wire.hop(source, flow.to)
            };
            until(&hops, &flow, &Ok(stale)).await;
            // Nobody answers for the old address: the kernel sees it, forgets
            // it, and the next packet by the socket finds the new one.
            let answer = loop {
                let next = tokio::time::timeout(crate::support::PATIENCE, hops.changed());
                next.await.expect("the kernel asks").expect("netlink");
                match hops.get(&flow).expect("kept") {
                    Ok(hop) if hop.next_hop_mac == old => {}
                    other => break other,
                }
            };
            if answer.is_err() {
                found(&host, &hops, &flow).await;
            }
            assert_eq!(hops.get(&flow), Some(Ok(wire.hop(source, flow.to))));
        }
    });
}

//! What goes by the socket, and why.

use crate::netlink::{addr, inside, ip};
use crate::support::{Host, first, flow, told, until};
use ringtun::net::hops::{Hops, NoHop};
use ringtun_lab::names;
use std::net::{IpAddr, SocketAddr};

#[test]
fn each_refusal_of_the_routing_table_has_its_reason() {
    let host = Host::new();
    let wire = host.wire(1);
    for (family, net) in [("-4", "198.51.100."), ("-6", "2001:db8::")] {
        for (kind, last) in [("unreachable", 1), ("prohibit", 2), ("blackhole", 3)] {
            ip(&host.ns, &format!("{family} route add {kind} {net}{last}"));
        }
    }
    ip(&host.ns, "route add 198.51.100.5 dev lo src 10.0.1.1");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let lo = || NoHop::NotEthernet {
            device: "lo".into(),
            what: "the loopback device",
        };
        type Why = fn(IpAddr) -> NoHop;
        let cases: [(&str, Why); 14] = [
            ("198.51.100.1", NoHop::Unreachable),
            ("198.51.100.2", NoHop::Prohibited),
            ("198.51.100.3", NoHop::Blackhole),
            ("198.51.100.4", NoHop::NoRoute),
            ("2001:db8::1", NoHop::Unreachable),
            ("2001:db8::2", NoHop::Prohibited),
            ("2001:db8::3", NoHop::Blackhole),
            ("2001:db8::4", NoHop::NoRoute),
            ("127.0.0.1", NoHop::Local),
            ("10.0.1.1", NoHop::Local),
            ("::1", NoHop::Local),
            ("fd00:1::1", NoHop::Local),
            ("10.0.1.255", NoHop::NotUnicast),
            ("ff02::1", NoHop::NotUnicast),
        ];
        for (to, why) in cases {
            let mut flow = flow(to);
            if let SocketAddr::V6(v6) = &mut flow.to
                && to.starts_with("ff02")
            {
                v6.set_scope_id(wire.index);
            }
            assert_eq!(first(&hops, &flow).await, Err(why(addr(to))), "{to}");
        }
        assert_eq!(first(&hops, &flow("198.51.100.5")).await, Err(lo()));
    });
}

#[test]
fn a_bridge_is_told_as_what_it_is_and_its_end_too() {
    let host = Host::new();
    let wire = host.wire(1);
    let bridge = names::unique("hb");
    host.ns
        .ip(&format!(
            "link add {bridge} type bridge\nlink set {} master {bridge}\nlink set {bridge} up\n\
             address add 10.0.5.1/24 dev {bridge}\naddress add fd00:5::1/64 dev {bridge} nodad\n",
            wire.device
        ))
        .expect("bridge");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for to in ["10.0.5.2", "fd00:5::2"] {
            let stacked = NoHop::Stacked {
                device: bridge.as_str().into(),
                kind: "bridge".into(),
            };
            let flow = flow(to);
            // A new bridge has its carrier a moment after its port.
            let down = NoHop::Down(bridge.as_str().into());
            let mut answer = first(&hops, &flow).await;
            if answer == Err(down) {
                answer = told(&hops, &flow).await;
            }
            assert_eq!(answer, Err(stacked));
        }
        ip(&host.ns, &format!("link delete {bridge}"));
        let to = flow("10.0.5.2");
        // The link goes down, then its routes go, then it goes.
        until(&hops, &to, &Err(NoHop::NoRoute(to.to.ip()))).await;
    });
}

//! Many endpoints, and many changes.

use crate::netlink::{inside, ip};
use crate::support::{Host, PATIENCE, first, flow, mac, told};
use ringtun::net::hops::{Hops, NoHop};
use ringtun::net::outer::{Flow, Hop};
use ringtun_lab::NetNs;
use std::collections::{HashMap, HashSet};

const ENDPOINTS: u16 = 2000;

/// What was told, until there is something of every flow that `expected` holds for.
async fn all(hops: &Hops, flows: &HashSet<Flow>, expected: impl Fn(&Result<Hop, NoHop>) -> bool) {
    let mut left: HashMap<Flow, ()> = flows.iter().map(|flow| (*flow, ())).collect();
    let wait = async {
        while !left.is_empty() {
            for change in hops.changed().await.expect("netlink") {
                if expected(&change.hop) {
                    left.remove(&change.flow);
                }
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, wait).await;
    assert!(ended.is_ok(), "{} of {} are left", left.len(), flows.len());
}

#[test]
fn two_thousand_endpoints_behind_a_gateway_follow_it() {
    let host = Host::new();
    let wire = host.wire(1);
    ip(&host.ns, "route add default via 10.0.1.2");
    let neighbour = |address| {
        format!(
            "neighbour replace 10.0.1.2 dev {} lladdr {address} nud permanent",
            wire.device
        )
    };
    ip(&host.ns, &neighbour(wire.far_mac));
    let flows: HashSet<Flow> = (0..ENDPOINTS)
        .map(|i| flow(&format!("192.0.{}.{}", i / 200, 1 + i % 200)))
        .collect();
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        for flow in &flows {
            assert_eq!(hops.wanted(flow), Err(NoHop::Pending));
        }
        let is = |expected: Hop| {
            move |hop: &Result<Hop, NoHop>| {
                hop.as_ref().is_ok_and(|hop| {
                    hop.next_hop_mac == expected.next_hop_mac && hop.mtu == expected.mtu
                })
            }
        };
        let some = *flows.iter().next().expect("many");
        let hop = wire.hop("10.0.1.1", some.to);
        all(&hops, &flows, is(hop)).await;

        // One event, no question.
        ip(&host.ns, &neighbour(mac(44)));
        let moved = Hop {
            next_hop_mac: mac(44),
            ..hop
        };
        all(&hops, &flows, is(moved)).await;

        // A thousand changes of routes at once are few rounds.
        let mut lines: String = (0..1000)
            .map(|i| format!("route add 203.0.{}.{} via 10.0.1.2\n", i / 200, i % 200))
            .collect();
        lines.push_str("route replace default via 10.0.1.2 mtu 1333\n");
        host.ns.ip(&lines).expect("routes");
        let lower = Hop { mtu: 1333, ..moved };
        all(&hops, &flows, is(lower)).await;
    });
}

/// Messages that netlink sockets of the namespace lost for want of room.
fn lost(ns: &NetNs) -> u64 {
    let table = ns
        .run("cat", ["/proc/net/netlink"])
        .expect("netlink sockets");
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    let drops = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(8));
    drops
        .map(|drops| drops.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn what_changed_while_news_were_lost_is_found_out() {
    let host = Host::new();
    let wire = host.wire(1);
    let neighbour = |addr, mac| {
        format!(
            "neighbour replace {addr} dev {} lladdr {mac} nud permanent\n",
            wire.device
        )
    };
    host.ns
        .ip(&neighbour("10.0.1.2", wire.far_mac))
        .expect("neighbour");
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let flow = flow("10.0.1.2");
        let before = first(&hops, &flow).await.expect("a hop");
        // More than the socket has room for while nobody reads, and only then
        // what matters.
        let mut lines: String = (0..4000)
            .map(|i| neighbour("10.0.1.77", mac(i as u8)))
            .collect();
        lines.push_str(&neighbour("10.0.1.2", mac(44)));
        host.ns.ip(&lines).expect("neighbours");
        assert!(lost(&host.ns) > 0, "nothing was lost");
        let after = Hop {
            next_hop_mac: mac(44),
            ..before
        };
        assert_eq!(told(&hops, &flow).await, Ok(after));
    });
}

#[test]
fn flows_wanted_while_others_are_looked_up_are_found_too() {
    let host = Host::new();
    let wire = host.wire(1);
    ip(
        &host.ns,
        &format!(
            "neighbour add 10.0.1.2 dev {} lladdr {} nud permanent",
            wire.device, wire.far_mac
        ),
    );
    inside(&host.ns, async || {
        let hops = Hops::open().expect("netlink");
        let to = flow("10.0.1.2");
        // The task is waiting for events when the flow comes.
        let (hop, ()) = tokio::join!(told(&hops, &to), async {
            tokio::task::yield_now().await;
            assert_eq!(hops.wanted(&to), Err(NoHop::Pending));
        });
        assert_eq!(hop, Ok(wire.hop("10.0.1.1", to.to)));
        // Dropped in the middle of a question, it is asked again.
        let mut other = to;
        other.to.set_port(1);
        assert_eq!(hops.wanted(&other), Err(NoHop::Pending));
        {
            let mut begun = std::pin::pin!(hops.changed());
            let pending = futures_util::poll!(begun.as_mut());
            assert!(pending.is_pending());
        }
        assert_eq!(told(&hops, &other).await, Ok(wire.hop("10.0.1.1", to.to)));
    });
}

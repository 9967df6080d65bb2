use super::*;
use crate::net::outer::Tag;
use crate::net::udp::Source;
use std::collections::HashMap;

fn addr(text: &str) -> IpAddr {
    text.parse().expect("address")
}

const fn tag(vlan: u16) -> Tag {
    Tag {
        service: false,
        vlan,
        priority: 0,
    }
}

fn device(index: u32) -> Link {
    Link {
        index,
        name: format!("dev{index}").into(),
        running: true,
        medium: Medium::Ethernet,
        kind: LinkKind::Device,
        mac: Some(Mac([2, 0, 0, 0, 0, index as u8])),
        mtu: 1500 + index,
        below: None,
    }
}

fn vlan(index: u32, number: u16, below: u32) -> Link {
    Link {
        kind: LinkKind::Vlan(tag(number)),
        below: Some(below),
        ..device(index)
    }
}

/// What the walk from the first of them finds.
fn found(links: &[Link]) -> Result<(u32, Mac, Vec<Tag>), NoHop> {
    let known: HashMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
    match walk(links[0].index, |index| Some(known.get(&index).copied())) {
        Walk::Unknown(index) => panic!("{index} is known"),
        Walk::Done(path) => {
            path.map(|path| (path.physical, path.mac, path.tags.as_slice().to_vec()))
        }
    }
}

#[test]
fn a_device_is_itself() {
    let expected = (1, Mac([2, 0, 0, 0, 0, 1]), vec![]);
    assert_eq!(found(&[device(1)]), Ok(expected));
}

#[test]
fn vlans_in_one_another_end_at_the_device_with_the_outer_tag_first() {
    let mac = Mac([2, 0, 0, 0, 0, 3]);
    assert_eq!(
        found(&[vlan(3, 30, 1), device(1)]),
        Ok((1, mac, vec![tag(30)]))
    );
    assert_eq!(
        found(&[vlan(3, 30, 2), vlan(2, 20, 1), device(1)]),
        Ok((1, mac, vec![tag(20), tag(30)]))
    );
    let three = [vlan(4, 40, 3), vlan(3, 30, 2), vlan(2, 20, 1), device(1)];
    assert_eq!(found(&three), Err(NoHop::TooManyTags("dev4".into())));
}

#[test]
fn a_chain_without_end_ends() {
    let circle = [vlan(1, 1, 2), vlan(2, 2, 1)];
    assert_eq!(found(&circle), Err(NoHop::TooManyTags("dev1".into())));
}

#[test]
fn what_is_not_known_is_asked_for_from_the_top() {
    let top = vlan(3, 30, 1);
    let ask = |known: &[&Link]| match walk(3, |index| {
        known
            .iter()
            .find(|link| link.index == index)
            .map(|l| Some(*l))
    }) {
        Walk::Unknown(index) => index,
        Walk::Done(path) => panic!("{path:?}"),
    };
    assert_eq!(ask(&[]), 3);
    assert_eq!(ask(&[&top]), 1);
}

#[test]
fn what_has_no_ring_or_no_ethernet_is_told_by_name() {
    let not = |what| {
        Err(NoHop::NotEthernet {
            device: "dev2".into(),
            what,
        })
    };
    let with = |change: fn(&mut Link)| {
        let mut link = device(2);
        change(&mut link);
        // Alone, and below a VLAN.
        let alone = found(std::slice::from_ref(&link));
        assert_eq!(found(&[vlan(3, 30, 2), link]), alone);
        alone
    };
    assert_eq!(
        with(|l| l.medium = Medium::Loopback),
        not("the loopback device")
    );
    assert_eq!(with(|l| l.medium = Medium::Ppp), not("a PPP link"));
    assert_eq!(
        with(|l| l.medium = Medium::Ip),
        not("a device without a link layer")
    );
    assert_eq!(
        with(|l| l.medium = Medium::Other(32)),
        not("of another kind")
    );
    assert_eq!(with(|l| l.mac = None), not("without a MAC address"));
    assert_eq!(with(|l| l.running = false), Err(NoHop::Down("dev2".into())));
    for kind in ["bridge", "bond", "macvlan"] {
        let mut link = device(2);
        link.kind = LinkKind::Stacked(kind.into());
        let error = found(&[vlan(3, 30, 2), link]).expect_err("made of others");
        assert_eq!(
            error.to_string(),
            format!("dev2 is a {kind}: its frames are made by the kernel for the devices below it")
        );
    }
    let mut elsewhere = vlan(3, 30, 1);
    elsewhere.below = None;
    assert_eq!(
        found(&[elsewhere]),
        Err(NoHop::BelowElsewhere("dev3".into()))
    );
    assert_eq!(found(&[vlan(3, 30, 1)]), Err(NoHop::NoDevice(1)));
}

fn flow(to: &str) -> Flow {
    Flow {
        to: to.parse().expect("endpoint"),
        source: None,
        port: 51820,
        mark: 0,
        tunnel: 77,
    }
}

fn way() -> Way {
    Way {
        ifindex: 3,
        source: Some(addr("10.0.0.2")),
        unicast: true,
        ..Way::default()
    }
}

const NEXT: Mac = Mac([2, 0, 0, 0, 0, 99]);

fn put_together(flow: &Flow, way: &Way, neighbour: Neighbour) -> Result<Hop, NoHop> {
    let (top, below) = (vlan(3, 30, 1), device(1));
    let link = |index| match index {
        3 => Some(Some(&top)),
        1 => Some(Some(&below)),
        _ => None,
    };
    let Walk::Done(Ok(path)) = walk(3, link) else {
        panic!("both are known");
    };
    hop(flow, way, &path, neighbour)
}

#[test]
fn a_hop_has_the_upper_devices_mac_and_mtu_and_the_lower_ones_index() {
    let flow = flow("10.0.0.9:1");
    let hop = put_together(&flow, &way(), Neighbour::There(NEXT)).expect("a hop");
    let mut tags = Tags::NONE;
    assert!(tags.wrap(tag(30)));
    let expected = Hop {
        ifindex: 1,
        source_mac: Mac([2, 0, 0, 0, 0, 3]),
        next_hop_mac: NEXT,
        tags,
        addresses: Addresses::new(addr("10.0.0.2"), addr("10.0.0.9")).expect("one family"),
        mtu: 1503,
        hop_limit: 64,
    };
    assert_eq!(hop, expected);
    // STALE is good enough.
    assert_eq!(
        put_together(&flow, &way(), Neighbour::Stale(NEXT)),
        Ok(expected)
    );
}

#[test]
fn a_route_can_lower_the_mtu_and_not_raise_it() {
    for (said, mtu) in [(1400, 1400), (9000, 1503)] {
        let mut way = way();
        (way.mtu, way.hop_limit) = (Some(said), Some(7));
        let hop = put_together(&flow("10.0.0.9:1"), &way, Neighbour::There(NEXT)).expect("a hop");
        assert_eq!((hop.mtu, hop.hop_limit), (mtu, 7));
    }
}

#[test]
fn a_pinned_source_goes_before_the_kernels_choice() {
    let mut flow = flow("10.0.0.9:1");
    let source = |text| {
        Some(Source {
            addr: addr(text),
            ifindex: 0,
        })
    };
    let of = |flow: &Flow, way: &Way| {
        put_together(flow, way, Neighbour::There(NEXT)).map(|hop| hop.addresses.source())
    };
    flow.source = source("10.0.0.3");
    assert_eq!(of(&flow, &way()), Ok(addr("10.0.0.3")));
    flow.source = source("fd00::3");
    assert_eq!(of(&flow, &way()), Ok(addr("10.0.0.2")));
    let mut way = way();
    way.source = None;
    assert_eq!(of(&flow, &way), Err(NoHop::NoSource(flow.to.ip())));
}

#[test]
fn the_next_hop_is_the_gateway_or_the_endpoint() {
    let (flow, mut way) = (flow("10.0.0.9:1"), way());
    let device: std::sync::Arc<str> = "dev3".into();
    for gateway in [None, Some(addr("fe80::1"))] {
        way.gateway = gateway;
        let next_hop = gateway.unwrap_or(flow.to.ip());
        let key = NeighbourKey {
            ifindex: 3,
            addr: next_hop,
        };
        assert_eq!(super::next_hop(&flow, &way), key);
        for neighbour in [Neighbour::Unknown, Neighbour::Resolving] {
            let device = device.clone();
            let expected = Err(NoHop::Unresolved { next_hop, device });
            assert_eq!(put_together(&flow, &way, neighbour), expected);
        }
        let device = device.clone();
        let expected = Err(NoHop::NoAnswer { next_hop, device });
        assert_eq!(put_together(&flow, &way, Neighbour::Failed), expected);
    }
}

#[test]
fn routes_that_no_frame_can_take_are_refused() {
    let flow = flow("10.0.0.9:1");
    let to = flow.to.ip();
    let judged = |change: fn(&mut Way)| {
        let mut way = way();
        change(&mut way);
        judge(&flow, &way)
    };
    assert_eq!(judged(|_| ()), Ok(()));
    assert_eq!(judged(|w| w.ifindex = 77), Err(NoHop::Loop(to)));
    assert_eq!(judged(|w| w.local = true), Err(NoHop::Local(to)));
    assert_eq!(judged(|w| w.unicast = false), Err(NoHop::NotUnicast(to)));
    assert_eq!(
        judged(|w| w.encapsulated = true),
        Err(NoHop::Encapsulated(to))
    );
}

#[test]
fn every_refusal_of_the_kernel_has_its_sentence() {
    let mut flow = flow("10.0.0.9:1");
    let to = flow.to.ip();
    assert_eq!(refused(&flow, libc::ENETUNREACH), NoHop::NoRoute(to));
    assert_eq!(refused(&flow, libc::EHOSTUNREACH), NoHop::Unreachable(to));
    assert_eq!(refused(&flow, libc::EACCES), NoHop::Prohibited(to));
    assert_eq!(refused(&flow, libc::EINVAL), NoHop::Blackhole(to));
    flow.source = Some(Source {
        addr: addr("10.0.0.3"),
        ifindex: 0,
    });
    assert_eq!(
        refused(&flow, libc::EADDRNOTAVAIL),
        NoHop::SourceGone(addr("10.0.0.3"))
    );
    assert_eq!(
        refused(&flow, libc::ENOBUFS).to_string(),
        "the kernel refused to look up the route to 10.0.0.9: No buffer space available (os error 105)"
    );
}

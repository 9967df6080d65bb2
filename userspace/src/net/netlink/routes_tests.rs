use super::*;
use rtnetlink::packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteLwEnCapType, RouteMetric};

fn addr(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// As the kernel writes it: through its bytes.
fn heard(family: AddressFamily, kind: RouteType, attributes: Vec<RouteAttribute>) -> Way {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.kind = kind;
    message.attributes = attributes;
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    read(&RouteMessage::parse(&bytes).expect("well-formed"))
}

#[test]
fn a_route_tells_device_gateway_source_mtu_and_hop_limit() {
    let way = heard(
        AddressFamily::Inet,
        RouteType::Unicast,
        vec![
            RouteAttribute::Destination(addr("192.0.2.7").into()),
            RouteAttribute::Oif(4),
            RouteAttribute::Gateway(addr("10.0.0.1").into()),
            RouteAttribute::PrefSource(addr("10.0.0.2").into()),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400), RouteMetric::Hoplimit(33)]),
        ],
    );
    let expected = Way {
        ifindex: 4,
        gateway: Some(addr("10.0.0.1")),
        source: Some(addr("10.0.0.2")),
        mtu: Some(1400),
        hop_limit: Some(33),
        local: false,
        unicast: true,
        encapsulated: false,
    };
    assert_eq!(way, expected);
}

#[test]
fn an_ipv4_route_can_have_an_ipv6_gateway() {
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().expect("address")));
    let way = heard(AddressFamily::Inet, RouteType::Unicast, vec![via]);
    assert_eq!(way.gateway, Some(addr("fe80::1")));
}

#[test]
fn metrics_that_say_nothing_say_nothing() {
    for limit in [0, 256, u32::MAX] {
        let metrics = vec![RouteMetric::Mtu(0), RouteMetric::Hoplimit(limit)];
        let attribute = RouteAttribute::Metrics(metrics);
        let way = heard(AddressFamily::Inet6, RouteType::Unicast, vec![attribute]);
        assert_eq!((way.mtu, way.hop_limit), (None, None), "{limit}");
    }
}

#[test]
fn kinds_of_routes_are_told_apart() {
    for (kind, local, unicast) in [
        (RouteType::Unicast, false, true),
        (RouteType::Local, true, true),
        (RouteType::Broadcast, false, false),
        (RouteType::Multicast, false, false),
        (RouteType::Anycast, false, false),
    ] {
        let way = heard(AddressFamily::Inet, kind, vec![]);
        assert_eq!((way.local, way.unicast), (local, unicast), "{kind:?}");
    }
    let encap = RouteAttribute::EncapType(RouteLwEnCapType::Mpls);
    assert!(heard(AddressFamily::Inet, RouteType::Unicast, vec![encap]).encapsulated);
}

fn flow(to: &str, source: Option<(&str, u32)>) -> Flow {
    Flow {
        to: to.parse().expect("endpoint"),
        source: source.map(|(text, ifindex)| Source {
            addr: addr(text),
            ifindex,
        }),
        port: 51820,
        mark: 0,
        tunnel: 0,
    }
}

fn asked(flow: &Flow) -> Vec<RouteAttribute> {
    question(flow).expect("a question").attributes
}

#[test]
fn the_question_is_the_sockets_ports_mark_and_binding_included() {
    let mut flow = flow("192.0.2.7:4500", Some(("10.0.0.2", 3)));
    flow.mark = 0xca6c;
    let asked = asked(&flow);
    for attribute in [
        RouteAttribute::Destination(addr("192.0.2.7").into()),
        RouteAttribute::Source(addr("10.0.0.2").into()),
        RouteAttribute::Mark(0xca6c),
        RouteAttribute::IpProto(17),
        RouteAttribute::Sport(51820),
        RouteAttribute::Dport(4500),
        RouteAttribute::Oif(3),
    ] {
        assert!(asked.contains(&attribute), "{attribute:?} in {asked:?}");
    }
    assert_eq!(asked.len(), 7);
}

#[test]
fn a_source_of_the_other_family_is_none() {
    let asked = asked(&flow("[2001:db8::7]:1", Some(("10.0.0.2", 3))));
    let left =
        |a: &RouteAttribute| !matches!(a, RouteAttribute::Source(_) | RouteAttribute::Oif(_));
    assert!(asked.iter().all(left), "{asked:?}");
}

#[test]
fn a_link_local_endpoint_is_on_the_link_of_its_scope() {
    let asked = asked(&flow("[fe80::7%6]:1", Some(("fe80::1", 3))));
    assert!(asked.contains(&RouteAttribute::Oif(6)), "{asked:?}");
    assert!(!asked.contains(&RouteAttribute::Oif(3)), "{asked:?}");
}

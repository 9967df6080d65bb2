use super::*;
use rtnetlink::packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::link::{InfoVrf, VlanFlags};

/// As the kernel writes it: through its bytes.
fn heard(message: LinkMessage) -> Option<Link> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    read(&LinkMessage::parse(&bytes).expect("well-formed"))
}

fn message(layer: LinkLayerType, info: Vec<LinkInfo>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = 9;
    message.header.link_layer_type = layer;
    message.header.flags = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    message.attributes = vec![
        LinkAttribute::IfName("lan0".into()),
        LinkAttribute::Mtu(1496),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
        LinkAttribute::Link(5),
    ];
    if !info.is_empty() {
        message.attributes.push(LinkAttribute::LinkInfo(info));
    }
    message
}

fn vlan(data: Vec<InfoVlan>) -> Vec<LinkInfo> {
    vec![
        LinkInfo::Kind(InfoKind::Vlan),
        LinkInfo::Data(InfoData::Vlan(data)),
    ]
}

#[test]
fn a_vlan_device_tells_its_tag_and_the_device_below() {
    let link = heard(message(
        LinkLayerType::Ether,
        vlan(vec![
            InfoVlan::Protocol(VlanProtocol::Ieee8021Ad),
            InfoVlan::Id(100),
            InfoVlan::Flags((VlanFlags::ReorderHdr, VlanFlags::empty())),
            InfoVlan::EgressQos(vec![
                VlanQosMapping::Mapping(4, 1),
                VlanQosMapping::Mapping(0, 3),
            ]),
        ]),
    ));
    let expected = Link {
        index: 9,
        name: "lan0".into(),
        running: true,
        medium: Medium::Ethernet,
        kind: LinkKind::Vlan(Tag {
            service: true,
            vlan: 100,
            priority: 3,
        }),
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        mtu: 1496,
        below: Some(5),
    };
    assert_eq!(link, Some(expected));
}

#[test]
fn a_vlan_without_more_is_8021q_with_priority_0() {
    let link = heard(message(
        LinkLayerType::Ether,
        vlan(vec![InfoVlan::Id(4094)]),
    ))
    .expect("a link");
    let tag = Tag {
        service: false,
        vlan: 4094,
        priority: 0,
    };
    assert_eq!(link.kind, LinkKind::Vlan(tag));
}

#[test]
fn a_device_below_in_another_namespace_has_no_index_here() {
    let mut message = message(LinkLayerType::Ether, vlan(vec![InfoVlan::Id(1)]));
    // Before the index and behind it.
    message.attributes.insert(0, LinkAttribute::LinkNetNsId(3));
    assert_eq!(heard(message).expect("a link").below, None);
}

#[test]
fn devices_with_rings_are_told_from_those_made_of_others() {
    for kind in [None, Some(InfoKind::Veth), Some(InfoKind::Tun)] {
        let info = kind.into_iter().map(LinkInfo::Kind).collect();
        let link = heard(message(LinkLayerType::Ether, info)).expect("a link");
        assert_eq!(link.kind, LinkKind::Device);
    }
    let vrf = vec![
        LinkInfo::Kind(InfoKind::Vrf),
        LinkInfo::Data(InfoData::Vrf(vec![InfoVrf::TableId(10)])),
    ];
    let link = heard(message(LinkLayerType::Ether, vrf)).expect("a link");
    assert_eq!(link.kind, LinkKind::Stacked("vrf".into()));
    for (kind, name) in [
        (InfoKind::Bridge, "bridge"),
        (InfoKind::Bond, "bond"),
        (InfoKind::MacVlan, "macvlan"),
        (InfoKind::IpVlan, "ipvlan"),
        (InfoKind::MacSec, "macsec"),
        (InfoKind::Other("new-thing".into()), "new-thing"),
        // Its number is missing.
        (InfoKind::Vlan, "vlan"),
    ] {
        let info = vec![LinkInfo::Kind(kind)];
        let link = heard(message(LinkLayerType::Ether, info)).expect("a link");
        assert_eq!(link.kind, LinkKind::Stacked(name.into()));
    }
}

#[test]
fn media_are_told_apart() {
    for (layer, medium) in [
        (LinkLayerType::Ether, Medium::Ethernet),
        (LinkLayerType::Loopback, Medium::Loopback),
        (LinkLayerType::Ppp, Medium::Ppp),
        (LinkLayerType::None, Medium::Ip),
        (LinkLayerType::Rawip, Medium::Ip),
        // ARPHRD_INFINIBAND
        (LinkLayerType::Infiniband, Medium::Other(32)),
    ] {
        let link = heard(message(layer, vec![])).expect("a link");
        assert_eq!(link.medium, medium);
    }
}

#[test]
fn a_device_without_carrier_or_switched_off_does_not_run() {
    for flags in [
        LinkFlags::Up,
        LinkFlags::Running,
        LinkFlags::Up | LinkFlags::LowerUp,
        LinkFlags::empty(),
    ] {
        let mut message = message(LinkLayerType::Ether, vec![]);
        message.header.flags = flags;
        assert!(!heard(message).expect("a link").running, "{flags:?}");
    }
}

#[test]
fn a_hardware_address_that_is_not_six_bytes_is_none() {
    for address in [vec![], vec![0; 6], vec![1; 20]] {
        let mut message = message(LinkLayerType::Ether, vec![]);
        message.attributes[2] = LinkAttribute::Address(address);
        assert_eq!(heard(message).expect("a link").mac, None);
    }
}

#[test]
fn news_of_a_bridges_port_are_not_about_the_device() {
    let mut message = message(LinkLayerType::Ether, vec![]);
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(heard(message), None);
}

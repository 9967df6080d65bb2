//! What a network device is, as far as frames sent by it go.

use crate::net::outer::{Mac, Tag};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage, VlanProtocol, VlanQosMapping,
};
use std::sync::Arc;

/// One network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Switched on (`IFF_UP`), and with a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// What its frames look like.
    pub medium: Medium,
    /// What it is.
    pub kind: LinkKind,
    /// Its MAC address, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// Bytes of the longest IP packet.
    pub mtu: u32,
    /// The device below, in the same namespace.
    pub below: Option<u32>,
}

/// What the frames of a device look like: its `ARPHRD_…` (`<linux/if_arp.h>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Ethernet.
    Ethernet,
    /// The loopback device.
    Loopback,
    /// PPP, and with it PPPoE.
    Ppp,
    /// IP packets without a link header: TUN, WireGuard, raw wwan.
    Ip,
    /// Anything else, by number.
    Other(u16),
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A device with a ring of its own: hardware, veth, TAP.
    Device,
    /// A VLAN of the device below.
    Vlan(Tag),
    /// A device over or of others, by the kernel's name for its kind
    /// (`bridge`, `bond`, `macvlan`…).
    Stacked(Arc<str>),
}

/// What to ask with: the device, and no counters in the answer.
pub(super) fn question(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let mask = vec![LinkExtentMask::SkipStats];
    message.attributes.push(LinkAttribute::ExtMask(mask));
    message
}

/// What a message tells; `None` if it is about a bridge's port, not a device.
pub(super) fn read(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: "?".into(),
        running: flags.contains(LinkFlags::Up | LinkFlags::Running),
        medium: medium(message.header.link_layer_type),
        kind: LinkKind::Device,
        mac: None,
        mtu: 0,
        below: None,
    };
    let mut elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.as_str().into(),
            LinkAttribute::Address(bytes) => link.mac = Mac::from_slice(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => link.below = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(info) => link.kind = kind(info),
            _ => {}
        }
    }
    if elsewhere {
        // That index counts in another namespace.
        link.below = None;
    }
    Some(link)
}

fn medium(layer: LinkLayerType) -> Medium {
    match layer {
        LinkLayerType::Ether => Medium::Ethernet,
        LinkLayerType::Loopback => Medium::Loopback,
        LinkLayerType::Ppp => Medium::Ppp,
        LinkLayerType::None | LinkLayerType::Rawip => Medium::Ip,
        other => Medium::Other(other.into()),
    }
}

fn kind(info: &[LinkInfo]) -> LinkKind {
    let kind = info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match kind {
        None | Some(InfoKind::Veth | InfoKind::Tun | InfoKind::Dummy | InfoKind::Netdevsim) => {
            LinkKind::Device
        }
        Some(InfoKind::Vlan) => {
            let vlan = info.iter().find_map(|info| match info {
                LinkInfo::Data(InfoData::Vlan(vlan)) => Some(vlan),
                _ => None,
            });
            vlan.and_then(|vlan| tag(vlan))
                .map_or_else(|| LinkKind::Stacked("vlan".into()), LinkKind::Vlan)
        }
        Some(other) => LinkKind::Stacked(other.to_string().into()),
    }
}

/// The tag that a VLAN device puts on what leaves by it; `None` without a number.
fn tag(vlan: &[InfoVlan]) -> Option<Tag> {
    let mut number = None;
    let mut tag = Tag::default();
    for info in vlan {
        match info {
            InfoVlan::Id(id) => number = Some(*id & 0xfff),
            InfoVlan::Protocol(protocol) => tag.service = *protocol == VlanProtocol::Ieee8021Ad,
            InfoVlan::EgressQos(mappings) => {
                // What a socket without SO_PRIORITY sends has priority 0.
                tag.priority = mappings
                    .iter()
                    .find_map(|mapping| match mapping {
                        VlanQosMapping::Mapping(0, priority) => Some((*priority & 7) as u8),
                        _ => None,
                    })
                    .unwrap_or(0);
            }
            _ => {}
        }
    }
    tag.vlan = number?;
    Some(tag)
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;

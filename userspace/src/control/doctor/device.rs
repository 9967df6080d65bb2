//! The device inside: switched on, with its addresses, and with the routes to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::finding::{Finding, Severity, word};
use super::machine::{self, Link};
use super::subject::Subject;
use crate::tunnel::allowed_ips::Prefix;

/// Networks whose routes are asked for, of one device.
const NETWORKS_MAX: usize = 64;
/// The least that IPv6 wants, bytes (RFC 8200).
const IPV6_MTU: u64 = 1280;
/// For a default route: addresses that nobody has.
const NOBODY: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(192, 0, 2, 254),
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0xfe),
);

/// What keeps packets from the device.
#[must_use]
pub fn examine(subject: &Subject, links: &[Link]) -> Vec<Finding> {
    let name = word(subject.name.as_str());
    let Some(link) = links.iter().find(|link| link.name == subject.name.as_str()) else {
        return vec![super::elsewhere(subject, "the device is")];
    };
    if !link.up {
        let finding = Finding::new("device-down", Severity::Error, "the device is switched off");
        let finding = finding
            .of(&subject.name)
            .seen(format!("ip link show dev {name}: no UP"));
        return vec![finding.command(format!("ip link set dev {name} up"))];
    }
    let mut found = Vec::new();
    found.extend(addresses(subject, link));
    // Without its addresses, routes are not what they will be.
    if found.is_empty() && subject.routes_are_automatic() {
        found.extend(routes(subject));
    }
    found
}

fn addresses(subject: &Subject, link: &Link) -> Option<Finding> {
    let wanted = subject.config()?.interface.addresses.iter();
    let has = |address: IpAddr| link.addresses.iter().any(|(has, _)| *has == address);
    let missing: Vec<_> = wanted.filter(|wanted| !has(wanted.addr)).collect();
    let first = missing.first()?;
    let name = word(subject.name.as_str());
    let what = format!("the device does not have its address {}", first.addr);
    let mut finding = Finding::new("address-missing", Severity::Error, what)
        .of(&subject.name)
        .seen(format!("ip addr show dev {name}"));
    if missing.iter().any(|address| address.addr.is_ipv6()) {
        if link.mtu < IPV6_MTU {
            finding = finding
                .seen(format!(
                    "its MTU is {}, and the kernel removes IPv6 below 1280",
                    link.mtu
                ))
                .command(format!("ip link set dev {name} mtu {IPV6_MTU}"));
        }
        // By slashes: a device may have a dot in its name.
        let switch = format!("net/ipv6/conf/{name}/disable_ipv6");
        if machine::switch(&switch) == Some(1) {
            finding = finding
                .seen(format!("{switch} is 1"))
                .command(format!("sysctl -w {switch}=0"));
        }
    }
    for address in missing {
        let (address, len) = (address.addr, address.len);
        finding = finding.command(format!("ip addr add {address}/{len} dev {name}"));
    }
    Some(finding)
}

fn routes(subject: &Subject) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in subject.networks().into_iter().take(NETWORKS_MAX) {
        found.extend(unreached(subject, network));
    }
    found
}

fn unreached(subject: &Subject, network: Prefix) -> Option<Finding> {
    let to = inside(network);
    let route = machine::route(to, 0);
    let device = route.as_ref().map(|route| route.device.as_str());
    // This host itself may be in the network.
    if device == Some(subject.name.as_str()) || device == Some("lo") {
        return None;
    }
    let way = device.map_or_else(|| "nowhere".to_owned(), |device| format!("to {device}"));
    let name = word(subject.name.as_str());
    // A network that somebody else has as exactly: whose it is, only the user knows.
    let exact = machine::routes_to(to).into_iter();
    let exact = exact.filter(|route| route.is_of(network));
    let (own, mut rivals): (Vec<_>, Vec<_>) =
        exact.partition(|route| route.device == subject.name.as_str());
    let rival = rivals.pop();
    if rival.is_none() && !own.is_empty() {
        // A part of it is elsewhere, by a route of its own.
        return None;
    }
    if let Some(rival) = rival.filter(|rival| rival.kind == "unicast") {
        let what = format!("{network} is behind a peer, and on {} too", rival.device);
        let finding = Finding::new("network-twice", Severity::Error, what).of(&subject.name);
        let finding = finding.seen(format!(
            "ip route show match {to}: {} {}",
            rival.to,
            rival.way()
        ));
        return Some(finding.advice("renumber one of them, or narrow the peer's AllowedIPs"));
    }
    let what = format!("packets for {network}, which is behind a peer, do not go into the tunnel");
    let finding = Finding::new("route-missing", Severity::Error, what).of(&subject.name);
    let finding = finding.seen(format!("ip route get {to}: {way}"));
    Some(if network.len() == 0 {
        // More than a route: a table and rules.
        let file = word(&subject.path.to_string_lossy());
        finding.command(format!("ringtun down {file}; ringtun up {file}"))
    } else {
        finding.command(format!("ip route add {network} dev {name}"))
    })
}

/// An address of the network that stands for all of them.
fn inside(network: Prefix) -> IpAddr {
    match network.addr() {
        IpAddr::V4(_) if network.len() == 0 => NOBODY.0.into(),
        IpAddr::V6(_) if network.len() == 0 => NOBODY.1.into(),
        IpAddr::V4(addr) if network.len() < 32 => Ipv4Addr::from_bits(addr.to_bits() | 1).into(),
        IpAddr::V6(addr) if network.len() < 128 => Ipv6Addr::from_bits(addr.to_bits() | 1).into(),
        addr => addr,
    }
}

//! The ways to the endpoints.

use std::net::{IpAddr, SocketAddr};

use super::finding::{Finding, Remedy, Severity, word};
use super::life;
use super::machine::{self, Link, Route};
use super::subject::Subject;
use crate::control::uapi::PeerState;
use crate::control::wgquick::Host;

/// Endpoints that are looked at, of one device.
const ENDPOINTS_MAX: usize = 32;
/// Headers of IPv4, UDP and WireGuard, and its tag, in bytes.
const OVERHEAD_V4: u64 = 60;
/// The same over IPv6.
const OVERHEAD_V6: u64 = 80;
/// A handshake is tried again after five seconds; three without an answer are none.
const TRIED: u64 = 3 * 148;

/// What keeps encrypted packets from getting there and back.
#[must_use]
pub fn examine(subject: &Subject, links: &[Link]) -> Vec<Finding> {
    let mut found = Vec::new();
    for endpoint in subject.endpoints().into_iter().take(ENDPOINTS_MAX) {
        found.extend(way(subject, links, endpoint));
    }
    found.extend(names(subject));
    found.extend(programs(subject, links));
    // Who cannot be reached does not answer: once is enough.
    if found
        .iter()
        .all(|finding| finding.severity < Severity::Error)
    {
        let peers = subject.state.iter().flat_map(|state| &state.peers);
        found.extend(
            peers
                .take(ENDPOINTS_MAX)
                .filter_map(|peer| silent(subject, peer)),
        );
    }
    found
}

fn way(subject: &Subject, links: &[Link], endpoint: SocketAddr) -> Option<Finding> {
    let to = endpoint.ip();
    let Some(route) = machine::route(to, subject.mark()) else {
        return Some(no_route(subject, links, to));
    };
    if route.device == subject.name.as_str() {
        return Some(into_itself(subject, to));
    }
    let link = links.iter().find(|link| link.name == route.device)?;
    if !link.carrier && !link.loopback {
        let what = format!(
            "{} leads to the endpoint {endpoint}, and nothing is at its other end",
            link.name
        );
        let finding = Finding::new("no-carrier", Severity::Error, what).of(&subject.name);
        return Some(
            finding
                .seen(format!(
                    "ip link show dev {}: no LOWER_UP",
                    word(&link.name)
                ))
                .advice("look at the cable, the access point or the virtual machine's network"),
        );
    }
    neighbour(subject, &route, to).or_else(|| too_long(subject, links, link, &route, to))
}

fn no_route(subject: &Subject, links: &[Link], to: IpAddr) -> Finding {
    let what = format!("there is no way to the endpoint {to}");
    let finding = Finding::new("no-route", Severity::Error, what).of(&subject.name);
    let finding = finding.seen(format!("ip route get {to}: an error"));
    let blocked = machine::routes_to(to).into_iter().find(|route| {
        matches!(
            route.kind.as_str(),
            "unreachable" | "blackhole" | "prohibit" | "throw"
        )
    });
    if let Some(route) = blocked {
        let family = if to.is_ipv4() { "-4" } else { "-6" };
        return finding
            .seen(format!(
                "ip {family} route show match {to}: {} {}",
                route.kind, route.to
            ))
            .command(format!("ip {family} route del {} {}", route.kind, route.to));
    }
    let off = links.iter().filter(|link| {
        let same = |(address, _): &(IpAddr, u64)| address.is_ipv4() == to.is_ipv4();
        !link.up && !link.loopback && link.addresses.iter().any(same)
    });
    let mut finding = finding;
    for link in off {
        let name = word(&link.name);
        finding = finding
            .seen(format!("ip link show dev {name}: no UP"))
            .command(format!("ip link set dev {name} up"));
    }
    if finding.remedies.is_empty() {
        finding.advice("add a default route: ip route add default via GATEWAY dev DEVICE")
    } else {
        finding
    }
}

/// Encrypted packets would be encrypted again, for ever.
fn into_itself(subject: &Subject, to: IpAddr) -> Finding {
    let what = format!("packets for the endpoint {to} go into the tunnel itself");
    let finding = Finding::new("loop", Severity::Error, what).of(&subject.name);
    let finding = finding.seen(format!("ip route get {to}: {}", subject.name));
    let other = machine::routes_to(to).into_iter().find(|route| {
        route.kind == "unicast" && !route.device.is_empty() && route.device != subject.name.as_str()
    });
    match other {
        Some(route) => finding.command(format!("ip route add {to} {}", route.way())),
        None => {
            finding.advice("leave the endpoint out of AllowedIPs, or give it a route of its own")
        }
    }
}

fn neighbour(subject: &Subject, route: &Route, to: IpAddr) -> Option<Finding> {
    let next = route.gateway.clone().unwrap_or_else(|| to.to_string());
    let device = word(&route.device);
    let question = format!("neigh show {next} dev {}", route.device);
    let known = crate::control::quick::program::ip_json(&question);
    let states = known.first()?["state"].as_array()?;
    if !states.iter().any(|state| state == "FAILED") {
        return None;
    }
    let what = format!("{next}, the next hop to the endpoint {to}, does not answer on {device}");
    Some(
        Finding::new("neighbour-silent", Severity::Error, what)
            .of(&subject.name)
            .seen(format!("ip {question}: FAILED"))
            .advice(format!(
                "look whether {next} is switched on and on the same network"
            )),
    )
}

fn too_long(
    subject: &Subject,
    links: &[Link],
    link: &Link,
    route: &Route,
    to: IpAddr,
) -> Option<Finding> {
    let inside = links
        .iter()
        .find(|link| link.name == subject.name.as_str())?
        .mtu;
    let path = route.mtu.unwrap_or(link.mtu).min(link.mtu);
    let overhead = if to.is_ipv4() {
        OVERHEAD_V4
    } else {
        OVERHEAD_V6
    };
    let fits = path.saturating_sub(overhead);
    if inside <= fits || link.loopback {
        return None;
    }
    let name = word(subject.name.as_str());
    let what = format!(
        "the MTU {inside} is too much for the way to the endpoint {to}: large packets are cut in pieces or lost"
    );
    let finding = Finding::new("mtu", Severity::Warning, what).of(&subject.name);
    let finding = finding.seen(format!(
        "{} takes {path} bytes, a tunnel adds {overhead}",
        link.name
    ));
    let finding = finding.command(format!("ip link set dev {name} mtu {fits}"));
    Some(if subject.file.is_some() {
        finding.remedy(Remedy::Line {
            file: subject.path.clone(),
            line: life::line_of(subject, "MTU"),
            text: format!("MTU = {fits}"),
        })
    } else {
        finding
    })
}

/// Peers that the file calls by a name, and that still have no endpoint.
fn names(subject: &Subject) -> Vec<Finding> {
    let Some(config) = subject.config() else {
        return Vec::new();
    };
    let running = || subject.state.iter().flat_map(|state| &state.peers);
    let unknown = config.peers.iter().filter_map(|peer| {
        let Host::Name(host) = &peer.endpoint.as_ref()?.host else {
            return None;
        };
        let lost = |state: &PeerState| state.public_key == peer.public_key && state.endpoint.is_none();
        running().any(lost).then(|| {
            let what = format!("the endpoint {host} is not known");
            Finding::new("name-unknown", Severity::Error, what)
                .of(&subject.name)
                .seen(format!("getent hosts {}: nothing", word(host)))
                .advice(format!(
                    "line {} of {}: correct the name, or give the address; it is looked up again by itself",
                    peer.line,
                    subject.path.display()
                ))
        })
    });
    unknown.take(ENDPOINTS_MAX).collect()
}

/// XDP programs of others where ours is wanted.
fn programs(subject: &Subject, links: &[Link]) -> Vec<Finding> {
    let Some(info) = subject.info.as_ref().filter(|info| info.io_asked == "xdp") else {
        return Vec::new();
    };
    let has_ours = |link: &Link| info.cards.iter().any(|card| card.name == link.name);
    let ways = subject.endpoints();
    let ways = ways.iter().take(ENDPOINTS_MAX);
    let devices: Vec<String> = ways
        .filter_map(|endpoint| Some(machine::route(endpoint.ip(), subject.mark())?.device))
        .collect();
    let used = links
        .iter()
        .filter(|link| devices.contains(&link.name) && !has_ours(link));
    let foreign = used.filter_map(|link| {
        let (program, how) = link.xdp.as_ref()?;
        let name = word(&link.name);
        let what = format!(
            "{} carries the XDP program {program} of somebody else, so packets go by the socket",
            link.name
        );
        Some(
            Finding::new("xdp-taken", Severity::Warning, what)
                .of(&subject.name)
                .seen(format!("ip -d link show dev {name}: {how} {program}"))
                .command(format!("ip link set dev {name} {how} off"))
                .advice(
                    "or end the program that attached it, where a link holds it (bpftool link)",
                ),
        )
    });
    foreign.collect()
}

fn silent(subject: &Subject, peer: &PeerState) -> Option<Finding> {
    let endpoint = peer.endpoint?;
    let never = peer.last_handshake.secs == 0 && peer.rx_bytes == 0;
    if !never || peer.tx_bytes < TRIED {
        return None;
    }
    let state = subject.state.as_ref()?;
    let own = state.private_key.as_ref()?.public();
    let what = format!("{endpoint} has not answered a single handshake");
    Some(
        Finding::new("no-answer", Severity::Error, what)
            .of(&subject.name)
            .seen(format!(
                "wg show {}: {} bytes sent, none received",
                word(subject.name.as_str()),
                peer.tx_bytes
            ))
            .advice(format!("there, a [Peer] must have PublicKey = {own}"))
            .advice(
                "there, UDP must reach that port: port forwarding, firewall, the right address",
            ),
    )
}

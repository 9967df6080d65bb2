//! `MTU`, where the file does not say it.

use std::net::IpAddr;

use serde_json::Value;

use super::program::ip_json;

/// Outer IPv6 header, UDP header, WireGuard header and tag, in bytes.
const OVERHEAD: u64 = 80;
/// Of an Ethernet, where nothing better is known.
const ETHERNET: u64 = 1500;

/// The smallest MTU of the ways to the endpoints, less what a tunnel adds.
/// wg-quick takes the largest, which then does not fit the others.
#[must_use]
pub fn automatic(endpoints: &[IpAddr]) -> u64 {
    let ways = endpoints.iter().filter_map(|addr| {
        let routes = ip_json(&format!("route get {addr}"));
        routes.first().and_then(of_route)
    });
    let outer = ways.min().or_else(|| {
        let v4 = ip_json("-4 route show default");
        let v6 = ip_json("-6 route show default");
        v4.first().or(v6.first()).and_then(of_route)
    });
    outer.unwrap_or(ETHERNET).saturating_sub(OVERHEAD)
}

/// The route's own MTU, else that of its device.
fn of_route(route: &Value) -> Option<u64> {
    let metrics = route["metrics"].as_array();
    let own = metrics.and_then(|m| m.iter().find_map(|m| m["mtu"].as_u64()));
    own.or_else(|| {
        let device = route["dev"].as_str()?;
        let links = ip_json(&format!("link show dev {device}"));
        // Loopback's 65536 is the way to nowhere but this machine.
        links.first()?["mtu"].as_u64().filter(|_| device != "lo")
    })
}

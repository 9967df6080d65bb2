//! What the machine says, by the programs that an operator would ask.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use crate::control::quick::program::{self, ip_json};
use crate::tunnel::allowed_ips::Prefix;

/// The most that is read of a file of the kernel, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Where a packet to `to` goes, with this mark; none where it cannot.
#[must_use]
pub fn route(to: IpAddr, mark: u32) -> Option<Route> {
    let mark = match mark {
        0 => String::new(),
        mark => format!(" mark {mark}"),
    };
    let found = ip_json(&format!("route get {to}{mark}"));
    Route::of(found.first()?)
}

/// The routes of the main table that `to` falls into, the most specific first.
#[must_use]
pub fn routes_to(to: IpAddr) -> Vec<Route> {
    let family = if to.is_ipv4() { "-4" } else { "-6" };
    let found = ip_json(&format!("{family} route show match {to}"));
    let mut routes: Vec<Route> = found.iter().filter_map(Route::of).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.len()));
    routes
}

/// A route as `ip -j` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// A network, an address or `default`.
    pub to: String,
    /// `unicast`, unless it says otherwise.
    pub kind: String,
    /// Empty where nothing goes.
    pub device: String,
    /// None for who is on the link itself.
    pub gateway: Option<String>,
    /// Its own MTU, bytes.
    pub mtu: Option<u64>,
}

impl Route {
    fn of(route: &Value) -> Option<Self> {
        let text = |key: &str| route[key].as_str().map(str::to_owned);
        let metrics = route["metrics"].as_array();
        Some(Self {
            to: text("dst")?,
            kind: text("type").unwrap_or_else(|| "unicast".to_owned()),
            device: text("dev").unwrap_or_default(),
            gateway: text("gateway"),
            mtu: metrics.and_then(|all| all.iter().find_map(|one| one["mtu"].as_u64())),
        })
    }

    /// Bits of its network; more than any where it is one address.
    fn len(&self) -> u8 {
        match self.to.split_once('/') {
            Some((_, len)) => len.parse().unwrap_or(0),
            None if self.to == "default" => 0,
            None => u8::MAX,
        }
    }

    /// Whether it is of exactly this network; `ip` says one address without a length.
    #[must_use]
    pub fn is_of(&self, network: Prefix) -> bool {
        let host = self.to.parse().ok().map(Prefix::host);
        host.or_else(|| self.to.parse().ok()) == Some(network)
    }

    /// As `ip route add` wants it behind the network.
    #[must_use]
    pub fn way(&self) -> String {
        match &self.gateway {
            Some(gateway) => format!("via {gateway} dev {}", self.device),
            None => format!("dev {}", self.device),
        }
    }
}

/// A device as `ip -j` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Switched on.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// Loopback is not asked about.
    pub loopback: bool,
    /// Bytes.
    pub mtu: u64,
    /// Its XDP program, and how it is attached, as `ip link set` calls it.
    pub xdp: Option<(String, &'static str)>,
    /// Its addresses, with the lengths of their networks.
    pub addresses: Vec<(IpAddr, u64)>,
}

/// All devices of this namespace.
#[must_use]
pub fn links() -> Vec<Link> {
    let found = ip_json("-d addr show");
    found.iter().filter_map(link).collect()
}

fn link(link: &Value) -> Option<Link> {
    let flags = link["flags"].as_array()?;
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let xdp = &link["xdp"];
    let program = xdp["prog"]["name"].as_str().map(|name| {
        let how = match xdp["mode"].as_u64() {
            Some(2) => "xdpgeneric",
            _ => "xdp",
        };
        (name.to_owned(), how)
    });
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let addresses = addresses.filter_map(|info| {
        let address = info["local"].as_str()?.parse().ok()?;
        Some((address, info["prefixlen"].as_u64()?))
    });
    Some(Link {
        name: link["ifname"].as_str()?.to_owned(),
        up: has("UP"),
        carrier: has("LOWER_UP"),
        loopback: has("LOOPBACK"),
        mtu: link["mtu"].as_u64()?,
        xdp: program,
        addresses: addresses.collect(),
    })
}

/// What the switch at `/proc/sys/PATH` is; none where there is none.
#[must_use]
pub fn switch(path: &str) -> Option<i64> {
    read(&Path::new("/proc/sys").join(path))?
        .trim()
        .parse()
        .ok()
}

/// A file of the kernel, if it is text.
#[must_use]
pub fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The rules of nftables, and of iptables that writes to it; none without `nft`, or
/// for those who may not ask.
#[must_use]
pub fn rules() -> Option<Value> {
    // Elements of sets are left out: they may be a million.
    let text = program::run("nft", ["-j", "-t", "list", "ruleset"]).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ip_says_is_read_and_what_it_does_not_say_is_not_there() {
        let route = Route::of(&json!({
            "dst": "192.0.2.0/24", "gateway": "10.0.0.1", "dev": "eth0",
            "metrics": [{"mtu": 1400}]
        }));
        let route = route.unwrap();
        assert_eq!(route.way(), "via 10.0.0.1 dev eth0");
        assert_eq!((route.mtu, route.len()), (Some(1400), 24));
        let blocked = Route::of(&json!({"type": "unreachable", "dst": "192.0.2.7"})).unwrap();
        assert_eq!(
            (blocked.kind.as_str(), blocked.len()),
            ("unreachable", u8::MAX)
        );
        for wrong in [
            json!(null),
            json!([]),
            json!({"dst": 7}),
            json!({"dev": "eth0"}),
        ] {
            assert_eq!(Route::of(&wrong), None, "{wrong}");
        }
        for wrong in [
            json!(null),
            json!({"ifname": "x"}),
            json!({"flags": [], "mtu": 1}),
        ] {
            assert_eq!(link(&wrong), None, "{wrong}");
        }
        let found = link(&json!({
            "ifname": "eth0", "flags": ["UP", 7], "mtu": 1500,
            "xdp": {"mode": 1, "prog": {"id": 3, "name": "other"}},
            "addr_info": [{"local": "10.0.0.2", "prefixlen": 24}, {"local": "no"}, {}]
        }));
        let found = found.unwrap();
        assert!(found.up && !found.carrier);
        assert_eq!(found.xdp, Some(("other".to_owned(), "xdp")));
        assert_eq!(found.addresses.len(), 1);
    }
}

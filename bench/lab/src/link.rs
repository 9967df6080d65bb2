//! veth pairs, and two ends with a hop in the middle.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{NetNs, names, wait};

/// How long the kernel may take to finish what it said was done.
const SETTLING: Duration = Duration::from_secs(60);

/// Joins two namespaces by a veth pair; both ends are up and carry packets.
///
/// # Errors
/// A name is taken or too long.
pub fn veth(a: &NetNs, a_device: &str, b: &NetNs, b_device: &str) -> Result<()> {
    veth_with_queues(a, a_device, b, b_device, 1)
}

/// As [`veth`], with this many queues each way.
///
/// # Errors
/// As [`veth`].
pub fn veth_with_queues(
    a: &NetNs,
    a_device: &str,
    b: &NetNs,
    b_device: &str,
    queues: u32,
) -> Result<()> {
    // The pair is made inside, so that nothing ever appears in the namespace of the caller.
    let peer = b.path();
    a.ip(&format!(
        "link add {a_device} numtxqueues {queues} numrxqueues {queues} type veth \
         peer name {b_device} numtxqueues {queues} numrxqueues {queues} netns {}\n\
         link set {a_device} up\n",
        peer.display()
    ))?;
    b.ip(&format!("link set {b_device} up\n"))?;
    running(a, a_device)?;
    running(b, b_device)
}

/// The number by which the kernel knows `device` in its namespace.
///
/// # Errors
/// There is no such device.
pub fn index(ns: &NetNs, device: &str) -> Result<u32> {
    let json = ns.run("ip", ["-j", "link", "show", "dev", device])?;
    let links: Value = serde_json::from_str(&json)?;
    let index = links[0]["ifindex"].as_u64().context("no index")?;
    Ok(u32::try_from(index)?)
}

/// Waits until `device`, which was set up, has its carrier: the kernel tells of it afterwards, from
/// a queue of work that can be late, and drops what is sent before.
///
/// # Errors
/// There is no such device, or nothing at its other end.
pub fn running(ns: &NetNs, device: &str) -> Result<()> {
    wait::until(&format!("carrier of {device}"), SETTLING, || {
        let json = ns.run("ip", ["-j", "link", "show", "dev", device])?;
        let links: Value = serde_json::from_str(&json)?;
        Ok((links[0]["operstate"] == "UP").then_some(()))
    })
}

/// Waits until the IPv6 addresses of `device`, its link-local one among them, receive packets: the
/// kernel takes them into its table of local routes from a queue of work, also without duplicate
/// address detection.
///
/// # Errors
/// There is no such device, or it has no carrier.
pub fn addressed(ns: &NetNs, device: &str) -> Result<()> {
    wait::until(&format!("addresses of {device}"), SETTLING, || {
        let json = ns.run("ip", ["-j", "-6", "addr", "show", "dev", device])?;
        let links: Value = serde_json::from_str(&json)?;
        let table = ["-6", "route", "show", "table", "local", "dev", device];
        let routes = ns.run("ip", table)?;
        let local = |address: &str| {
            let mut lines = routes.lines();
            lines.any(|line| line.split(' ').nth(1) == Some(address))
        };
        let addresses = links[0]["addr_info"].as_array().into_iter().flatten();
        let addresses: Vec<&str> = addresses.filter_map(|a| a["local"].as_str()).collect();
        let complete = addresses.iter().any(|address| address.starts_with("fe80:"))
            && addresses.iter().all(|address| local(address));
        Ok(complete.then_some(()))
    })
}

/// What is between the two ends of a [`Pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// One veth pair, nothing between.
    None,
    /// A namespace with a bridge: one network, a place to capture on.
    Bridge,
    /// A namespace that forwards: two networks, a place to capture on and to filter.
    Router,
}

/// Two namespaces that reach each other over IPv4 and IPv6, perhaps through a third.
#[derive(Debug)]
pub struct Pair {
    /// The two ends, 0 and 1.
    pub ends: [End; 2],
    /// What is between.
    pub middle: Option<Hop>,
}

/// One end of a [`Pair`].
#[derive(Debug)]
pub struct End {
    /// Its namespace.
    pub ns: NetNs,
    /// Its device.
    pub device: String,
    /// The device's IPv4 address.
    pub v4: Ipv4Addr,
    /// The device's IPv6 address.
    pub v6: Ipv6Addr,
}

/// The namespace between the ends.
#[derive(Debug)]
pub struct Hop {
    /// Its namespace.
    pub ns: NetNs,
    /// Its devices toward ends 0 and 1.
    pub devices: [String; 2],
}

impl End {
    /// Its outside address of one family.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}

impl Pair {
    /// Makes the namespaces, links, addresses and routes. All links have `mtu` (bytes).
    ///
    /// Addresses: `10.77.0.1`/`fd77::1` and `10.77.0.2`/`fd77::2` on one network, or
    /// `10.77.0.2`/`fd77::2` and `10.77.1.2`/`fd77:1::2` behind a router that is `.1`/`::1`.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub fn new(middle: Middle, mtu: u32) -> Result<Pair> {
        Pair::with_queues(middle, mtu, 1)
    }

    /// As [`Pair::new`], with links of this many queues each way.
    ///
    /// # Errors
    /// As [`Pair::new`].
    pub fn with_queues(middle: Middle, mtu: u32, queues: u32) -> Result<Pair> {
        let routed = middle == Middle::Router;
        let end = |at: u8| -> Result<End> {
            let (net, host) = if routed { (at, 2) } else { (0, at + 1) };
            Ok(End {
                ns: NetNs::new(if at == 0 { "a" } else { "b" })?,
                device: names::unique(if at == 0 { "a" } else { "b" }),
                v4: Ipv4Addr::new(10, 77, net, host),
                v6: Ipv6Addr::new(0xfd77, net.into(), 0, 0, 0, 0, 0, host.into()),
            })
        };
        let pair = Pair {
            ends: [end(0)?, end(1)?],
            middle: match middle {
                Middle::None => None,
                Middle::Bridge | Middle::Router => Some(Hop {
                    ns: NetNs::new("m")?,
                    devices: [names::unique("ma"), names::unique("mb")],
                }),
            },
        };
        let [a, b] = &pair.ends;
        match &pair.middle {
            None => veth_with_queues(&a.ns, &a.device, &b.ns, &b.device, queues)?,
            Some(hop) => {
                for (end, device) in [a, b].into_iter().zip(&hop.devices) {
                    veth_with_queues(&end.ns, &end.device, &hop.ns, device, queues)?;
                }
                hop.ns.ip(&format!(
                    "link set {} mtu {mtu}\nlink set {} mtu {mtu}\n",
                    hop.devices[0], hop.devices[1]
                ))?;
                hop.join(routed)?;
            }
        }
        for end in &pair.ends {
            end.ns.ip(&format!(
                "link set {0} mtu {mtu}\naddr add {1}/24 dev {0}\naddr add {2}/64 dev {0} nodad\n",
                end.device, end.v4, end.v6
            ))?;
            if routed {
                let net = end.v4.octets()[2];
                end.ns.ip(&format!(
                    "route add default via 10.77.{net}.1\nroute add default via fd77:{net:x}::1\n"
                ))?;
            }
            addressed(&end.ns, &end.device)?;
        }
        if let Some(hop) = pair.middle.as_ref().filter(|_| routed) {
            for device in &hop.devices {
                addressed(&hop.ns, device)?;
            }
        }
        Ok(pair)
    }
}

impl Hop {
    fn join(&self, routed: bool) -> Result<()> {
        if routed {
            self.ns.sysctl("net.ipv4.ip_forward", "1")?;
            self.ns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
            for (net, device) in self.devices.iter().enumerate() {
                self.ns.ip(&format!(
                    "addr add 10.77.{net}.1/24 dev {device}\naddr add fd77:{net:x}::1/64 dev {device} nodad\n"
                ))?;
            }
            return Ok(());
        }
        let bridge = names::unique("br");
        self.ns.ip(&format!(
            "link add {bridge} type bridge\nlink set {0} master {bridge}\nlink set {1} master {bridge}\nlink set {bridge} up\n",
            self.devices[0], self.devices[1]
        ))
    }
}

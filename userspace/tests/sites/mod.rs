//! Hosts behind two gateways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringtun_lab::link::veth;
use ringtun_lab::tunnel::Options;
use ringtun_lab::{NetNs, Tunnel, names};
use serde_json::Value;

use crate::e2e;

/// A host on Ethernet behind each gateway.
pub struct Sites {
    // Before the tunnel, whose namespaces hold the other ends.
    pub hosts: [Host; 2],
    pub tunnel: Tunnel,
}

pub struct Host {
    pub ns: NetNs,
    pub device: String,
}

pub fn address(at: usize, v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd80, 0, 0, at as u16, 0, 0, 0, 2).into()
    } else {
        Ipv4Addr::new(10, 80, at as u8, 2).into()
    }
}

impl Sites {
    /// With these names of the gateways' interfaces towards the hosts.
    pub fn with_lans(arguments: &[&str], mtu: u16, lans: &[String; 2]) -> Sites {
        let ringtun = e2e::ringtun();
        let options = Options {
            arguments,
            ..Options::default()
        };
        let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
        let hosts = [0, 1].map(|at| Sites::host(&tunnel, at, mtu, &lans[at]));
        Sites { hosts, tunnel }
    }

    /// A host behind a gateway's interface of this name.
    pub fn host(tunnel: &Tunnel, at: usize, mtu: u16, lan: &str) -> Host {
        let (near, far) = (at, 1 - at);
        let gateway = tunnel.ns(at);
        let host = Host {
            ns: NetNs::new("h").unwrap(),
            device: names::unique("h"),
        };
        veth(gateway, lan, &host.ns, &host.device).unwrap();
        let device = &tunnel.devices[at].name;
        gateway
            .ip(&format!(
                "addr add 10.80.{near}.1/24 dev {lan}\naddr add fd80:0:0:{near}::1/64 dev {lan} nodad\n\
                 link set {device} mtu {mtu}\n\
                 route replace 10.80.{far}.0/24 dev {device}\nroute replace fd80:0:0:{far}::/64 dev {device}\n"
            ))
            .unwrap();
        host.ns
            .ip(&format!(
                "addr add 10.80.{near}.2/24 dev {0}\naddr add fd80:0:0:{near}::2/64 dev {0} nodad\n\
                 route add default via 10.80.{near}.1\nroute add default via fd80:0:0:{near}::1\n",
                host.device
            ))
            .unwrap();
        host.ns.sysctl("net.ipv4.tcp_mtu_probing", "0").unwrap();
        gateway.sysctl("net.ipv4.ip_forward", "1").unwrap();
        gateway.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
        let rules = "table inet quiet { chain output { type filter hook output priority 0; \
                     icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }";
        gateway.run("nft", [rules]).unwrap();
        let peer = &tunnel.keys[far].public;
        let ranges = format!("10.78.0.0/24,fd78::/64,10.80.{far}.0/24,fd80:0:0:{far}::/64");
        tunnel
            .set(at, &format!("peer {peer} allowed-ips {ranges}"))
            .unwrap();
        host
    }

    /// Whether the hosts leave checksums to their cards, which for a veth means to nobody.
    pub fn set_offload(&self, on: bool) {
        let on = if on { "on" } else { "off" };
        for host in &self.hosts {
            let arguments = ["-K", &host.device, "tx", on];
            host.ns.run("ethtool", arguments).unwrap();
        }
    }

    /// What `ringtun show` says of a gateway.
    pub fn show(&self, at: usize) -> Value {
        let ringtun = e2e::ringtun();
        let program = ringtun.program.to_str().unwrap();
        let arguments = ["show", &self.tunnel.devices[at].name, "--json"];
        let text = self.tunnel.ns(at).run(program, arguments).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

//! What a wg-quick file says.

use std::fmt;
use std::net::IpAddr;

use crate::crypto::{PresharedKey, PrivateKey, PublicKey};
use crate::tunnel::allowed_ips::Prefix;

/// A whole file.
#[derive(Debug, Default)]
pub struct Config {
    /// The `[Interface]` section.
    pub interface: Interface,
    /// The `[Peer]` sections that name a peer.
    pub peers: Vec<Peer>,
}

/// The `[Interface]` section. What the file does not say is `None` or empty.
#[derive(Debug, Default)]
pub struct Interface {
    /// `PrivateKey`.
    pub private_key: Option<PrivateKey>,
    /// `ListenPort`.
    pub listen_port: Option<u16>,
    /// `FwMark`; 0 is `off`.
    pub fwmark: Option<u32>,
    /// `Address`.
    pub addresses: Vec<InterfaceAddress>,
    /// The addresses in `DNS`.
    pub dns: Vec<IpAddr>,
    /// The other words in `DNS`: search domains.
    pub dns_search: Vec<String>,
    /// `MTU` in bytes.
    pub mtu: Option<u16>,
    /// `Table`.
    pub table: Table,
    /// `PreUp`, in order.
    pub pre_up: Vec<String>,
    /// `PostUp`, in order.
    pub post_up: Vec<String>,
    /// `PreDown`, in order.
    pub pre_down: Vec<String>,
    /// `PostDown`, in order.
    pub post_down: Vec<String>,
    /// `SaveConfig`.
    pub save_config: bool,
}

impl Interface {
    /// All commands of all hooks.
    pub fn hooks(&self) -> impl Iterator<Item = &String> {
        let up = self.pre_up.iter().chain(&self.post_up);
        up.chain(&self.pre_down).chain(&self.post_down)
    }
}

/// An address of the device and the length of its on-link prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address, host bits and all.
    pub addr: IpAddr,
    /// 0 to 32, or to 128 for IPv6.
    pub len: u8,
}

/// `Table`: where routes go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// The main table, and one of its own for a default route.
    #[default]
    Auto,
    /// No routes.
    Off,
    /// This table, for all routes.
    Number(u32),
    /// A table named in `rt_tables`.
    Named(String),
}

/// A `[Peer]` section.
#[derive(Debug)]
pub struct Peer {
    /// `PublicKey`.
    pub public_key: PublicKey,
    /// `PresharedKey`; all zero is none.
    pub preshared_key: PresharedKey,
    /// `AllowedIPs`.
    pub allowed_ips: Vec<Prefix>,
    /// `Endpoint`.
    pub endpoint: Option<Endpoint>,
    /// `PersistentKeepalive` in seconds; 0 is `off`.
    pub keepalive: Option<u16>,
    /// Line of its `[Peer]`, from 1.
    pub line: usize,
}

/// `Endpoint`: where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its host.
    pub host: Host,
    /// Its UDP port, not 0.
    pub port: u16,
}

/// An address, or a name to be looked up when the tunnel starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Addr(IpAddr),
    /// A link-local IPv6 address and the interface it is on.
    Zoned(std::net::Ipv6Addr, String),
    /// A name.
    Name(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Addr(IpAddr::V4(addr)) => write!(f, "{addr}:{}", self.port),
            Host::Addr(IpAddr::V6(addr)) => write!(f, "[{addr}]:{}", self.port),
            Host::Zoned(addr, zone) => write!(f, "[{addr}%{zone}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

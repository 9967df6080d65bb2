//! What stands in a report for keys, names, devices and addresses: the same for the
//! same everywhere in it, and nothing beyond it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use super::addresses::Addresses;
use super::value::{Fact, Word};
use crate::control::wgquick::{Endpoint, Host};
use crate::crypto::PublicKey;
use crate::crypto::hash::HASH_LEN;
use crate::tunnel::allowed_ips::Prefix;

/// Kinds of devices, as the kernel calls them; of others it is not known.
pub const DEVICE_KINDS: [&str; 25] = [
    "bond",
    "bridge",
    "device",
    "dummy",
    "ether",
    "geneve",
    "gre",
    "ifb",
    "infiniband",
    "ipip",
    "ipvlan",
    "loopback",
    "macvlan",
    "macvtap",
    "ppp",
    "sit",
    "team",
    "tun",
    "tunnel",
    "veth",
    "vlan",
    "vrf",
    "vxlan",
    "wireguard",
    "xfrm",
];
/// Kinds of the rest that has a number.
pub const OTHER_KINDS: [&str; 4] = ["peer", "key", "host", "mac"];

/// `peer-1`: a kind and the number in which it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    kind: Word,
    number: usize,
}

impl Alias {
    pub(super) const fn kind(self) -> Word {
        self.kind
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.number)
    }
}

/// How addresses are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As they are: `--addresses`.
    Real,
    /// By others of the same kind that share as many bits.
    Others,
    /// By their kind only.
    Kinds,
}

/// An address, or what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    what: What,
    len: Option<u8>,
    port: Option<u16>,
    zone: Option<Alias>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Address(IpAddr),
    Kind(Word),
    Host(Alias),
}

impl Address {
    pub(super) fn words(&self, each: &mut impl FnMut(&'static str)) {
        match self.what {
            What::Kind(kind) => each(kind.as_str()),
            What::Host(alias) => each(alias.kind.as_str()),
            What::Address(_) => {}
        }
    }
}

/// `192.0.2.1`, `192.0.2.0/24`, `[fe80::1%veth-1]:51820`, `host-1:51820`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_brackets = self.port.is_some() && matches!(self.what, What::Address(IpAddr::V6(_)));
        if in_brackets {
            f.write_str("[")?;
        }
        match &self.what {
            What::Address(address) => address.fmt(f)?,
            What::Kind(kind) => f.write_str(kind.as_str())?,
            What::Host(alias) => alias.fmt(f)?,
        }
        if let Some(zone) = self.zone {
            write!(f, "%{zone}")?;
        }
        if in_brackets {
            f.write_str("]")?;
        }
        if let Some(len) = self.len {
            write!(f, "/{len}")?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

/// Numbers for what was met.
struct Met<K> {
    kind: Word,
    numbers: HashMap<K, usize>,
}

impl<K: Hash + Eq> Met<K> {
    fn new(kind: &'static str) -> Self {
        Self {
            kind: Word::of(kind),
            numbers: HashMap::new(),
        }
    }

    fn alias(&mut self, key: K) -> Fact {
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(key).or_insert(next);
        Fact::Alias(Alias {
            kind: self.kind,
            number,
        })
    }
}

/// Everything that was met, and what stands for it.
pub struct Pseudonyms {
    addresses: Addresses,
    show: Show,
    peers: Met<PublicKey>,
    keys: Met<PublicKey>,
    hosts: Met<String>,
    macs: Met<[u8; 6]>,
    devices: HashMap<String, Alias>,
    kinds: HashMap<Word, usize>,
}

impl Pseudonyms {
    /// By a key that is thrown away afterwards.
    #[must_use]
    pub fn new(key: [u8; HASH_LEN], show: Show) -> Self {
        let [peer, own, host, mac] = OTHER_KINDS;
        Self {
            addresses: Addresses::new(key),
            show,
            peers: Met::new(peer),
            keys: Met::new(own),
            hosts: Met::new(host),
            macs: Met::new(mac),
            devices: HashMap::new(),
            kinds: HashMap::new(),
        }
    }

    /// A peer.
    pub fn peer(&mut self, key: &PublicKey) -> Fact {
        self.peers.alias(*key)
    }

    /// A public key that is a peer's, if it is the key of one that was met.
    pub fn key(&mut self, key: &PublicKey) -> Fact {
        if self.peers.numbers.contains_key(key) {
            return self.peer(key);
        }
        self.keys.alias(*key)
    }

    /// A public key by its text.
    pub fn key_text(&mut self, text: &str) -> Fact {
        PublicKey::from_base64(text).map_or_else(|_| Fact::hidden(text), |key| self.key(&key))
    }

    /// A host by its name, in any case.
    pub fn host(&mut self, name: &str) -> Fact {
        self.hosts.alias(name.to_ascii_lowercase())
    }

    /// A hardware address as `ip` writes it. That of nobody is none.
    pub fn mac(&mut self, text: &str) -> Fact {
        match parse_mac(text) {
            Some([0, 0, 0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => Fact::Nothing,
            Some(mac) => self.macs.alias(mac),
            None => Fact::hidden(text),
        }
    }

    /// Says of which kind a device is, before it is met.
    pub fn know_device(&mut self, name: &str, kind: &str) {
        if name.is_empty() || self.devices.contains_key(name) {
            return;
        }
        let kind = Word::among(&DEVICE_KINDS, kind).unwrap_or(Word::of("device"));
        let number = self.kinds.entry(kind).or_default();
        *number += 1;
        let number = *number;
        self.devices.insert(name.to_owned(), Alias { kind, number });
    }

    fn device_alias(&mut self, name: &str) -> Option<Alias> {
        self.know_device(name, "");
        self.devices.get(name).copied()
    }

    /// A device.
    pub fn device(&mut self, name: &str) -> Fact {
        self.device_alias(name).map_or(Fact::Nothing, Fact::Alias)
    }

    /// An address.
    pub fn address(&mut self, address: IpAddr) -> Fact {
        self.fact(address, None, None, None)
    }

    /// A network, or an address in one: its bits behind the length stay hidden if there
    /// are none.
    pub fn network(&mut self, address: IpAddr, len: u8) -> Fact {
        self.fact(address, Some(len), None, None)
    }

    /// A prefix.
    pub fn prefix(&mut self, prefix: Prefix) -> Fact {
        self.network(prefix.addr(), prefix.len())
    }

    /// An address and a port.
    pub fn socket(&mut self, socket: SocketAddr) -> Fact {
        self.fact(socket.ip(), None, Some(socket.port()), None)
    }

    /// An endpoint of a file.
    pub fn endpoint(&mut self, endpoint: &Endpoint) -> Fact {
        let port = Some(endpoint.port);
        match &endpoint.host {
            Host::Addr(address) => self.fact(*address, None, port, None),
            Host::Zoned(address, zone) => {
                let zone = self.device_alias(zone);
                self.fact((*address).into(), None, port, zone)
            }
            Host::Name(name) => match self.host(name) {
                Fact::Alias(host) => Fact::Address(Address {
                    what: What::Host(host),
                    len: None,
                    port,
                    zone: None,
                }),
                other => other,
            },
        }
    }

    /// An address, a network or an endpoint by its text.
    pub fn address_text(&mut self, text: &str) -> Fact {
        if let Ok(address) = text.parse() {
            return self.address(address);
        }
        if let Ok(socket) = text.parse() {
            return self.socket(socket);
        }
        let network = text.split_once('/').and_then(|(address, len)| {
            let address: IpAddr = address.parse().ok()?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let len: u8 = len.parse().ok()?;
            (len <= bits).then_some((address, len))
        });
        match network {
            Some((address, len)) => self.network(address, len),
            None => Fact::hidden(text),
        }
    }

    fn fact(
        &mut self,
        address: IpAddr,
        len: Option<u8>,
        port: Option<u16>,
        zone: Option<Alias>,
    ) -> Fact {
        let what = match self.show {
            Show::Real => What::Address(address),
            Show::Kinds => What::Kind(kind(address)),
            Show::Others => {
                let new = self.addresses.replace(address);
                // A network stays one.
                let network = len.filter(|len| masked(address, *len) == address);
                What::Address(network.map_or(new, |len| masked(new, len)))
            }
        };
        Fact::Address(Address {
            what,
            len,
            port,
            zone,
        })
    }
}

fn masked(address: IpAddr, len: u8) -> IpAddr {
    let len = u32::from(len);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(len))
                .unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(len))
                .unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// What an address is good for.
fn kind(address: IpAddr) -> Word {
    Word::of(match address {
        IpAddr::V4(v4) if v4.is_unspecified() => "any-IPv4",
        IpAddr::V4(v4) if v4.is_loopback() => "loopback-IPv4",
        IpAddr::V4(v4) if v4.is_link_local() => "link-local-IPv4",
        IpAddr::V4(v4) if v4.is_multicast() => "multicast-IPv4",
        IpAddr::V4(v4) if v4.is_private() => "private-IPv4",
        IpAddr::V4(_) => "public-IPv4",
        IpAddr::V6(v6) if v6.is_unspecified() => "any-IPv6",
        IpAddr::V6(v6) if v6.is_loopback() => "loopback-IPv6",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local-IPv6",
        IpAddr::V6(v6) if v6.is_multicast() => "multicast-IPv6",
        IpAddr::V6(v6) if v6.is_unique_local() => "private-IPv6",
        IpAddr::V6(_) => "public-IPv6",
    })
}

/// Six bytes in hex with colons.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms(show: Show) -> Pseudonyms {
        Pseudonyms::new([7; HASH_LEN], show)
    }

    #[test]
    fn the_same_is_called_the_same_and_others_are_not() {
        let mut of = pseudonyms(Show::Others);
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let said = [
            of.peer(&key(1)),
            of.peer(&key(2)),
            of.key(&key(1)),
            of.key(&key(3)),
            of.key_text(&key(2).to_base64()),
            of.key_text("not a key"),
            of.host("VPN.example.org"),
            of.host("vpn.Example.org"),
            of.mac("52:54:00:12:34:56"),
            of.mac("52:54:00:12:34:57"),
            of.mac("00:00:00:00:00:00"),
            of.mac("52-54-00-12-34-57"),
        ];
        let said: Vec<String> = said.iter().map(Fact::to_string).collect();
        assert_eq!(
            said,
            [
                "peer-1",
                "peer-2",
                "peer-1",
                "key-1",
                "peer-2",
                "<text, 9 characters>",
                "host-1",
                "host-1",
                "mac-1",
                "mac-2",
                "-",
                "<text, 17 characters>"
            ]
        );
    }

    #[test]
    fn a_device_keeps_its_kind() {
        let mut of = pseudonyms(Show::Others);
        of.know_device("wg0", "tunnel");
        of.know_device("annas", "veth");
        of.know_device("annas2", "veth");
        of.know_device("hunter2", "hunter2");
        let said = ["wg0", "annas2", "annas", "hunter2", "unknown", ""].map(|d| of.device(d));
        let said = said.map(|fact| fact.to_string());
        assert_eq!(
            said,
            ["tunnel-1", "veth-2", "veth-1", "device-1", "device-2", "-"]
        );
    }

    #[test]
    fn addresses_are_shown_as_asked() {
        let texts = ["203.0.113.9", "10.78.0.0/24", "[2001:db8::7]:51820", "no"];
        let all = |show| {
            let mut of = pseudonyms(show);
            texts.map(|text| of.address_text(text).to_string())
        };
        assert_eq!(
            all(Show::Real)[..3],
            ["203.0.113.9", "10.78.0.0/24", "[2001:db8::7]:51820"]
        );
        assert_eq!(
            all(Show::Kinds),
            [
                "public-IPv4",
                "private-IPv4/24",
                "public-IPv6:51820",
                "<text, 2 characters>"
            ]
        );
        let others = all(Show::Others);
        for (other, real) in others.iter().zip(&texts[..3]) {
            assert_ne!(other, real);
        }
        assert!(
            others[1].starts_with("10.") && others[1].ends_with(".0/24"),
            "{others:?}"
        );
        assert!(others[2].ends_with("]:51820"), "{others:?}");
    }
}

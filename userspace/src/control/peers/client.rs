//! The file for the other side, as a phone or a laptop takes it.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::crypto::{PresharedKey, PrivateKey, PublicKey};
use crate::tunnel::allowed_ips::Prefix;

/// Seconds after which a client behind a NAT says that it is still there.
const KEEPALIVE: u16 = 25;

/// What the other side has to know.
#[derive(Debug)]
pub struct Client<'a> {
    /// Its own key.
    pub private: &'a PrivateKey,
    /// Its own addresses.
    pub addresses: &'a [IpAddr],
    /// Name servers that it is to ask.
    pub dns: &'a [IpAddr],
    /// This side.
    pub server: PublicKey,
    /// All zero is none.
    pub preshared: &'a PresharedKey,
    /// Where this side is.
    pub endpoint: &'a Callable,
    /// What it sends here.
    pub allowed_ips: &'a [Prefix],
}

impl Client<'_> {
    /// The file.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        const LONGEST: usize = 16 * 1024;
        // At once as long as it gets: a string that grows leaves copies of keys behind.
        let mut out = Zeroizing::new(String::with_capacity(LONGEST));
        let own = self
            .addresses
            .iter()
            .map(|address| Prefix::host(*address).to_string());
        let list = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "[Interface]\nPrivateKey = {}",
            &*self.private.to_base64()
        );
        let _ = writeln!(out, "Address = {}", list(&mut own.into_iter()));
        if !self.dns.is_empty() {
            let _ = writeln!(
                out,
                "DNS = {}",
                list(&mut self.dns.iter().map(IpAddr::to_string))
            );
        }
        let _ = writeln!(out, "\n[Peer]\nPublicKey = {}", self.server);
        if self.preshared.is_set() {
            let _ = writeln!(out, "PresharedKey = {}", &*self.preshared.to_base64());
        }
        let allowed = list(&mut self.allowed_ips.iter().map(Prefix::to_string));
        let _ = writeln!(out, "AllowedIPs = {allowed}\nEndpoint = {}", self.endpoint);
        let _ = writeln!(out, "PersistentKeepalive = {KEEPALIVE}");
        out
    }
}

/// Where others reach this side: a host, and a port that may come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callable {
    host: String,
    port: u16,
}

/// Why a text is no [`Callable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not HOST, HOST:PORT, ADDRESS or [IPv6 ADDRESS]:PORT")]
pub struct NotCallable;

impl Callable {
    /// An address and a port.
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self {
            host: address.to_string(),
            port,
        }
    }

    /// With this port, unless it has one.
    #[must_use]
    pub fn or_port(mut self, port: u16) -> Self {
        if self.port == 0 {
            self.port = port;
        }
        self
    }

    /// 0 where none was given.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Callable {
    type Err = NotCallable;

    fn from_str(text: &str) -> Result<Self, NotCallable> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::new(address, 0));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or(NotCallable)?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| NotCallable)?;
            return Ok(Self::new(address.into(), port(rest)?));
        }
        let (host, rest) = match text.find(':') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(part) {
            return Err(NotCallable);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port(rest)?,
        })
    }
}

/// Of `:51820`; 0 of nothing.
fn port(text: &str) -> Result<u16, NotCallable> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(':').ok_or(NotCallable)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotCallable);
    }
    digits
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or(NotCallable)
}

impl fmt::Display for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wgquick::parse;
    use crate::crypto::os_rng;

    #[test]
    fn hosts_with_and_without_a_port() {
        for (text, shown) in [
            ("vpn.example.org", "vpn.example.org:7"),
            ("vpn.example.org:51820", "vpn.example.org:51820"),
            ("192.0.2.1", "192.0.2.1:7"),
            ("192.0.2.1:99", "192.0.2.1:99"),
            ("2001:db8::1", "[2001:db8::1]:7"),
            ("[2001:db8::1]", "[2001:db8::1]:7"),
            ("[2001:db8::1]:99", "[2001:db8::1]:99"),
        ] {
            let found: Callable = text.parse().unwrap();
            assert_eq!(found.or_port(7).to_string(), shown);
        }
        let long = "x".repeat(254);
        for wrong in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "a\nb",
            "[::1",
            "[::1]x",
            "[1.2.3.4]:1",
            "a:1:2",
            "$(x)",
            &long,
        ] {
            assert_eq!(wrong.parse::<Callable>(), Err(NotCallable), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_a_file_without_a_mistake() {
        let private = PrivateKey::generate(&mut os_rng());
        let server = PrivateKey::generate(&mut os_rng()).public();
        let text = Client {
            private: &private,
            addresses: &["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            dns: &["10.0.0.1".parse().unwrap()],
            server,
            preshared: &PresharedKey::generate(&mut os_rng()),
            endpoint: &Callable::new("192.0.2.1".parse().unwrap(), 51820),
            allowed_ips: &["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        }
        .text();
        let (config, report) = parse(text.as_bytes());
        assert_eq!((report.errors(), report.warnings()), (0, 0));
        assert_eq!(
            config.interface.private_key.unwrap().public(),
            private.public()
        );
        assert_eq!(config.interface.addresses.len(), 2);
        assert_eq!(config.interface.dns.len(), 1);
        let peer = &config.peers[0];
        assert_eq!((peer.public_key, peer.keepalive), (server, Some(KEEPALIVE)));
        assert_eq!(
            peer.endpoint.as_ref().unwrap().to_string(),
            "192.0.2.1:51820"
        );
    }
}

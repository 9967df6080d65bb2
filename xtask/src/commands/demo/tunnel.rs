//! Two gateways in namespaces and the tunnel between them.

use anyhow::{Context as _, Result};
use ringtun_lab::keys::{Keys, preshared};
use ringtun_lab::link::{End as Outside, Hop, Middle};
use ringtun_lab::peers::local::Device;
use ringtun_lab::peers::{Implementation, Prepared};
use ringtun_lab::{NetNs, Pair, names};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

/// How long a handshake and the first echo may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
const OUTER_MTU: u32 = 1500;
const PORT: u16 = 51820;

/// The protocol outside the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Both ends, and the namespace between them.
#[derive(Debug)]
pub struct Tunnel {
    /// The two ends; the first is ringtun.
    pub ends: [Gateway; 2],
    // The bridge between them, held for its Drop.
    _middle: Option<Hop>,
}

/// One end.
#[derive(Debug)]
pub struct Gateway {
    // Ended before its namespace goes.
    device: Device,
    implementation: Implementation,
    inside: [IpAddr; 2],
    outside: Outside,
}

impl Tunnel {
    /// Namespaces, links, gateways, keys and addresses; nothing has been sent.
    ///
    /// A tunnel for each family outside, as not every peer can change it:
    /// wireguard-go 0.0.20260522 sends its first packets after a change from
    /// IPv4 to IPv6 to the first 32 bits of the address.
    pub fn new(implementations: [&Prepared; 2], family: Family) -> Result<Self> {
        let Pair {
            ends: [near, far],
            middle,
        } = Pair::new(Middle::Bridge, OUTER_MTU)?;
        let keys = [Keys::generate()?, Keys::generate()?];
        let preshared_key = preshared()?;
        let ends = [
            Gateway::start(near, implementations[0], 1)?,
            Gateway::start(far, implementations[1], 2)?,
        ];
        for (at, end) in ends.iter().enumerate() {
            let peer = &ends[1 - at];
            let [v4, v6] = peer.inside;
            let endpoint = SocketAddr::new(peer.outside.address(family == Family::V6), PORT);
            let text = format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
                 [Peer]\nPublicKey = {}\nPresharedKey = {preshared_key}\n\
                 AllowedIPs = {v4}/32, {v6}/128\nEndpoint = {endpoint}\n",
                keys[at].private,
                keys[1 - at].public
            );
            end.ns().run_with_input(
                "wg",
                ["setconf", end.device(), "/dev/stdin"],
                text.as_bytes(),
            )?;
            end.up()?;
        }
        Ok(Self {
            ends,
            _middle: middle,
        })
    }
}

impl Gateway {
    fn start(outside: Outside, peer: &Prepared, host: u8) -> Result<Self> {
        let device = Device::start(peer, &outside.ns, &names::unique("wg"))?;
        Ok(Self {
            device,
            implementation: peer.implementation.clone(),
            inside: [
                Ipv4Addr::new(10, 88, 0, host).into(),
                Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, host.into()).into(),
            ],
            outside,
        })
    }

    /// Gives the device its addresses and brings it up.
    fn up(&self) -> Result<()> {
        let device = self.device();
        let [v4, v6] = self.inside;
        // No link-local address and no multicast: what the kernel would send
        // by itself has no peer and would count as dropped.
        self.ns().ip(&format!(
            "link set {device} addrgenmode none multicast off\n\
             addr add {v4}/24 dev {device}\naddr add {v6}/64 dev {device} nodad\n\
             link set {device} up\n"
        ))
    }

    /// Its namespace.
    pub fn ns(&self) -> &NetNs {
        &self.outside.ns
    }

    /// Its device.
    pub fn device(&self) -> &str {
        &self.device.name
    }

    /// Its addresses inside the tunnel, IPv4 and IPv6.
    pub fn inside(&self) -> [IpAddr; 2] {
        self.inside
    }

    /// What runs there.
    pub fn implementation(&self) -> &Implementation {
        &self.implementation
    }

    /// Whether that is ringtun.
    pub fn is_ringtun(&self) -> bool {
        matches!(self.implementation, Implementation::Ringtun(_))
    }

    /// How its program ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.device.process.status()
    }

    /// What `wg show` prints.
    pub fn wg_show(&self) -> Result<String> {
        self.ns().run("wg", ["show", self.device()])
    }

    /// Where its metrics are, as `ringtun show --json` says.
    pub fn metrics_address(&self) -> Result<SocketAddr> {
        let Implementation::Ringtun(binary) = &self.implementation else {
            anyhow::bail!("{} has no metrics", self.implementation);
        };
        let binary = binary.to_str().context("the path of ringtun is no text")?;
        let text = self.ns().run(binary, ["show", self.device(), "--json"])?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        json["metrics"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("no metrics address in: {text}"))
    }
}

//! Two gateways in namespaces and the tunnel between them.

use anyhow::{Context as _, Result};
use ringtun_lab::counters::udp_datagrams;
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
    wants_rings: bool,
}

/// What an end counted outside the tunnel.
#[derive(Debug)]
pub struct OutsideCounts {
    /// How its packets travel, as it says itself.
    pub io: String,
    /// WireGuard data packets, both ways, as it says itself.
    pub data: u64,
    /// UDP datagrams in and out of all sockets of its namespace, as the kernel says.
    pub datagrams: u64,
}

impl Tunnel {
    /// Namespaces, links, gateways, keys and addresses; nothing has been sent.
    ///
    /// A tunnel for each family outside, as not every peer can change it:
    /// wireguard-go 0.0.20260522 sends its first packets after a change from
    /// IPv4 to IPv6 to the first 32 bits of the address.
    pub fn new(
        implementations: [&Prepared; 2],
        family: Family,
        queues: u32,
        io: &str,
    ) -> Result<Self> {
        let Pair {
            ends: [near, far],
            middle,
        } = Pair::with_queues(Middle::Bridge, OUTER_MTU, queues)?;
        let keys = [Keys::generate()?, Keys::generate()?];
        let preshared_key = preshared()?;
        let ends = [
            Gateway::start(near, implementations[0], 1, io)?,
            Gateway::start(far, implementations[1], 2, io)?,
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

impl Tunnel {
    /// What both ends count, if they are ringtun.
    pub fn outside_counts(&self) -> Result<[Option<OutsideCounts>; 2]> {
        let [a, b] = &self.ends;
        Ok([a.outside_counts()?, b.outside_counts()?])
    }
}

impl Gateway {
    /// Whether its data is to go through rings.
    pub fn wants_rings(&self) -> bool {
        self.wants_rings
    }

    fn outside_counts(&self) -> Result<Option<OutsideCounts>> {
        if !self.is_ringtun() {
            return Ok(None);
        }
        let json = self.show()?;
        let workers = json["workers"].as_array().context("no workers")?;
        let packets = |key: &str| -> u64 { workers.iter().filter_map(|w| w[key].as_u64()).sum() };
        Ok(Some(OutsideCounts {
            io: format!(
                "{} ({})",
                json["io"].as_str().unwrap_or_default(),
                json["io_reason"].as_str().unwrap_or_default()
            ),
            data: packets("rx_packets") + packets("tx_packets"),
            datagrams: udp_datagrams(self.ns())?,
        }))
    }

    fn start(outside: Outside, peer: &Prepared, host: u8, io: &str) -> Result<Self> {
        let ringtun = matches!(peer.implementation, Implementation::Ringtun(_));
        let arguments: &[&str] = if ringtun { &["--io", io] } else { &[] };
        let device = Device::start_with(peer, &outside.ns, &names::unique("wg"), arguments)?;
        Ok(Self {
            wants_rings: ringtun && io == "xdp",
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

    /// What `ringtun show --json` says.
    fn show(&self) -> Result<serde_json::Value> {
        let Implementation::Ringtun(binary) = &self.implementation else {
            anyhow::bail!("{} is not ringtun", self.implementation);
        };
        let binary = binary.to_str().context("the path of ringtun is no text")?;
        let text = self.ns().run(binary, ["show", self.device(), "--json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Where its metrics are, as `ringtun show --json` says.
    pub fn metrics_address(&self) -> Result<SocketAddr> {
        let json = self.show()?;
        json["metrics"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("no metrics address in: {json}"))
    }
}

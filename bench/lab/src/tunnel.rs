//! A tunnel between two namespaces, configured and up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::capture::Capture;
use crate::keys::Keys;
use crate::link::{End, Middle};
use crate::peers::Prepared;
use crate::peers::local::Device;
use crate::{NetNs, Pair, link, names, ping};

/// MTU inside: what a tunnel over 1500 bytes and IPv6 has room for.
pub const MTU: u32 = 1420;
/// The listen port of both ends.
pub const PORT: u16 = 51820;
/// An echo request of 56 bytes inside: IPv4, padding, header and tag.
const ECHO_OUTSIDE: usize = 128;
/// The type of a data packet.
const DATA: [u8; 4] = [4, 0, 0, 0];

/// Two ends with a device each.
#[derive(Debug)]
pub struct Tunnel {
    /// The devices, in the order of the ends. Before `pair`, so that they end before their
    /// namespaces do.
    pub devices: [Device; 2],
    /// The namespaces and links.
    pub pair: Pair,
    /// The keys of both ends.
    pub keys: [Keys; 2],
}

/// How to make a [`Tunnel`].
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What is between the ends.
    pub middle: Middle,
    /// IPv6 outside.
    pub v6: bool,
    /// MTU of the links outside; inside it is [`MTU`] or what fits these.
    pub outer_mtu: u32,
    /// Queues of the ends' network cards.
    pub queues: u32,
    /// More arguments for each program.
    pub arguments: &'a [&'a str],
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            middle: Middle::None,
            v6: false,
            outer_mtu: 1500,
            queues: 1,
            arguments: &[],
        }
    }
}

impl Tunnel {
    /// Starts both programs, configures them with `wg`, sets both links up.
    ///
    /// Each end knows the other's endpoint. Inside, the ends are `10.78.0.1`/`fd78::1` and
    /// `10.78.0.2`/`fd78::2`.
    ///
    /// # Errors
    /// A program does not start or refuses its configuration.
    pub fn new(peers: [&Prepared; 2], options: &Options<'_>) -> Result<Tunnel> {
        let pair = Pair::with_queues(options.middle, options.outer_mtu, options.queues)?;
        let [a, b] = &pair.ends;
        let names = [names::unique("w"), names::unique("w")];
        let start = |peer: &Prepared, end: &End, name: &str| {
            Device::start_with(peer, &end.ns, name, options.arguments)
        };
        let tunnel = Tunnel {
            devices: [
                start(peers[0], a, &names[0])?,
                start(peers[1], b, &names[1])?,
            ],
            keys: [Keys::generate()?, Keys::generate()?],
            pair,
        };
        for at in [0, 1] {
            let endpoint = SocketAddr::new(tunnel.pair.ends[1 - at].address(options.v6), PORT);
            tunnel.configure(
                at,
                &format!(
                    "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/32, {}/128\nEndpoint = {endpoint}\n",
                    tunnel.keys[at].private,
                    tunnel.keys[1 - at].public,
                    Tunnel::inside_v4(1 - at),
                    Tunnel::inside_v6(1 - at),
                ),
            )?;
            tunnel.up(&tunnel.pair.ends[at].ns, at)?;
            link::addressed(&tunnel.pair.ends[at].ns, &tunnel.devices[at].name)?;
        }
        Ok(tunnel)
    }

    /// Addresses, MTU and up, for the device of end `at`, which is in `ns`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn up(&self, ns: &NetNs, at: usize) -> Result<()> {
        ns.ip(&format!(
            "addr add {v4}/24 dev {name}\naddr add {v6}/64 dev {name} nodad\nlink set {name} mtu {MTU}\nlink set {name} up\n",
            v4 = Tunnel::inside_v4(at),
            v6 = Tunnel::inside_v6(at),
            name = self.devices[at].name,
        ))
    }

    /// The IPv4 address inside of end `at`.
    #[must_use]
    pub fn inside_v4(at: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 0, at as u8 + 1)
    }

    /// The IPv6 address inside of end `at`.
    #[must_use]
    pub fn inside_v6(at: usize) -> Ipv6Addr {
        Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, at as u16 + 1)
    }

    /// The address inside of end `at`, of one family.
    #[must_use]
    pub fn inside(at: usize, v6: bool) -> IpAddr {
        if v6 {
            Tunnel::inside_v6(at).into()
        } else {
            Tunnel::inside_v4(at).into()
        }
    }

    /// The namespace of end `at`.
    #[must_use]
    pub fn ns(&self, at: usize) -> &NetNs {
        &self.pair.ends[at].ns
    }

    /// `wg setconf` at end `at`.
    ///
    /// # Errors
    /// It is refused.
    pub fn configure(&self, at: usize, text: &str) -> Result<()> {
        self.ns(at)
            .run_with_input(
                "wg",
                ["setconf", &self.devices[at].name, "/dev/stdin"],
                text.as_bytes(),
            )
            .map(drop)
    }

    /// `wg set DEVICE …` at end `at`; the arguments are separated by blanks.
    ///
    /// # Errors
    /// It is refused.
    pub fn set(&self, at: usize, arguments: &str) -> Result<()> {
        let mut all = vec!["set", &self.devices[at].name];
        all.extend(arguments.split_whitespace());
        self.ns(at).run("wg", all).map(drop)
    }

    /// `wg show DEVICE WHAT` at end `at`.
    ///
    /// # Errors
    /// `wg` fails.
    pub fn show(&self, at: usize, what: &str) -> Result<String> {
        self.ns(at)
            .run("wg", ["show", &self.devices[at].name, what])
    }

    /// An echo request from end 0 to end 1 as it was outside, on the hop in the middle: a
    /// data packet, to be sent again.
    ///
    /// # Errors
    /// There is no hop, or nobody answers.
    pub fn echo_outside(&self) -> Result<Vec<u8>> {
        let hop = self.pair.middle.as_ref().context("no hop")?;
        let filter = format!("udp and src host {} and less 200", self.pair.ends[0].v4);
        let capture = Capture::start_filtered(&hop.ns, &hop.devices[0], &filter)?;
        ping::expect_all(self.ns(0), Tunnel::inside_v4(1).into(), 3)?;
        let seen = capture.finish()?;
        let echo = seen
            .udp(PORT)
            .find(|payload| payload.len() == ECHO_OUTSIDE && payload.starts_with(&DATA));
        Ok(echo.context("no echo request outside")?.to_vec())
    }

    /// Pings from end `at` until the other answers; the time that took.
    ///
    /// # Errors
    /// No answer within `limit`.
    pub fn reach(&self, at: usize, v6: bool, limit: Duration) -> Result<Duration> {
        ping::until_answered(self.ns(at), Tunnel::inside(1 - at, v6), limit)
    }
}

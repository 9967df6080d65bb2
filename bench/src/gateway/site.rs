//! A gateway between two links, and the far end of its tunnel.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ringtun::crypto::PublicKey;
use ringtun::crypto::aead::TAG_LEN;
use ringtun::net::clock;
use ringtun::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN};
use ringtun_lab::flood::{self, Target};
use ringtun_lab::keys::Keys;
use ringtun_lab::names;
use ringtun_lab::peers;
use ringtun_lab::peers::local::Device;
use ringtun_lab::tunnel::{MTU, PORT};
use ringtun_lab::{NetNs, wait};
use serde_json::Value;

use super::generator::Generator;
use crate::ring::ends::Sink;
use crate::ring::line::{End, Line};
use crate::tunnel::subject;
use crate::wireguard::{Client, Session};

/// The gateway's addresses, and whom it reaches on each link.
const LAN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)];
const WAN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// A host behind the far end.
const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;
/// Bytes of an inner packet's headers.
const INNER_HEADERS: usize = 20 + 8;
/// How long a run goes on before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long an answer to a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// ringtun with `--fast-forward`, as the name of an implementation.
pub const FAST_FORWARD: &str = "ringtun-ff";

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the LAN into the tunnel.
    Encrypt,
    /// Out of the tunnel to the LAN.
    Decrypt,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Encrypt, Self::Decrypt];

    /// As the cases are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

/// What one run gave, packets per second.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// At the sink.
    pub arrived: f64,
    /// By the generator.
    pub sent: f64,
}

/// One implementation as a gateway.
pub struct Site {
    /// As DESIGN.md calls it.
    pub name: String,
    /// Which version runs.
    pub version: String,
    tunnel: Option<Far>,
    /// Behind the device, so that its program ends before its namespace does.
    lan: Line,
    wan: Line,
}

/// The tunnel and its far end.
struct Far {
    _device: Device,
    client: Client,
}

impl Site {
    /// Starts the implementation and tells it of links, routes and the far end.
    pub fn new(name: &str, ringtun: &Path) -> Result<Site> {
        let lan = Line::new()?;
        let wan = lan.after()?;
        addresses(&lan, &wan)?;
        let forwards = name == FAST_FORWARD;
        let alike = if forwards { "ringtun-xdp" } else { name };
        let implementation = subject::implementation(alike, ringtun)?;
        let ns = &lan.far().ns;
        let Some((implementation, io)) = implementation else {
            ns.ip(&format!("route add 10.2.0.0/16 via {}\n", WAN[1]))?;
            return Ok(Site {
                name: name.to_owned(),
                version: "the kernel forwards".to_owned(),
                tunnel: None,
                lan,
                wan,
            });
        };
        let peer = implementation.prepare(&peers::default_cache())?;
        let device = names::unique("w");
        let mut arguments = io.to_vec();
        if forwards {
            arguments.extend(["--lan", &lan.far().device, "--fast-forward"]);
        }
        let device = Device::start_with(&peer, ns, &device, &arguments)?;
        let keys = Keys::generate()?;
        let gateway = PublicKey::from_base64(&keys.public)?;
        let client = Client::new(&gateway, SocketAddr::from((WAN[1], PORT)))?;
        let far = client.public().to_base64();
        ns.run_with_input(
            "wg",
            ["setconf", &device.name, "/dev/stdin"],
            format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {far}\nAllowedIPs = 10.2.0.0/16\nEndpoint = {}:{PORT}\n",
                keys.private, WAN[1]
            )
            .as_bytes(),
        )?;
        ns.ip(&format!(
            "link set {0} mtu {MTU}\nlink set {0} up\nroute add 10.2.0.0/16 dev {0}\n",
            device.name
        ))?;
        if forwards {
            until_forwarding(ns, ringtun, &device)?;
        }
        Ok(Site {
            name: name.to_owned(),
            version: peer.version,
            tunnel: Some(Far {
                _device: device,
                client,
            }),
            lan,
            wan,
        })
    }

    /// One run.
    pub fn measure(
        &mut self,
        direction: Direction,
        size: usize,
        rate: Option<u32>,
        time: Duration,
    ) -> Result<Sample> {
        let session = match &mut self.tunnel {
            Some(far) => Some(far.connect(self.wan.far())?),
            None => None,
        };
        let (from, to, first) = match direction {
            Direction::Encrypt => (self.lan.near(), self.wan.far(), self.lan.macs()?[0]),
            Direction::Decrypt => (self.wan.far(), self.lan.near(), self.wan.macs()?[1]),
        };
        let sink = Sink::at(to)?;
        let mut generator = Generator::new(from)?;
        let mut packets = Packets::new(direction, size, first, session)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let begin = Instant::now();
                let len = packets.len();
                let go = || !stop.load(Relaxed);
                let sent = generator.send(len, |frame| packets.write(frame), rate, go)?;
                Ok::<_, anyhow::Error>(sent as f64 / begin.elapsed().as_secs_f64())
            });
            // The time is what is asked for here, not an event.
            thread::sleep(WARM_UP);
            let before = sink.arrived();
            let begin = Instant::now();
            thread::sleep(time);
            let after = sink.arrived();
            let seconds = begin.elapsed().as_secs_f64();
            stop.store(true, Relaxed);
            let sent = sending.join().map_err(|_| anyhow!("a thread panicked"))??;
            let arrived = after?.saturating_sub(before?);
            ensure!(arrived > 0, "nothing arrived");
            Ok(Sample {
                arrived: arrived as f64 / seconds,
                sent,
            })
        })
    }
}

/// Waits until packets go past the kernel's stack.
fn until_forwarding(ns: &NetNs, ringtun: &Path, device: &Device) -> Result<()> {
    let program = ringtun.to_str().context("the path of the binary")?;
    wait::until("fast forward", PATIENCE, || {
        let text = ns.run(program, ["show", &device.name, "--json"])?;
        let shown: Value = serde_json::from_str(&text)?;
        Ok(shown["lan"][0]["forwarding"].is_object().then_some(()))
    })
}

/// Addresses of all ends, and who is at the other side of each link: neither generator nor sink
/// answers ARP.
fn addresses(lan: &Line, wan: &Line) -> Result<()> {
    let ns = &lan.far().ns;
    ns.sysctl("net.ipv4.ip_forward", "1")?;
    let mac = |end: &End| -> Result<String> {
        let bytes = flood::hardware_address(&end.ns, &end.device)?;
        Ok(bytes.map(|byte| format!("{byte:02x}")).join(":"))
    };
    for (device, addresses, other) in [
        (&lan.far().device, LAN, mac(lan.near())?),
        (&wan.near().device, WAN, mac(wan.far())?),
    ] {
        ns.ip(&format!(
            "addr add {}/24 dev {device}\nneigh replace {} lladdr {other} dev {device} nud permanent\n",
            addresses[0], addresses[1]
        ))?;
    }
    wan.far().ns.ip(&format!(
        "addr add {}/24 dev {}\n",
        WAN[1],
        wan.far().device
    ))
}

impl Far {
    /// A new session with the gateway.
    fn connect(&mut self, end: &End) -> Result<Session> {
        let socket: UdpSocket = end.ns.udp(SocketAddr::from((WAN[1], PORT)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let gateway = SocketAddrV4::new(WAN[0], PORT);
        let (initiation, sent) = self.client.initiate(clock::boot(), 1)?;
        socket.send_to(&initiation, gateway)?;
        let mut answer = [0; 2048];
        let begin = Instant::now();
        let session = loop {
            ensure!(begin.elapsed() < PATIENCE, "no answer to a handshake");
            let (len, _) = socket
                .recv_from(&mut answer)
                .context("an answer to a handshake")?;
            // Else an initiation of its own, or what is left of the last run.
            if let Ok(session) = self.client.accept(&sent, &answer[..len]) {
                break session;
            }
        };
        // It may send once it has received.
        let mut keepalive = [0; KEEPALIVE_LEN];
        session.seal(session.reserve(1), &mut keepalive);
        socket.send_to(&keepalive, gateway)?;
        Ok(session)
    }
}

/// Frames that a generator sends.
struct Packets {
    /// What each begins as.
    frame: Vec<u8>,
    session: Option<Session>,
}

impl Packets {
    /// Inner packets of `size` bytes, to this hardware address.
    fn new(
        direction: Direction,
        size: usize,
        to: [u8; 6],
        session: Option<Session>,
    ) -> Result<Packets> {
        let payload = size
            .checked_sub(INNER_HEADERS)
            .context("a size below headers")?;
        let (source, destination) = match direction {
            Direction::Encrypt => (LAN[1], REMOTE),
            Direction::Decrypt => (REMOTE, LAN[1]),
        };
        let inner = flood::frame(&target(to, destination, 9), source, 9, &vec![0xa5; payload]);
        if direction == Direction::Encrypt || session.is_none() {
            let session = None;
            return Ok(Packets {
                frame: inner,
                session,
            });
        }
        // Padded as the protocol says.
        let mut text = inner[14..].to_vec();
        text.resize(text.len().next_multiple_of(16).min(MTU as usize), 0);
        let mut message = vec![0; DATA_HEADER_LEN];
        message.extend(text);
        message.extend([0; TAG_LEN]);
        let frame = flood::frame(&target(to, WAN[0], PORT), WAN[1], PORT, &message);
        Ok(Packets { frame, session })
    }

    fn len(&self) -> usize {
        self.frame.len()
    }

    fn write(&mut self, to: &mut [u8]) {
        to.copy_from_slice(&self.frame);
        if let Some(session) = &self.session {
            session.seal(session.reserve(1), &mut to[HEADERS..]);
        }
    }
}

const fn target(hardware: [u8; 6], address: Ipv4Addr, port: u16) -> Target {
    Target {
        hardware,
        address,
        port,
    }
}

//! Two gateways with a router between them, traffic both ways, and what a dashboard is for: drops
//! of several reasons, a peer that does not answer, one that roams, a flood of handshakes.
//!
//! ```text
//!   berlin ══ AF_XDP ══ router ══ AF_XDP ══ lisbon
//!      │                   └── flood, replays ──▶
//!      └── phone: an endpoint where nobody is
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use ringtun::crypto::{PublicKey, hash};
use ringtun::tunnel::cookie;
use ringtun_lab::flood::{self, Flood, Target};
use ringtun_lab::keys::Keys;
use ringtun_lab::link::{Hop, Middle};
use ringtun_lab::peers::{self, Implementation};
use ringtun_lab::prometheus::Prometheus;
use ringtun_lab::registry::Directory;
use ringtun_lab::stream::{self, Pattern, Plan};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Tunnel, wait};

/// How long gateways and Prometheus may take to be there.
const SOON: Duration = Duration::from_secs(60);
const METRICS: u16 = 9586;
/// `struct message_initiation`: 116 bytes, MAC1 over them, MAC2.
const MAC1_AT: usize = 116;
const INITIATION: usize = 148;
/// Addresses that the flood seems to come from, and initiations per second: enough for cookies,
/// little enough that the curves of the traffic go on.
const SOURCES: u32 = 2000;
const FLOOD_RATE: u64 = 8000;
/// What is wrong on purpose comes in bursts.
const BETWEEN_BURSTS: Duration = Duration::from_millis(500);
/// Bytes per second of one piece of traffic after the other, from berlin, and from lisbon.
const PIECE: Duration = Duration::from_secs(3);
const RATES: [[u64; 6]; 2] = [
    [
        4_000_000, 10_000_000, 18_000_000, 12_000_000, 6_000_000, 14_000_000,
    ],
    [
        2_000_000, 3_000_000, 2_500_000, 8_000_000, 5_000_000, 3_000_000,
    ],
];

/// See the module.
pub struct Site {
    tunnel: Tunnel,
    directory: Directory,
    phone: Keys,
}

impl Site {
    /// Starts the gateways; they have not spoken to each other yet.
    ///
    /// # Errors
    /// The binary has no XDP program, or a namespace cannot be made.
    pub fn new(ringtun: &Path) -> Result<Site> {
        let prepared =
            Implementation::Ringtun(ringtun.to_owned()).prepare(&peers::default_cache())?;
        let directory = Directory::new()?;
        let names = directory.path().join("names.conf");
        let names = names
            .to_str()
            .context("the directory for temporary files is no text")?;
        let listen = format!("0.0.0.0:{METRICS}");
        let options = Options {
            middle: Middle::Router,
            arguments: &[
                "--io",
                "xdp",
                "--metrics",
                &listen,
                "--metrics-names",
                names,
            ],
            ..Options::default()
        };
        let tunnel = Tunnel::new([&prepared, &prepared], &options)?;
        let site = Site {
            tunnel,
            directory,
            phone: Keys::generate()?,
        };
        let [berlin, lisbon] = [0, 1].map(|at| &site.tunnel.keys[at].public);
        let named = [
            (berlin, "berlin"),
            (lisbon, "lisbon"),
            (&site.phone.public, "Anna's phone"),
        ];
        let sections = named
            .map(|(key, name)| format!("[Peer]\nPublicKey = {key}\n# friendly_name = {name}\n"));
        fs::write(names, sections.concat())?;
        for at in [0, 1] {
            // Router solicitations would be drops that nobody provoked.
            let setting = format!(
                "net.ipv6.conf.{}.disable_ipv6",
                site.tunnel.devices[at].name
            );
            site.tunnel.ns(at).sysctl(&setting, "1")?;
        }
        // Replies to the flood's addresses go as far as the router.
        let hop = site.hop()?;
        hop.ns.ip("route add blackhole 10.66.0.0/16\n")?;
        Ok(site)
    }

    /// Where files go that live as long as it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where Prometheus runs.
    pub fn ns(&self) -> &NetNs {
        self.tunnel.ns(0)
    }

    /// What it scrapes.
    pub fn targets(&self) -> [SocketAddr; 2] {
        [0, 1].map(|at| SocketAddr::new(self.tunnel.pair.ends[at].v4.into(), METRICS))
    }

    fn hop(&self) -> Result<&Hop> {
        self.tunnel.pair.middle.as_ref().context("no router")
    }

    /// Waits until both were scraped twice: a rate needs two samples.
    ///
    /// # Errors
    /// They are not.
    pub fn scraped(&self, prometheus: &Prometheus<'_>) -> Result<()> {
        let twice = "count(count_over_time(ringtun_build_info[1m]) >= 2)";
        wait::until("two scrapes of both gateways", SOON, || {
            let seen = prometheus.query(twice)?;
            Ok(seen.iter().any(|sample| sample.value == 2.0).then_some(()))
        })
    }

    /// Everything, for so long.
    ///
    /// # Errors
    /// Traffic does not get through.
    pub fn run(&self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        self.tunnel.reach(0, false, SOON)?;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let streams = [0, 1].map(|from| {
                let ended = &ended;
                scope.spawn(move || self.traffic(from, ended))
            });
            let events = self.events(begun, time);
            ended.store(true, Relaxed);
            for stream in streams {
                stream.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            events
        })
    }

    /// One connection after the other, at changing rates.
    fn traffic(&self, from: usize, ended: &AtomicBool) -> Result<()> {
        let to = SocketAddr::new(Tunnel::inside_v4(1 - from).into(), 0);
        for rate in RATES[from].into_iter().cycle() {
            if ended.load(Relaxed) {
                break;
            }
            let plan = Plan::paced(rate, PIECE);
            stream::transfer(self.tunnel.ns(from), self.tunnel.ns(1 - from), to, &plan)?;
        }
        Ok(())
    }

    /// What goes wrong, one after the other.
    fn events(&self, begun: Instant, time: Duration) -> Result<()> {
        let at = |part: f64| begun + time.mul_f64(part);
        // The pace is what is asked for here, not an event.
        let until = |then: Instant| thread::sleep(then.saturating_duration_since(Instant::now()));
        until(at(0.15));
        let echo = self.tunnel.echo_outside()?;
        let nobody = self.tunnel.pair.ends[1].v4;
        self.tunnel.set(
            0,
            &format!(
                "peer {} allowed-ips 10.78.0.3/32 endpoint {nobody}:9",
                self.phone.public
            ),
        )?;
        while Instant::now() < at(0.4) {
            self.wrong(&echo)?;
            until(Instant::now() + BETWEEN_BURSTS);
        }
        until(at(0.5));
        self.tunnel.set(0, "listen-port 51999")?;
        until(at(0.6));
        let flood = self.flood()?;
        until(at(0.8));
        drop(flood);
        until(at(1.0));
        Ok(())
    }

    /// A burst of packets that are dropped, each kind for its reason.
    fn wrong(&self, echo: &[u8]) -> Result<()> {
        let mut unknown = echo.to_vec();
        unknown[4..8].copy_from_slice(&[0xff; 4]);
        let mut forged = echo.to_vec();
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        let mut initiation = [0; INITIATION];
        initiation[0] = 1;
        let socket = self.tunnel.ns(0).udp((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let to = SocketAddr::new(self.tunnel.pair.ends[1].v4.into(), PORT);
        for (payload, count) in [
            (b"hello".as_slice(), 8),
            (&initiation, 6),
            (&unknown, 12),
            (&forged, 4),
            (echo, 10),
        ] {
            for _ in 0..count {
                socket.send_to(payload, to)?;
            }
        }
        let inside = self.tunnel.ns(0).udp((Tunnel::inside_v4(0), 0).into())?;
        for host in [3, 99, 99, 99] {
            // The phone, which is not there, and an address that is nobody's; the kernel tells a
            // socket of what came of the packet before.
            let _ = inside.send_to(b"x", (Ipv4Addr::new(10, 78, 0, host), 9));
        }
        Ok(())
    }

    /// Initiations for lisbon that pass MAC1 and fail after a Diffie-Hellman.
    fn flood(&self) -> Result<Flood> {
        let hop = self.hop()?;
        let end = &self.tunnel.pair.ends[1];
        let target = Target {
            hardware: flood::hardware_address(&end.ns, &end.device)?,
            address: end.v4,
            port: PORT,
        };
        let public = PublicKey::from_base64(&self.tunnel.keys[1].public)?;
        let key = cookie::mac1_key(&public);
        let mut random = Pattern::new(8);
        let frames = (0..SOURCES).map(|number| {
            let mut message = [0; INITIATION];
            random.fill(&mut message[..MAC1_AT]);
            message[..4].copy_from_slice(&[1, 0, 0, 0]);
            let mac1 = hash::mac(&key, &[&message[..MAC1_AT]]);
            message[MAC1_AT..MAC1_AT + mac1.len()].copy_from_slice(&mac1);
            let [_, _, high, low] = number.to_be_bytes();
            let source = Ipv4Addr::new(10, 66, high, low);
            flood::frame(&target, source, 1024 + number as u16, &message)
        });
        Flood::start(&hop.ns, &hop.devices[1], frames.collect(), FLOOD_RATE)
    }
}

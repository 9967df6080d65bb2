//! One implementation between two namespaces, ready to be measured.

use std::fs;
use std::net::IpAddr;
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringtun_lab::link::Middle;
use ringtun_lab::peers::local::Device;
use ringtun_lab::peers::{self, Implementation};
use ringtun_lab::process::Process;
use ringtun_lab::tunnel::{MTU, Options};
use ringtun_lab::{NetNs, Pair, Tunnel, ping, usage};

use crate::load::Path;

pub const IPERF_PORT: u16 = 5201;
const CONGESTION: &str = "net.ipv4.tcp_congestion_control";
/// How long a tunnel or a server may take to be up.
const START: Duration = Duration::from_secs(60);

/// The same for every implementation.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The ringtun binary.
    pub ringtun: &'a FilePath,
    /// TCP's congestion control.
    pub congestion: &'a str,
    /// Packets of one train.
    pub train: u8,
}

/// Two namespaces with one implementation.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the load goes to.
    pub to: IpAddr,
    /// From the first namespace to the second.
    pub path: Path,
    /// That of `iperf3`.
    pub server: Process,
    devices: Vec<Device>,
    pair: Pair,
}

/// Processor time so far, seconds: of the machine, and of both ends' programs.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    machine: f64,
    processes: Option<f64>,
}

/// What a namespace may choose without any change of the machine: cubic if it was allowed, else
/// reno, which always is. The machine's own default may pace (BBR).
#[must_use]
pub fn default_congestion() -> String {
    let allowed = fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
    let cubic = allowed.is_ok_and(|names| names.split_whitespace().any(|name| name == "cubic"));
    if cubic { "cubic" } else { "reno" }.to_owned()
}

/// Whether the kernel has this congestion control.
///
/// # Errors
/// It has not; the message has those that it has.
pub fn known_congestion(name: &str) -> Result<()> {
    let known = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    ensure!(
        known.split_whitespace().any(|other| other == name),
        "no congestion control {name} in this kernel: there are {}; more with modprobe tcp_{name}",
        known.trim()
    );
    Ok(())
}

/// The implementation behind a name, and the arguments it needs.
///
/// # Errors
/// There is none.
pub fn implementation(
    name: &str,
    ringtun: &FilePath,
) -> Result<Option<(Implementation, &'static [&'static str])>> {
    let ours = || Implementation::Ringtun(ringtun.to_owned());
    Ok(match name {
        "none" => None,
        "ringtun-udp" => Some((ours(), &["--io", "udp"])),
        "ringtun-xdp" => Some((ours(), &["--io", "xdp"])),
        "wireguard-go" => Some((Implementation::WireguardGo, &[])),
        "boringtun" => Some((Implementation::Boringtun, &[])),
        _ => anyhow::bail!(
            "no implementation {name}: there are ringtun-udp, ringtun-xdp, wireguard-go, \
             boringtun, none"
        ),
    })
}

impl Subject {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be had, or does not carry traffic.
    pub fn start(name: &str, setup: Setup<'_>) -> Result<Subject> {
        let Some((implementation, arguments)) = implementation(name, setup.ringtun)? else {
            let pair = Pair::new(Middle::None, 1500)?;
            for end in &pair.ends {
                end.ns.ip(&format!("link set {} mtu {MTU}\n", end.device))?;
            }
            let to = pair.ends[1].v4.into();
            return Subject::serve(name, "plain veth".into(), pair, Vec::new(), to, setup);
        };
        let peer = implementation.prepare(&peers::default_cache())?;
        let options = Options {
            arguments,
            ..Options::default()
        };
        let Tunnel { pair, devices, .. } = Tunnel::new([&peer, &peer], &options)?;
        let to = Tunnel::inside_v4(1).into();
        Subject::serve(name, peer.version, pair, devices.into(), to, setup)
    }

    fn serve(
        name: &str,
        version: String,
        pair: Pair,
        devices: Vec<Device>,
        to: IpAddr,
        setup: Setup<'_>,
    ) -> Result<Subject> {
        for end in &pair.ends {
            let set = end.ns.sysctl(CONGESTION, setup.congestion);
            set.with_context(|| {
                format!("a namespace may not choose it; sysctl -w {CONGESTION}={}, or --congestion reno", setup.congestion)
            })?;
        }
        let port = IPERF_PORT.to_string();
        let server = pair.ends[1]
            .ns
            .start("iperf3", ["-s", "--forceflush", "-p", &port])?;
        server.wait_line(START, |line| line.contains("Server listening"))?;
        ping::until_answered(&pair.ends[0].ns, to, START)?;
        Ok(Subject {
            name: name.to_owned(),
            version,
            to,
            path: Path::new([&pair.ends[0].ns, &pair.ends[1].ns], to, setup.train)?,
            server,
            devices,
            pair,
        })
    }

    /// Both namespaces: where load comes from, and where it goes.
    pub fn ends(&self) -> [&NetNs; 2] {
        [&self.pair.ends[0].ns, &self.pair.ends[1].ns]
    }

    /// Processor time so far.
    ///
    /// # Errors
    /// A program has ended.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut sum = 0.0;
        for device in &self.devices {
            sum += device.process.usage()?.cpu;
        }
        Ok(Cpu {
            machine: usage::machine()?,
            processes: (!self.devices.is_empty()).then_some(sum),
        })
    }
}

impl Cpu {
    /// What was used since `before` for so many bytes: seconds per GB of the machine, and of the
    /// programs.
    pub fn since(self, before: Cpu, bytes: f64) -> (f64, Option<f64>) {
        let per = |seconds: f64| seconds / (bytes / 1e9);
        let processes = self.processes.zip(before.processes);
        (
            per(self.machine - before.machine),
            processes.map(|(after, before)| per(after - before)),
        )
    }
}

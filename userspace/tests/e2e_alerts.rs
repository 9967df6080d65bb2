//! Each alert of `packaging/prometheus` fires by its own cause, brought about here, and is
//! resolved when that is gone.
//!
//! Two gateways over AF_XDP, with a third one for what a single gateway has, and a Prometheus that
//! scrapes them. A minute of the rules is a second here; thresholds are as they are.
#![cfg(ringtun_bpf)]

mod e2e;
#[path = "e2e/initiations.rs"]
mod initiations;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringtun_lab::flood::{self, Flood, Target};
use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::prometheus::Prometheus;
use ringtun_lab::registry::{self, FileGuard};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Process, Tunnel, names, tools, wait};

use initiations::{INITIATION, initiations};

/// How long to wait for what must come, on a machine whose processors are taken. An initiator
/// gives up after 90 s.
const SOON: Duration = Duration::from_secs(180);
/// A data packet of 32 bytes for a session that is not there.
const UNKNOWN: [u8; 32] = {
    let mut packet = [0xff; 32];
    packet[0] = 4;
    packet[1] = 0;
    packet[2] = 0;
    packet[3] = 0;
    packet
};
/// Its cause cannot be had here: a system call of AF_XDP that fails for no reason of the device.
const OUT_OF_REACH: &str = "RingtunRingFailed";

fn packaged(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("packaging/prometheus").join(file)
}

/// The rules with minutes made seconds, in `directory`.
fn hurried(directory: &Path, file: &str) -> PathBuf {
    let text = fs::read_to_string(packaged(file)).unwrap();
    let mut out = String::new();
    let mut minutes = false;
    for (at, c) in text.char_indices() {
        let ends = text[at + 1..].starts_with([']', '\n']);
        out.push(if c == 'm' && minutes && ends { 's' } else { c });
        // Not those in the name of a record.
        minutes = match c {
            '[' | ' ' => true,
            _ => minutes && c.is_ascii_digit(),
        };
    }
    assert_ne!(out, text);
    let path = directory.join(file);
    fs::write(&path, out).unwrap();
    path
}

/// A gateway by itself, in the namespace of Prometheus.
struct Third<'a> {
    ns: &'a NetNs,
    name: String,
    metrics: SocketAddr,
    _socket: FileGuard,
}

impl<'a> Third<'a> {
    fn new(ns: &'a NetNs, port: u16) -> Self {
        let name = names::unique("w");
        Self {
            ns,
            metrics: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            _socket: registry::adopt_file(wait::uapi_path(&name)).unwrap(),
            name,
        }
    }

    /// Runs it, with these variables.
    fn start(&self, environment: &[(&str, &str)]) -> Process {
        let mut command = self.ns.command(e2e::ringtun().program);
        command.envs(environment.iter().copied());
        let metrics = self.metrics.to_string();
        command.args(["run", "--foreground", "--io", "udp", "--metrics-peers", "1"]);
        command.args(["--metrics", &metrics, &self.name]);
        let process = self.ns.spawn(command).unwrap();
        wait::uapi(&self.name, SOON).unwrap();
        self.ns.ip(&format!("link set {} up\n", self.name)).unwrap();
        process
    }
}

/// In PromQL.
fn firing(alert: &str) -> String {
    format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}")
}

struct Watcher<'a> {
    prometheus: Prometheus<'a>,
    /// Alerts that fired.
    fired: RefCell<BTreeSet<String>>,
}

impl Watcher<'_> {
    fn firing(&self, alert: &str) -> bool {
        !self.prometheus.query(&firing(alert)).unwrap().is_empty()
    }

    /// Waits for all of them, or for the end of all of them.
    #[track_caller]
    fn until(&self, alerts: &[&str], fire: bool) {
        for alert in alerts {
            let what = format!("{alert} {}", if fire { "to fire" } else { "to end" });
            let waited = wait::until(&what, SOON, || {
                Ok((self.firing(alert) == fire).then_some(()))
            });
            if let Err(error) = waited {
                let all = self.prometheus.query("ALERTS").unwrap();
                panic!("{error:#}: {all:#?}\n{}", self.prometheus.output());
            }
            if fire {
                self.fired.borrow_mut().insert((*alert).to_owned());
            }
        }
    }

    /// They do not fire, do so after `begin`, and no more after `end`.
    fn fire_between(&self, alerts: &[&str], begin: impl FnOnce(), end: impl FnOnce()) {
        for alert in alerts {
            assert!(!self.firing(alert), "{alert} has no cause yet");
        }
        begin();
        self.until(alerts, true);
        end();
        self.until(alerts, false);
    }
}

/// What makes a program believe that it is a minute and a half ago.
fn minute_and_a_half_ago() -> [(&'static str, String); 3] {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = paths.find(|path| path.exists()).expect("libfaketime");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", "-90s".to_owned()),
        // Timers go on as they are.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[test]
fn each_alert_fires_by_its_cause_and_is_resolved_when_that_goes() {
    tools::need(&[("nft", "nftables"), ("faketime", "faketime")]).unwrap();
    let ringtun = e2e::ringtun();
    let options = Options {
        middle: Middle::Bridge,
        arguments: &[
            "--io",
            "xdp",
            "--ring-size",
            "64",
            "--metrics",
            "0.0.0.0:9586",
        ],
        ..Options::default()
    };
    let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
    let hop = tunnel.pair.middle.as_ref().unwrap();
    let (left, right) = (tunnel.ns(0), tunnel.ns(1));
    tunnel.reach(0, false, SOON).unwrap();
    let (alone, again) = (Third::new(left, 9590), Third::new(left, 9591));
    let _alone = alone.start(&[]);
    let restarted = Cell::new(Some(again.start(&[])));

    let directory = tempfile::tempdir().unwrap();
    let outside = |at: usize| SocketAddr::new(tunnel.pair.ends[at].v4.into(), 9586);
    let targets = [outside(0), outside(1), alone.metrics, again.metrics];
    let rules = ["rules.yml", "alerts.yml"].map(|file| hurried(directory.path(), file));
    let watcher = Watcher {
        prometheus: Prometheus::start(left, directory.path(), &targets, &rules).unwrap(),
        fired: RefCell::default(),
    };
    wait::until("all gateways", SOON, || {
        let up = "up == 1 and on (instance) ringtun_device_up == 1";
        Ok((watcher.prometheus.query(up)?.len() == targets.len()).then_some(()))
    })
    .unwrap();

    // Two peers where one has series of its own, and nobody answers.
    let nobody = ["RingtunTunnelDown", "RingtunPeersAtCap"];
    let peers = [(); 2].map(|()| Keys::generate().unwrap().public);
    let wg = |arguments: &str, input: &str| {
        let all = ["set", alone.name.as_str()].into_iter();
        let all = all.chain(arguments.split(' '));
        left.run_with_input("wg", all, input.as_bytes()).unwrap();
    };
    wg("private-key /dev/stdin", &Keys::generate().unwrap().private);
    let to = tunnel.pair.ends[1].v4;
    for peer in &peers {
        wg(
            &format!("peer {peer} persistent-keepalive 1 endpoint {to}:9"),
            "",
        );
    }

    // One packet for another such peer. It takes 90 s until the gateway gives up, which is
    // seen at the end. (Keepalives would have it begin anew again and again.)
    let silent = Keys::generate().unwrap().public;
    tunnel
        .set(
            0,
            &format!("peer {silent} allowed-ips 10.78.0.9/32 endpoint {to}:9"),
        )
        .unwrap();
    let inside = SocketAddr::new(Tunnel::inside_v4(0).into(), 0);
    let inside = left.udp(inside).unwrap();
    inside.send_to(b"x", "10.78.0.9:9").unwrap();

    // From outside: what is wrong, a hundred a second of each, and floods.
    let target = Target {
        hardware: flood::hardware_address(right, &tunnel.pair.ends[1].device).unwrap(),
        address: to,
        port: PORT,
    };
    let frame = |payload: &[u8]| flood::frame(&target, Ipv4Addr::new(10, 66, 0, 1), 1024, payload);
    let old = tunnel.echo_outside().unwrap();
    let mut nonsense = [0; INITIATION];
    nonsense[0] = 1;
    let wrong = [&old[..], &nonsense, &UNKNOWN].map(frame).to_vec();
    let of_wrong = &[
        "RingtunDrops",
        "RingtunReplayBurst",
        "RingtunHandshakesRefused",
    ];
    let hostile = initiations(&target, &tunnel.keys[1].public, 20_000);
    let data = vec![frame(&UNKNOWN)];
    for (alerts, frames, rate) in [
        (&of_wrong[..], wrong, 300),
        (&["RingtunUnderLoad"], hostile, 20_000),
        (&["RingtunRingFull"], data, 300_000),
    ] {
        let flood = Cell::new(None);
        let start = || Flood::start(&hop.ns, &hop.devices[1], frames, rate).unwrap();
        let begin = || flood.set(Some(start()));
        watcher.fire_between(alerts, begin, || drop(flood.take()));
    }

    // What comes back is lost.
    let lossy = format!(
        "add table netdev t\nadd chain netdev t c {{ type filter hook ingress device {} priority 0; }}\nadd rule netdev t c udp sport {PORT} drop\n",
        hop.devices[1]
    );
    let nft = |text: &str| {
        let said = hop.ns.run_with_input("nft", ["-f", "-"], text.as_bytes());
        said.unwrap();
    };
    let inside = Tunnel::inside_v4(1).to_string();
    let _traffic = left.start("ping", ["-q", "-i", "0.05", &inside]).unwrap();
    watcher.fire_between(
        &["RingtunOneWay"],
        || nft(&lossy),
        || nft("delete table netdev t\n"),
    );

    let set = |ns: &NetNs, link: &str, state: &str| {
        ns.ip(&format!("link set {link} {state}\n")).unwrap();
    };
    let device = &tunnel.devices[1].name;
    watcher.fire_between(
        &["RingtunDeviceDown"],
        || set(right, device, "down"),
        || set(right, device, "up"),
    );
    watcher.fire_between(
        &["RingtunScrapeMissing"],
        || set(&hop.ns, &hop.devices[1], "down"),
        || set(&hop.ns, &hop.devices[1], "up"),
    );

    let restart = |environment: &[(&str, &str)]| {
        let began = format!(
            "process_start_time_seconds{{instance=\"{}\"}}",
            again.metrics
        );
        let before = watcher.prometheus.value(&began).ok();
        if let Some(process) = restarted.take() {
            process.stop(SOON).unwrap();
        }
        restarted.set(Some(again.start(environment)));
        wait::until("a scrape", SOON, || {
            Ok((watcher.prometheus.value(&began).ok() != before).then_some(()))
        })
        .unwrap();
    };
    let clock = minute_and_a_half_ago();
    let clock = clock
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    watcher.fire_between(&["RingtunClock"], || restart(&clock), || restart(&[]));
    watcher.until(&["RingtunRestarts"], false);
    watcher.fire_between(
        &["RingtunRestarts"],
        || (0..4).for_each(|_| restart(&[])),
        || {},
    );

    watcher.until(&nobody, true);
    for peer in &peers {
        wg(&format!("peer {peer} remove"), "");
    }
    watcher.until(&nobody, false);

    // Whether it did, as it tells of giving up for a while only.
    let failing = "RingtunHandshakesFailing";
    let ever = format!("present_over_time({}[1h])", firing(failing));
    wait::until("handshakes to have failed", SOON, || {
        Ok((!watcher.prometheus.query(&ever)?.is_empty()).then_some(()))
    })
    .unwrap();
    watcher.until(&[failing], false);

    let alerts = fs::read_to_string(packaged("alerts.yml")).unwrap();
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut fired = watcher.fired.take();
    fired.extend([failing, OUT_OF_REACH].map(str::to_owned));
    assert_eq!(fired, alerts.map(str::to_owned).collect());
}

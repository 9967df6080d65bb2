//! Each alert of `packaging/prometheus` fires by its own cause, brought about here, and is
//! resolved when that is gone.
//!
//! Two gateways over AF_XDP, with a third one for what a single gateway has, and a Prometheus that
//! scrapes them. A minute of the rules is a second here; thresholds are as they are.
#![cfg(ringtun_bpf)]

mod e2e;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringtun::crypto::PublicKey;
use ringtun::tunnel::cookie;
use ringtun_lab::capture::Capture;
use ringtun_lab::flood::{self, Flood, Target};
use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::prometheus::Prometheus;
use ringtun_lab::registry::{self, FileGuard};
use ringtun_lab::stream::Pattern;
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Process, Tunnel, names, ping, tools, wait};

/// How long to wait for what must come, on a machine whose processors are taken. An initiator
/// gives up after 90 s.
const SOON: Duration = Duration::from_secs(180);
/// Between two packets that are wrong: a hundred a second, where the rules ask for ten.
const APART: Duration = Duration::from_millis(10);
/// `struct message_initiation`: 116 bytes, MAC1 over them, MAC2.
const MAC1_AT: usize = 116;
const INITIATION: usize = 148;
/// A data packet of 32 bytes for a session that is not there.
const UNKNOWN: [u8; 32] = {
    let mut packet = [0xff; 32];
    packet[0] = 4;
    packet[1] = 0;
    packet[2] = 0;
    packet[3] = 0;
    packet
};
/// Alerts whose cause cannot be had here.
const OUT_OF_REACH: [&str; 1] = [
    // A system call of AF_XDP that fails for no reason of the device.
    "RingtunRingFailed",
];

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

struct Watcher<'a> {
    prometheus: Prometheus<'a>,
    /// Alerts that fired.
    fired: RefCell<BTreeSet<String>>,
}

impl Watcher<'_> {
    fn firing(&self, alert: &str) -> bool {
        let all = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        !self.prometheus.query(&all).unwrap().is_empty()
    }

    /// Waits for all of them, or for the end of all of them.
    #[track_caller]
    fn until(&self, alerts: &[&str], fire: bool) {
        for alert in alerts {
            self.fired.borrow_mut().insert((*alert).to_owned());
            let what = format!("{alert} {}", if fire { "to fire" } else { "to end" });
            let waited = wait::until(&what, SOON, || {
                Ok((self.firing(alert) == fire).then_some(()))
            });
            if let Err(error) = waited {
                let all = self.prometheus.query("ALERTS").unwrap();
                panic!("{error:#}: {all:#?}\n{}", self.prometheus.output());
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

/// Something that is done again and again, until dropped.
struct Repeated {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeated {
    fn start(again: impl Fn() + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            while !its.load(Ordering::Relaxed) {
                again();
                // The pace is what is asked for here, not an event.
                thread::sleep(APART);
            }
        });
        Self {
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Initiations that pass MAC1 and cost a Diffie-Hellman, from as many addresses.
fn initiations(target: &Target, public: &str) -> Vec<Vec<u8>> {
    let public: [u8; 32] = STANDARD.decode(public).unwrap().try_into().unwrap();
    let key = cookie::mac1_key(&PublicKey::from_bytes(public));
    let mut random = Pattern::new(8);
    let one = |number: u32| {
        let mut message = [0; INITIATION];
        random.fill(&mut message[..MAC1_AT]);
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        let mac1 = ringtun::crypto::hash::mac(&key, &[&message[..MAC1_AT]]);
        message[MAC1_AT..MAC1_AT + 16].copy_from_slice(&mac1);
        let [_, _, high, low] = number.to_be_bytes();
        flood::frame(target, Ipv4Addr::new(10, 66, high, low), 1024, &message)
    };
    (0..20_000).map(one).collect()
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

/// A data packet on its way from end 0 to end 1.
fn data_packet(tunnel: &Tunnel) -> Vec<u8> {
    let hop = tunnel.pair.middle.as_ref().unwrap();
    let filter = format!("udp and src host {}", tunnel.pair.ends[0].v4);
    let capture = Capture::start_filtered(&hop.ns, &hop.devices[0], &filter).unwrap();
    ping::expect_all(tunnel.ns(0), Tunnel::inside_v4(1).into(), 3).unwrap();
    let seen = capture.finish().unwrap();
    let packet = seen.udp(PORT).find(|payload| payload[0] == 4);
    packet.expect("a data packet").to_vec()
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
    let inside = left
        .udp(SocketAddr::new(Tunnel::inside_v4(0).into(), 0))
        .unwrap();
    inside.send_to(b"x", "10.78.0.9:9").unwrap();

    // Packets from outside, a hundred a second of each.
    let old = data_packet(&tunnel);
    let mut nonsense = [0; INITIATION];
    nonsense[0] = 1;
    let socket = left
        .udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
        .unwrap();
    let listens = SocketAddr::new(to.into(), PORT);
    let wrong = [
        "RingtunDrops",
        "RingtunReplayBurst",
        "RingtunHandshakesRefused",
    ];
    let traffic = Cell::new(None);
    let send = move || {
        for packet in [&old[..], &nonsense, &UNKNOWN] {
            // Refused where a buffer is full is as good as lost.
            let _ = socket.send_to(packet, listens);
        }
    };
    watcher.fire_between(
        &wrong,
        || traffic.set(Some(Repeated::start(send))),
        || drop(traffic.take()),
    );

    // What comes back is lost.
    let lossy = format!(
        "add table netdev t\nadd chain netdev t c {{ type filter hook ingress device {} priority 0; }}\nadd rule netdev t c udp sport {PORT} drop\n",
        hop.devices[1]
    );
    let nft = |text: &str| {
        let said = hop.ns.run_with_input("nft", ["-f", "-"], text.as_bytes());
        said.unwrap();
    };
    let _traffic = Repeated::start(move || {
        let to = SocketAddr::new(Tunnel::inside_v4(1).into(), 9);
        let _ = inside.send_to(b"x", to);
    });
    watcher.fire_between(
        &["RingtunOneWay"],
        || nft(&lossy),
        || nft("delete table netdev t\n"),
    );

    // Floods.
    let target = Target {
        hardware: flood::hardware_address(right, &tunnel.pair.ends[1].device).unwrap(),
        address: to,
        port: PORT,
    };
    let data = vec![flood::frame(
        &target,
        Ipv4Addr::new(10, 66, 0, 1),
        1024,
        &UNKNOWN,
    )];
    let hostile = initiations(&target, &tunnel.keys[1].public);
    for (alert, frames, rate) in [
        ("RingtunUnderLoad", hostile, 20_000),
        ("RingtunRingFull", data, 300_000),
    ] {
        let flood = Cell::new(None);
        watcher.fire_between(
            &[alert],
            || {
                flood.set(Some(
                    Flood::start(&hop.ns, &hop.devices[1], frames, rate).unwrap(),
                ))
            },
            || drop(flood.take()),
        );
    }

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

    // It tells of giving up for a while.
    let failing = "RingtunHandshakesFailing";
    let all = format!("ALERTS{{alertname=\"{failing}\", alertstate=\"firing\"}}");
    wait::until("handshakes to have failed", SOON, || {
        let ever = watcher
            .prometheus
            .query(&format!("present_over_time({all}[1h])"))?;
        Ok((!ever.is_empty()).then_some(()))
    })
    .unwrap();
    watcher.until(&[failing], false);

    let alerts = fs::read_to_string(packaged("alerts.yml")).unwrap();
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut fired = watcher.fired.take();
    fired.extend(OUT_OF_REACH.map(str::to_owned));
    assert_eq!(fired, alerts.map(str::to_owned).collect());
}

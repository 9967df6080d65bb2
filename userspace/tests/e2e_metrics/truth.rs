//! Two gateways with a Prometheus: what PromQL says is what was sent, what was provoked, and what
//! `wg show` says.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use ringtun_lab::link::Middle;
use ringtun_lab::prometheus::Prometheus;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{Tunnel, ping, wait};
use tempfile::TempDir;

use crate::{ALL_FAMILIES, SOON, e2e, packaged, packaging};

/// Of an initiation, `struct message_initiation`.
const INITIATION: usize = 148;

struct Watched {
    tunnel: Tunnel,
    directory: TempDir,
}

impl Watched {
    fn new(io: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = directory.path().join("names.conf");
        let arguments = [
            "--io",
            io,
            "--metrics",
            "0.0.0.0:9586",
            "--metrics-families",
            ALL_FAMILIES,
            "--metrics-names",
            names.to_str().unwrap(),
        ];
        let options = Options {
            middle: Middle::Bridge,
            arguments: &arguments,
            ..Options::default()
        };
        let ringtun = e2e::ringtun();
        let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
        for at in [0, 1] {
            // Its router solicitations would be drops that nobody provoked.
            let name = tunnel.devices[at].name.as_str();
            let setting = format!("net.ipv6.conf.{name}.disable_ipv6");
            tunnel.ns(at).sysctl(&setting, "1").unwrap();
        }
        // The process reads it with the first scrape, and again when it changed.
        let [a, b] = [0, 1].map(|at| tunnel.keys[at].public.as_str());
        let text = format!(
            "[Peer]\n# friendly_name = left \"a\"\nPublicKey = {a}\n[Peer]\n#friendly_name=right\nPublicKey = {b}\n"
        );
        fs::write(&names, text).unwrap();
        Self { tunnel, directory }
    }

    fn prometheus(&self) -> Prometheus<'_> {
        let targets = [0, 1].map(|at| SocketAddr::new(self.tunnel.pair.ends[at].v4.into(), 9586));
        let rules = ["prometheus/rules.yml", "prometheus/alerts.yml"].map(packaged);
        let directory = self.directory.path();
        Prometheus::start(self.tunnel.ns(0), directory, &targets, &rules).unwrap()
    }

    /// The label of end `at` in PromQL.
    fn of(&self, at: usize) -> String {
        format!("device=\"{}\"", self.tunnel.devices[at].name)
    }

    /// Bytes received and sent by end `at`, as `wg show` has them.
    fn transfer(&self, at: usize) -> [f64; 2] {
        let text = self.tunnel.show(at, "transfer").unwrap();
        let mut words = text.split_whitespace().skip(1);
        [0, 1].map(|_| words.next().unwrap().parse().unwrap())
    }

    /// Sends `payloads` from outside to the listen port of end 1, from end 0's namespace.
    fn outside(&self, payload: &[u8], count: usize) {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let socket = self.tunnel.ns(0).udp(any).unwrap();
        let to = SocketAddr::new(self.tunnel.pair.ends[1].v4.into(), PORT);
        for _ in 0..count {
            socket.send_to(payload, to).unwrap();
        }
    }

    /// Sends empty-handed datagrams into the tunnel at end 0.
    fn inside(&self, from: Ipv4Addr, to: Ipv4Addr, count: usize) {
        let socket = self
            .tunnel
            .ns(0)
            .udp(SocketAddr::new(from.into(), 0))
            .unwrap();
        for _ in 0..count {
            socket.send_to(b"x", SocketAddr::new(to.into(), 9)).unwrap();
        }
    }
}

/// Waits until an expression has this value.
#[track_caller]
fn until(prometheus: &Prometheus<'_>, expression: &str, value: f64) {
    let mut last = None;
    let waited = wait::until(expression, SOON, || {
        last = prometheus.query(expression)?.first().map(|s| s.value);
        Ok((last == Some(value)).then_some(()))
    });
    assert!(waited.is_ok(), "{expression} is {last:?}, not {value}");
}

fn drops(of: &str, reason: &str) -> String {
    format!("ringtun_drops_total{{{of}, reason=\"{reason}\"}}")
}

fn the_truth(io: &str) {
    let watched = Watched::new(io);
    let tunnel = &watched.tunnel;
    let [a, b] = [0, 1].map(|at| watched.of(at));
    tunnel.reach(0, false, SOON).unwrap();
    let prometheus = watched.prometheus();
    until(&prometheus, "count(up{job=\"ringtun\"} == 1)", 2.0);
    for of in [&a, &b] {
        until(
            &prometheus,
            &format!("ringtun_device_info{{{of}, io=\"{io}\"}}"),
            1.0,
        );
        until(&prometheus, &format!("ringtun_device_up{{{of}}}"), 1.0);
    }

    // What is sent is what is counted.
    let sum = |name: &str, of: &str| format!("sum({name}{{{of}}})");
    let inner = |of: &str| {
        prometheus
            .value(&sum("ringtun_inner_tx_packets_total", of))
            .unwrap()
    };
    let before = inner(&a);
    let there = Tunnel::inside_v4(1);
    watched.inside(Tunnel::inside_v4(0), there, 40);
    until(
        &prometheus,
        &sum("ringtun_inner_tx_packets_total", &a),
        before + 40.0,
    );
    const BYTES: u64 = 10_000_000;
    for at in [0, 1] {
        let address = SocketAddr::new(Tunnel::inside_v4(1 - at).into(), 5000);
        let plan = Plan::bulk(BYTES);
        stream::transfer(tunnel.ns(at), tunnel.ns(1 - at), address, &plan).unwrap();
    }

    // Drops, each for its reason.
    let echo = tunnel.echo_outside().unwrap();
    let mut unknown = echo.clone();
    unknown[4..8].copy_from_slice(&[0xff; 4]);
    let mut forged = echo.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut initiation = [0; INITIATION];
    initiation[0] = 1;
    let stranger = Ipv4Addr::new(10, 78, 0, 77);
    let name = &tunnel.devices[0].name;
    tunnel
        .ns(0)
        .ip(&format!("addr add {stranger}/32 dev {name}\n"))
        .unwrap();
    watched.outside(b"hello", 9);
    watched.outside(&initiation, 3);
    watched.outside(&unknown, 6);
    watched.outside(&forged, 2);
    watched.outside(&echo, 4);
    watched.inside(Tunnel::inside_v4(0), Ipv4Addr::new(10, 78, 0, 99), 7);
    watched.inside(stranger, there, 5);
    for (of, reason, count) in [
        (&b, "malformed", 9.0),
        (&b, "bad-mac1", 3.0),
        (&b, "unknown-index", 6.0),
        (&b, "data-auth", 2.0),
        (&b, "replay", 4.0),
        (&a, "no-peer-for-destination", 7.0),
        (&b, "source-not-allowed", 5.0),
    ] {
        until(&prometheus, &drops(of, reason), count);
    }
    let all = prometheus.value(&sum("ringtun_drops_total", &a)).unwrap();
    assert_eq!(all, 7.0, "and nothing else");

    // Once all is still, PromQL and `wg show` say the same.
    for (at, of) in [(0, &a), (1, &b)] {
        let agreed = wait::until("agreement with `wg show`", SOON, || {
            let before = watched.transfer(at);
            let families = [
                ["ringtun_peer_rx_bytes_total", "ringtun_peer_tx_bytes_total"],
                [
                    "wireguard_peer_receive_bytes_total",
                    "wireguard_peer_transmit_bytes_total",
                ],
            ];
            let told = families.map(|pair| pair.map(|name| sum(name, of)));
            let interface = of.replace("device=", "interface=");
            let third = [
                "wireguard_received_bytes_total",
                "wireguard_sent_bytes_total",
            ]
            .map(|name| sum(name, &interface));
            let mut same = true;
            for [rx, tx] in told.iter().chain([&third]) {
                same &= [prometheus.value(rx)?, prometheus.value(tx)?] == before;
            }
            Ok((same && watched.transfer(at) == before).then_some(before))
        });
        let [rx, tx] = agreed.unwrap();
        println!("{io}, end {at}: {rx} bytes in, {tx} out, as `wg show` has it");
        assert!(rx.min(tx) > BYTES as f64 && rx.max(tx) < 1.3 * BYTES as f64);
        let handshake = tunnel.show(at, "latest-handshakes").unwrap();
        let handshake: f64 = handshake
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        until(
            &prometheus,
            &format!("ringtun_peer_last_handshake_seconds{{{of}}}"),
            handshake,
        );
    }
    // Nothing is lost on the way: all that one sealed the other opened, replays aside.
    let packets = |name: &str, of: &str| format!("sum({name}{{{of}}})");
    let sent = packets("ringtun_peer_tx_packets_total", &a);
    let received = packets("ringtun_peer_rx_packets_total", &b);
    until(&prometheus, &format!("{sent} - {received}"), 0.0);

    // The other end moves to another port, and is followed.
    let moved = format!("ringtun_endpoint_changes_total{{{b}}}");
    let before = prometheus.value(&moved).unwrap();
    tunnel.set(0, "listen-port 51999").unwrap();
    ping::expect_all(tunnel.ns(0), there.into(), 3).unwrap();
    until(&prometheus, &moved, before + 1.0);

    for (at, named) in [(0, "right"), (1, "left \\\"a\\\"")] {
        let of = watched.of(at);
        let info = format!("ringtun_peer_info{{{of}, friendly_name=\"{named}\"}}");
        until(&prometheus, &info, 1.0);
    }
    let handshakes =
        format!("sum(ringtun_handshakes_total{{{a}, outcome=\"completed\", role=\"initiator\"}})");
    assert!(prometheus.value(&handshakes).unwrap() >= 1.0);
    for name in ["ringtun_seal_seconds_count", "ringtun_open_seconds_count"] {
        assert!(prometheus.value(&sum(name, &a)).unwrap() >= 1.0, "{name}");
    }
    let batches =
        |operation: &str| format!("ringtun_batch_packets_sum{{{a}, operation=\"{operation}\"}}");
    // Ten megabytes in packets of 1420 bytes.
    assert!(prometheus.value(&batches("seal")).unwrap() > 7000.0);
    if io == "xdp" {
        every_metric_that_is_named_exists(&watched, &prometheus);
    }
}

fn every_metric_that_is_named_exists(watched: &Watched, prometheus: &Prometheus<'_>) {
    let keepalive = format!(
        "peer {} persistent-keepalive 25",
        watched.tunnel.keys[1].public
    );
    watched.tunnel.set(0, &keepalive).unwrap();
    let missing = || -> anyhow::Result<Vec<String>> {
        let there = prometheus.names()?;
        let named = packaging::named().into_iter().chain(packaging::recorded());
        Ok(named.filter(|name| !there.contains(name)).collect())
    };
    let waited = wait::until("every metric", SOON, || {
        Ok(missing()?.is_empty().then_some(()))
    });
    assert!(waited.is_ok(), "{:?} were not scraped", missing().unwrap());
    println!("{} names", packaging::named().len());
}

#[test]
fn prometheus_tells_what_was_sent_by_sockets() {
    the_truth("udp");
}

#[cfg(ringtun_bpf)]
#[test]
fn prometheus_tells_what_was_sent_through_rings_and_knows_every_metric_that_is_named() {
    the_truth("xdp");
}

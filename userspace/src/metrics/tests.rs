//! The endpoint as a scraper, and as somebody worse, sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use super::snapshot::DropTotals;
use super::*;
use crate::crypto::PublicKey;
use crate::datapath::rings::RingTotals;
use crate::drops::DropReason;
use ringtun_common::tables::Counter;

/// A device with more peers than are shown.
struct Busy;

const PEERS: usize = 50;

impl MetricsSource for Busy {
    fn snapshot(&self, series: &Series) -> Snapshot {
        let max_peers = series.max_peers;
        let peer = |n: usize| PeerMetrics {
            public_key: PublicKey::from_bytes([n as u8; 32]),
            traffic: TrafficMetrics {
                rx_bytes: n as u64,
                tx_bytes: 1 << 40,
                rx_packets: 2,
                tx_packets: 3,
            },
            last_handshake: crate::tunnel::time::WallTime {
                secs: 1_700_000_000,
                nanos: 9,
            },
            keepalive: 25 * u16::from(n == 0),
            endpoint: Some(SocketAddr::from(([192, 0, 2, 1], 51820))),
            allowed_ips: vec!["10.0.0.1/32".parse().unwrap(), "fd00::/64".parse().unwrap()],
        };
        let queue = |name| QueueMetrics {
            name,
            length: 3,
            capacity: 4096,
        };
        Snapshot {
            devices: ["wg0", "wg1"]
                .map(|device| DeviceMetrics {
                    device: device.to_owned(),
                    io: "udp",
                    peer_count: PEERS,
                    peers: (0..PEERS.min(max_peers)).map(peer).collect(),
                    public_key: Some(PublicKey::from_bytes([200; 32])),
                    up: true,
                    rest: TrafficMetrics {
                        rx_bytes: 77,
                        ..Default::default()
                    },
                    staged: 6,
                    under_load: device == "wg1",
                    endpoint_changes: 8,
                    batches: Default::default(),
                    handshakes: HandshakeMetrics {
                        initiations: 9,
                        completed_initiator: 5,
                        completed_responder: 4,
                        gave_up: 1,
                        rekeys: 3,
                        responses: 4,
                        stopped_answering: 2,
                        cookies_received: 7,
                    },
                    drops: DropTotals::collect(|reason| u64::from(reason == DropReason::Replay)),
                    queues: vec![queue("events")],
                    workers: vec![
                        WorkerMetrics {
                            outer_rx_packets: 7,
                            ..Default::default()
                        };
                        2
                    ],
                })
                .into(),
            queues: vec![queue("initiations")],
            frames: vec![FrameMetrics {
                wakeups: 11,
                total: 64,
                in_flight: 5,
            }],
            nics: vec![NicMetrics {
                name: "eth0".to_owned(),
                side: "wan",
                driver: "veth".to_owned(),
                xdp: "native".to_owned(),
                transfer: "copy".to_owned(),
                rings: vec![RingTotals::default(); 2],
                ring_slots: [("rx", 64), ("tx", 64), ("fill", 64), ("completion", 64)],
            }],
            xdp: Vec::new(),
            steered: [(
                1,
                Counter {
                    packets: 4,
                    bytes: 400,
                },
            )]
            .into(),
            names: Default::default(),
        }
    }

    fn failures(&self) -> Vec<String> {
        Vec::new()
    }

    fn not_ready(&self) -> Vec<String> {
        vec![
            "wg0 is down".to_owned(),
            "wg1 has no private key".to_owned(),
        ]
    }
}

/// How long to wait for what must come, on a machine whose processors are taken:
/// silent connections are closed after five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `client` against an endpoint with at most `max_peers` peers.
fn with_endpoint(max_peers: usize, client: impl FnOnce(SocketAddr) + Send + 'static) {
    let series = Series {
        max_peers,
        families: FamilyGroup::ALL.into(),
        ..Series::default()
    };
    with_series(series, client);
}

fn with_series(series: Series, client: impl FnOnce(SocketAddr) + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let any_port = MetricsListen::At("127.0.0.1:0".parse().unwrap());
        let server = MetricsServer::new(any_port.bind().unwrap().unwrap(), series).unwrap();
        let address = server.address();
        let client = tokio::task::spawn_blocking(move || client(address));
        tokio::select! {
            result = client => result.unwrap(),
            never = server.serve(Rc::new(Busy)) => match never {},
        }
    });
}

fn request(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused and closed before all of it is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    request(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    )
}

#[test]
fn a_scrape_has_every_reason_and_bounded_peers() {
    with_endpoint(10, |address| {
        let answer = get(address, "/metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        for reason in DropReason::ALL {
            let n = u8::from(*reason == DropReason::Replay);
            let label = reason.label();
            for device in ["wg0", "wg1"] {
                let line =
                    format!("ringtun_drops_total{{device=\"{device}\",reason=\"{label}\"}} {n}\n");
                assert!(body.contains(&line), "{line}");
            }
        }
        let of_peers = |name: &str| body.lines().filter(|l| l.starts_with(name)).count();
        // The others together are one more.
        assert_eq!(of_peers("ringtun_peer_rx_bytes_total{"), 2 * 11);
        assert_eq!(of_peers("ringtun_peer_last_handshake_seconds{"), 2 * 10);
        let key = PublicKey::from_bytes([3; 32]);
        for line in [
            format!("ringtun_peer_rx_bytes_total{{device=\"wg0\",public_key=\"{key}\"}} 3\n"),
            format!(
                "ringtun_peer_tx_bytes_total{{device=\"wg1\",public_key=\"{key}\"}} {}\n",
                1u64 << 40
            ),
            format!(
                "ringtun_peer_last_handshake_seconds{{device=\"wg0\",public_key=\"{key}\"}} 1700000000\n"
            ),
            "ringtun_peer_rx_bytes_total{device=\"wg0\",public_key=\"others\"} 77\n".into(),
            format!("ringtun_peer_rx_packets_total{{device=\"wg0\",public_key=\"{key}\"}} 2\n"),
            format!(
                "ringtun_peer_info{{device=\"wg0\",friendly_name=\"\",public_key=\"{key}\"}} 1\n"
            ),
            "ringtun_metrics_peers_limit 10\n".into(),
            "ringtun_staged_packets{device=\"wg0\"} 6\n".into(),
            "ringtun_under_load{device=\"wg0\"} 0\n".into(),
            "ringtun_under_load{device=\"wg1\"} 1\n".into(),
            "ringtun_rekeys_total{device=\"wg0\"} 3\n".into(),
            "ringtun_endpoint_changes_total{device=\"wg0\"} 8\n".into(),
            "ringtun_worker_wakeups_total{worker=\"0\"} 11\n".into(),
            format!(
                "wireguard_sent_bytes_total{{allowed_ips=\"10.0.0.1/32,fd00::/64\",friendly_name=\"\",interface=\"wg0\",public_key=\"{key}\",remote_ip=\"192.0.2.1\",remote_port=\"51820\"}} {}\n",
                1u64 << 40
            ),
            format!(
                "wireguard_peer_receive_bytes_total{{device=\"wg0\",public_key=\"{key}\"}} 3\n"
            ),
            format!(
                "wireguard_peer_allowed_ips_info{{allowed_ips=\"fd00::/64\",device=\"wg1\",family=\"IPv6\",public_key=\"{key}\"}} 1\n"
            ),
            "ringtun_peers{device=\"wg0\"} 50\n".into(),
            "ringtun_peers_omitted{device=\"wg0\"} 40\n".into(),
            "ringtun_handshake_initiations_total{device=\"wg0\"} 9\n".into(),
            "ringtun_handshakes_total{device=\"wg0\",outcome=\"completed\",role=\"initiator\"} 5\n"
                .into(),
            "ringtun_handshakes_total{device=\"wg0\",outcome=\"completed\",role=\"responder\"} 4\n"
                .into(),
            "ringtun_handshakes_total{device=\"wg0\",outcome=\"gave-up\",role=\"initiator\"} 1\n"
                .into(),
            "ringtun_queue_length{device=\"wg1\",queue=\"events\"} 3\n".into(),
            "ringtun_queue_capacity{device=\"\",queue=\"initiations\"} 4096\n".into(),
            "ringtun_xdp_steered_packets_total{cpu=\"1\"} 4\n".into(),
            "ringtun_xdp_steered_bytes_total{cpu=\"1\"} 400\n".into(),
            "ringtun_frames{state=\"free\",worker=\"0\"} 59\n".into(),
            "ringtun_frames{state=\"in-flight\",worker=\"0\"} 5\n".into(),
            "ringtun_outer_rx_packets_total{device=\"wg1\",worker=\"1\"} 7\n".into(),
            format!(
                "ringtun_build_info{{version=\"{}\",xdp=\"{}\"}} 1\n",
                env!("CARGO_PKG_VERSION"),
                if crate::bpf::embedded().is_some() {
                    "embedded"
                } else {
                    "none"
                }
            ),
        ] {
            assert!(body.contains(&line), "{line}\n{body}");
        }
    });
}

#[test]
fn only_the_families_that_were_asked_for_are_there() {
    let all =
        FamilyGroup::ALL.map(|group| (group, ["ringtun_", "wireguard_sent_", "wireguard_peer_"]));
    for (at, (group, prefixes)) in all.into_iter().enumerate() {
        let series = Series {
            families: vec![group],
            ..Series::default()
        };
        with_series(series, move |address| {
            let answer = get(address, "/metrics");
            for (other, prefix) in prefixes.into_iter().enumerate() {
                assert_eq!(
                    answer.contains(&format!("\n{prefix}")),
                    at == other,
                    "{prefix}"
                );
            }
        });
    }
}

#[test]
fn health_is_ok_and_readiness_tells_what_is_missing() {
    with_endpoint(1, |address| {
        let health = get(address, "/healthz");
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("ok\n"));
        let ready = get(address, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.ends_with("\r\n\r\nwg0 is down\nwg1 has no private key\n"));
    });
}

#[test]
fn only_these_pages_and_only_reading() {
    with_endpoint(1, |address| {
        assert!(get(address, "/").contains("<a href=\"/metrics\">"));
        assert!(get(address, "/metrics?x=1").starts_with("HTTP/1.1 200"));
        for path in [
            "/metrics/",
            "/../etc/passwd",
            "/%2e%2e/",
            "//metrics",
            "/favicon.ico",
        ] {
            assert!(get(address, path).starts_with("HTTP/1.1 404"), "{path}");
        }
        let post = request(
            address,
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        );
        assert!(
            post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"),
            "{post}"
        );
        let head = request(address, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
    });
}

#[test]
fn requests_that_are_none_are_refused_and_the_next_is_served() {
    with_endpoint(1, |address| {
        let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 100_000]].concat();
        let many = [
            "GET / HTTP/1.1\r\n".to_owned(),
            "a: b\r\n".repeat(3000),
            "\r\n".into(),
        ]
        .concat();
        for bad in [
            &b"\0\0\0\0\r\n\r\n"[..],
            b"set=1\n\n",
            b"GET\r\n\r\n",
            &endless,
            many.as_bytes(),
        ] {
            let answer = request(address, bad);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{:?}: {answer}",
                &bad[..20.min(bad.len())]
            );
        }
        assert!(get(address, "/metrics").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn silent_connections_are_closed_and_do_not_keep_scrapes_out() {
    with_endpoint(1, |address| {
        let connect = |_| TcpStream::connect(address).unwrap();
        // More than are served at once.
        let mut silent: Vec<_> = (0..40).map(connect).collect();
        assert!(get(address, "/metrics").starts_with("HTTP/1.1 200"));
        silent[0].set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(silent[0].read(&mut [0; 1000]).unwrap(), 0, "closed");
    });
}

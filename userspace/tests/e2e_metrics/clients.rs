//! A gateway with 10,000 peers: how long a scrape takes, and what clients can do to it that do not
//! read, do not finish what they ask, or ask for nonsense.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringtun_lab::peers::local::Device;
use ringtun_lab::{NetNs, scrape, wait};

use crate::many_peers::{PEERS, gateway};
use crate::{ALL_FAMILIES, SOON};

/// What a scrape of that many with all families may take: processor time of the gateway, and from
/// connecting to the last byte, which is more on a machine that others use too.
const SCRAPE: Duration = Duration::from_millis(200);
const SLACK: u32 = 3;
const SCRAPES: usize = 9;
/// How much more without optimisation.
const UNOPTIMISED: u32 = 10;
const MEBIBYTE: u64 = 1 << 20;
const SLOW_CLIENTS: usize = 10_000;
/// Unread answers (32 MiB, and one more), and what making one of them takes.
const GROWTH: u64 = 128 * MEBIBYTE;

struct Gateway {
    ns: NetNs,
    device: Device,
    address: SocketAddr,
}

impl Gateway {
    fn new(arguments: &[&str]) -> Self {
        let all = [&["--metrics-peers", "10000"], arguments].concat();
        let (ns, device) = gateway(&all, "PersistentKeepalive = 25");
        Self {
            ns,
            device,
            address: "127.0.0.1:9586".parse().unwrap(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = self.ns.connect(self.address, SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// One scrape, from connecting to the last byte; the time, and how many bytes it had.
    fn timed(&self) -> (Duration, usize) {
        let begin = Instant::now();
        let mut stream = self.connect();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 200"));
        (begin.elapsed(), answer.len())
    }
}

/// Some of them, the fastest first.
fn scrapes(gateway: &Gateway) -> Vec<(Duration, usize)> {
    let mut all: Vec<_> = (0..SCRAPES).map(|_| gateway.timed()).collect();
    all.sort();
    all
}

/// What the binary under test may take.
fn allowed() -> Duration {
    if std::env::var_os("RINGTUN_TEST_BINARY").is_some() {
        SCRAPE
    } else {
        SCRAPE * UNOPTIMISED
    }
}

#[test]
fn ten_thousand_peers_with_all_families_are_scraped_within_the_time() {
    let gateway = Gateway::new(&["--metrics-families", ALL_FAMILIES]);
    let cpu = || gateway.device.process.usage().unwrap().cpu;
    let before = cpu();
    let all = scrapes(&gateway);
    let used = Duration::from_secs_f64((cpu() - before) / SCRAPES as f64);
    let samples = scrape::scrape(&gateway.ns, gateway.address).unwrap();
    for family in [
        "ringtun_peer_tx_bytes_total",
        "wireguard_sent_bytes_total",
        "wireguard_peer_transmit_bytes_total",
    ] {
        assert_eq!(samples.of(family).count(), PEERS, "{family}");
    }
    assert_eq!(samples.sum("ringtun_peers_omitted").unwrap(), 0.0);
    let ((fastest, bytes), (median, _)) = (all[0], all[all.len() / 2]);
    println!(
        "{PEERS} peers, all families: {fastest:?}, median {median:?}, {used:?} of a processor, {bytes} bytes"
    );
    assert!(used <= allowed(), "{used:?} of a processor");
    // Others on the machine make it slower, never faster.
    assert!(fastest <= allowed() * SLACK, "{fastest:?}");
}

#[test]
fn clients_that_do_not_read_or_ask_for_nonsense_cost_bounded_memory() {
    let gateway = Gateway::new(&["--metrics-families", ALL_FAMILIES]);
    // What a scrape needs while it is made is no growth.
    gateway.timed();
    let before = gateway.device.process.usage().unwrap().peak;

    // Many who ask and never read, and ten thousand who never finish asking: as many of
    // them as the kernel lets wait.
    let unread: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = gateway.connect();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    let slow = || {
        let stream = TcpStream::connect_timeout(&gateway.address, Duration::from_millis(1)).ok()?;
        (&stream).write_all(b"GET /metrics HTTP/1.1\r\nX: ").ok()?;
        Some(stream)
    };
    let all = || Ok((0..SLOW_CLIENTS).filter_map(|_| slow()).collect());
    let unfinished: Vec<TcpStream> = gateway.ns.within(all).unwrap();
    println!("{} of {SLOW_CLIENTS} slow clients wait", unfinished.len());
    assert!(unfinished.len() > 100);
    // `wg` is answered meanwhile: the control thread is not theirs.
    let begin = Instant::now();
    gateway
        .ns
        .run("wg", ["show", &gateway.device.name, "listen-port"])
        .unwrap();
    let answered = begin.elapsed();
    assert!(answered < Duration::from_secs(5), "{answered:?}");

    // They are cut off, and whoever comes then is served.
    let served = wait::until("a scrape", SOON * 3, || {
        let mut stream = gateway.connect();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut head = [0; 12];
        let read = stream.read_exact(&mut head);
        Ok((read.is_ok() && head.ends_with(b"200")).then_some(()))
    });
    served.unwrap();
    drop((unread, unfinished));

    // A head without an end, a body without an end, methods and paths that are none.
    let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 1 << 20]].concat();
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let body = [
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n".as_slice(),
        &[b'z'; 1 << 20],
    ]
    .concat();
    let wrong: [(&[u8], &str); 6] = [
        (&endless, "HTTP/1.1 4"),
        (long_path.as_bytes(), "HTTP/1.1 4"),
        (&body, "HTTP/1.1 405"),
        (
            b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 405",
        ),
        (
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 404",
        ),
        (
            b"GET /metrics/x HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 404",
        ),
    ];
    for _ in 0..20 {
        for (request, expected) in wrong {
            let mut stream = gateway.connect();
            // It may be refused and closed before all of it is written.
            let _ = stream.write_all(request);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            // Closed with bytes unread, the answer can be lost with the connection.
            let reset = answer.is_empty() && request.len() > 1000;
            assert!(
                reset || answer.starts_with(expected),
                "{expected}: {answer}"
            );
        }
    }
    let grown = gateway
        .device
        .process
        .usage()
        .unwrap()
        .peak
        .saturating_sub(before);
    println!(
        "memory: {} MiB, then {} MiB more",
        before / MEBIBYTE,
        grown / MEBIBYTE
    );
    assert!(grown < GROWTH, "{grown} bytes");
    assert!(scrapes(&gateway)[0].0 <= allowed() * SLACK);
}

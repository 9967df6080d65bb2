//! The UAPI socket of a running program: cut anywhere, with ten thousand peers, under traffic.

mod e2e;

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringtun_lab::keys::Keys;
use ringtun_lab::peers::local::Device;
use ringtun_lab::tunnel::Options;
use ringtun_lab::{NetNs, Tunnel, names, wait};

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);

/// A public key that nobody has: any bytes but the low-order points will do.
fn public_key(number: u32) -> [u8; 32] {
    let mut key = [0x5a; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn connect(device: &str) -> UnixStream {
    let stream = wait::uapi(device, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Reads up to and including the empty line that ends an answer.
fn answer(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\n\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

#[test]
fn a_conversation_may_be_cut_at_every_byte() {
    let ns = NetNs::new("u").unwrap();
    let device = Device::start(&e2e::ringtun(), &ns, &names::unique("w")).unwrap();
    let request = format!(
        "set=1\nprivate_key={}\nlisten_port=0\nfwmark=7\nreplace_peers=true\n\
         public_key={}\npreshared_key={}\nendpoint=[fd00::1]:5\n\
         persistent_keepalive_interval=0\nreplace_allowed_ips=true\n\
         allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8\n\nget=1\n\n",
        hex(&[0x42; 32]),
        hex(&public_key(1)),
        hex(&[0x43; 32]),
    );
    let normal = |text: String| -> String {
        // Port 0 means another port each time.
        let keep = |line: &&str| !line.starts_with("listen_port=");
        text.lines().filter(keep).collect::<Vec<_>>().join("\n")
    };
    let mut stream = connect(&device.name);
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream), "errno=0\n\n");
    let expected = normal(answer(&mut stream));
    for line in ["allowed_ip=10.0.0.0/8", "endpoint=[fd00::1]:5", "errno=0"] {
        assert!(expected.contains(line), "{expected}");
    }
    for cut in 1..request.len() {
        let mut stream = connect(&device.name);
        stream.write_all(&request.as_bytes()[..cut]).unwrap();
        wait::until_read(&stream, SOON).unwrap();
        stream.write_all(&request.as_bytes()[cut..]).unwrap();
        assert_eq!(answer(&mut stream), "errno=0\n\n", "cut at {cut}");
        assert_eq!(normal(answer(&mut stream)), expected, "cut at {cut}");
    }
    let mut stream = connect(&device.name);
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
        wait::until_read(&stream, SOON).unwrap();
    }
    assert_eq!(answer(&mut stream), "errno=0\n\n");
    assert_eq!(normal(answer(&mut stream)), expected);
}

#[test]
fn what_is_refused_has_its_errno_and_the_socket_stays_usable() {
    let ns = NetNs::new("u").unwrap();
    let device = Device::start(&e2e::ringtun(), &ns, &names::unique("w")).unwrap();
    for request in [
        "set=1\nprivate_key=short\n\n",
        "set=1\nnonsense=1\n\n",
        "set=1\nlisten_port=65536\n\n",
        "set=1\npublic_key=00\n\n",
        "set=1\nallowed_ip=10.0.0.0/8\n\n",
        "get=2\n\n",
        "hello\n\n",
    ] {
        let mut stream = connect(&device.name);
        let text = ask(&mut stream, request);
        let errno: i32 = text
            .lines()
            .find_map(|line| line.strip_prefix("errno="))
            .unwrap()
            .parse()
            .unwrap();
        assert!(errno < 0, "{request:?}: {text:?}");
        let mut stream = connect(&device.name);
        assert!(ask(&mut stream, "get=1\n\n").ends_with("errno=0\n\n"));
    }
    // Half a request, then nothing: others are served meanwhile.
    let mut half = connect(&device.name);
    half.write_all(b"set=1\nlisten_po").unwrap();
    let mut other = connect(&device.name);
    assert!(ask(&mut other, "get=1\n\n").ends_with("errno=0\n\n"));
}

#[test]
fn ten_thousand_peers_are_set_within_5_s_and_shown_within_2_s() {
    const PEERS: u32 = 10_000;
    let ns = NetNs::new("u").unwrap();
    let device = Device::start(&e2e::ringtun(), &ns, &names::unique("w")).unwrap();
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\n",
        Keys::generate().unwrap().private
    );
    for number in 0..PEERS {
        let [_, a, b, c] = number.to_be_bytes();
        text.push_str(&format!(
            "[Peer]\nPublicKey = {}\nAllowedIPs = 10.{a}.{b}.{c}/32, fd00::{number:x}/128\nEndpoint = 192.0.2.1:{}\n",
            STANDARD.encode(public_key(number)),
            1 + number
        ));
    }
    let start = Instant::now();
    ns.run_with_input(
        "wg",
        ["setconf", &device.name, "/dev/stdin"],
        text.as_bytes(),
    )
    .unwrap();
    let set = start.elapsed();
    let start = Instant::now();
    let shown = ns.run("wg", ["show", &device.name]).unwrap();
    let show = start.elapsed();
    println!("wg setconf {set:?}, wg show {show:?}");
    assert_eq!(shown.matches("\npeer: ").count(), PEERS as usize);
    assert!(set <= Duration::from_secs(5), "wg setconf took {set:?}");
    assert!(show <= Duration::from_secs(2), "wg show took {show:?}");
}

/// Sets a flag when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_peers_come_and_go_and_another_peer_loses_no_packet() {
    const CYCLES: u32 = 1_000;
    /// Packets during the cycles, or there was no traffic to speak of.
    const LEAST: u32 = 200;
    /// Packets on the way at a time: no buffer overflows, whoever is kept from its work.
    const ON_THE_WAY: u32 = 64;
    let ringtun = e2e::ringtun();
    let tunnel = Tunnel::new([&ringtun, &ringtun], &Options::default()).unwrap();
    tunnel.reach(0, false, SOON).unwrap();
    let bind = |at: usize| -> UdpSocket {
        let address = SocketAddr::new(Tunnel::inside_v4(at).into(), 7000);
        tunnel.ns(at).udp(address).unwrap()
    };
    let (from, to) = (bind(0), bind(1));
    to.set_read_timeout(Some(SOON)).unwrap();
    let (stop, sent, arrived) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let received = std::thread::scope(|scope| {
        // Also when an assertion fails: the sender must end, or nothing does.
        let stopping = Stop(&stop);
        scope.spawn(|| {
            // At most a thousand a second.
            let target = (Tunnel::inside_v4(1), 7000);
            while !stop.load(Ordering::Relaxed) {
                let number = sent.load(Ordering::Relaxed);
                if number - arrived.load(Ordering::Relaxed) < ON_THE_WAY {
                    let mut datagram = [0; 200];
                    datagram[..4].copy_from_slice(&number.to_be_bytes());
                    from.send_to(&datagram, target).unwrap();
                    sent.store(number + 1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            from.send_to(b"end", target).unwrap();
        });
        let receiver = scope.spawn(|| {
            let (mut seen, mut datagram) = (std::collections::BTreeSet::new(), [0; 2000]);
            while to.recv(&mut datagram).unwrap() == 200 {
                seen.insert(u32::from_be_bytes(datagram[..4].try_into().unwrap()));
                arrived.store(seen.len() as u32, Ordering::Relaxed);
            }
            seen
        });
        let mut streams = [0, 1].map(|at| connect(&tunnel.devices[at].name));
        let (begin, mut number) = (Instant::now(), 0);
        while number < CYCLES || sent.load(Ordering::Relaxed) < LEAST {
            assert!(
                begin.elapsed() < SOON,
                "{sent:?} packets, {arrived:?} arrived"
            );
            number += 1;
            let key = hex(&public_key(number));
            let add = format!(
                "set=1\npublic_key={}\nendpoint=192.0.2.1:9\nallowed_ip=10.99.0.0/16\nallowed_ip=10.78.0.0/24\n\n",
                key
            );
            let remove = format!("set=1\npublic_key={}\nremove=true\n\n", key);
            for stream in &mut streams {
                assert_eq!(ask(stream, &add), "errno=0\n\n");
                assert_eq!(ask(stream, &remove), "errno=0\n\n");
            }
        }
        drop(stopping);
        receiver.join().unwrap()
    });
    let sent = sent.load(Ordering::Relaxed);
    let lost: Vec<u32> = (0..sent)
        .filter(|number| !received.contains(number))
        .collect();
    assert!(lost.is_empty(), "lost {} of {sent}: {lost:?}", lost.len());
}

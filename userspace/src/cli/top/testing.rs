//! Samples as daemons would give them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::sample::{Sample, Seen, SeenPeer};
use crate::control::uapi::{DeviceInfo, QueueInfo, WorkerInfo};
use crate::crypto::PublicKey;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The key of peer `n`.
pub fn key(n: usize) -> PublicKey {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    PublicKey::from_bytes(bytes)
}

/// At `wall`, devices of (name, process, peers, bytes of peer 0; peer n has n times a
/// tenth less).
pub fn sample(wall: u64, devices: &[(&str, u32, usize, u64)]) -> Sample {
    let devices = devices.iter().map(|&(name, pid, peers, bytes)| {
        (name.parse().unwrap(), Ok(seen(wall, pid, peers, bytes)))
    });
    Sample {
        wall,
        devices: devices.collect(),
    }
}

fn seen(wall: u64, pid: u32, peers: usize, bytes: u64) -> Seen {
    let peer = |n: usize| SeenPeer {
        key: key(n),
        preshared: n.is_multiple_of(2),
        endpoint: Some(([192, 0, 2, 1], 1000 + (n % 60_000) as u16).into()),
        keepalive: 25,
        handshake: if n == 3 {
            0
        } else {
            wall.saturating_sub(7 * n as u64)
        },
        rx: bytes / (n as u64 + 1),
        tx: bytes / (2 * n as u64 + 2),
        allowed: vec![format!("10.9.{}.{}/32", n / 256, n % 256).parse().unwrap()],
    };
    let names = [
        (key(0), "Anna's phone".to_owned()),
        (key(1), "evil\u{1b}[2J\u{202e}name".to_owned()),
        (
            key(2),
            "日本の事務所にあるとても長い名前のノートパソコン".to_owned(),
        ),
    ];
    let drops = [
        ("replay", wall),
        ("no-endpoint", 0),
        ("source-not-allowed", 12),
    ];
    let info = DeviceInfo {
        version: "0.1.0".into(),
        pid,
        io: "udp".into(),
        io_reason: "asked\u{1b}[31m for".into(),
        mtu: 1420,
        up: true,
        workers: vec![WorkerInfo::default(); 2],
        drops: drops.map(|(name, n)| (name.to_owned(), n)).into(),
        queues: [(
            "initiations".to_owned(),
            QueueInfo {
                length: 3,
                capacity: 1024,
            },
        )]
        .into(),
        ..DeviceInfo::default()
    };
    let times = [
        (1, ("worker-0".to_owned(), wall as f64 * 0.42)),
        (2, ("worker-1".to_owned(), wall as f64 * 0.07)),
        (3, ("control".to_owned(), wall as f64 * 0.01)),
    ];
    Seen {
        at: *BEGIN + Duration::from_secs(wall),
        public_key: Some(key(99)),
        port: 51820,
        peers: (0..peers).map(peer).collect(),
        info: Some(info),
        names: Arc::new(HashMap::from(names)),
        times: times.into(),
    }
}

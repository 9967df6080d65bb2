//! A device and its peers, over time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::history::History;
use super::model::Rate;
use super::sample::{Absent, Seen, SeenPeer};
use crate::control::names::InterfaceName;
use crate::control::uapi::DeviceInfo;
use crate::crypto::PublicKey;
use crate::tunnel::allowed_ips::Prefix;

/// Seconds after a handshake in which its keys are used (REJECT_AFTER_TIME).
const ACTIVE: u64 = 180;

/// A device that was seen once at least, or was asked for by name.
pub struct Device {
    pub name: InterfaceName,
    /// Why it says nothing, and since when (Unix time in seconds).
    pub absent: Option<(Absent, u64)>,
    /// When another process than before answered for it first.
    pub restarted: Option<u64>,
    pub public_key: Option<PublicKey>,
    pub port: u16,
    pub info: Option<DeviceInfo>,
    pub peers: Vec<Peer>,
    /// Bytes of all peers; rates in bit/s.
    pub rx: Rate,
    pub tx: Rate,
    pub history: History,
    /// Drops of each reason.
    pub drops: Vec<(String, Rate)>,
    /// Threads by name, with the part of a processor that each has used.
    pub threads: Vec<(String, f64)>,
    times: super::cpu::Times,
    at: Option<Instant>,
}

/// A peer of it.
pub struct Peer {
    pub key: PublicKey,
    /// Of the tunnel's file; empty without.
    pub name: String,
    pub preshared: bool,
    pub endpoint: Option<SocketAddr>,
    pub keepalive: u16,
    pub handshake: u64,
    pub allowed: Vec<Prefix>,
    /// Bytes; rates in bit/s.
    pub rx: Rate,
    pub tx: Rate,
    pub history: History,
}

impl Peer {
    fn new(key: PublicKey) -> Self {
        Self {
            key,
            name: String::new(),
            preshared: false,
            endpoint: None,
            keepalive: 0,
            handshake: 0,
            allowed: Vec::new(),
            rx: Rate::default(),
            tx: Rate::default(),
            history: History::default(),
        }
    }

    /// Whether its last handshake is so recent that its keys are used.
    pub fn is_active(&self, wall: u64) -> bool {
        self.handshake != 0 && wall.saturating_sub(self.handshake) <= ACTIVE
    }

    /// Its name, or its key where it has none.
    pub fn label(&self) -> String {
        if self.name.is_empty() {
            self.key.to_base64()
        } else {
            self.name.clone()
        }
    }

    /// Bit/s of both directions.
    pub fn rate(&self) -> f64 {
        self.rx.per_second + self.tx.per_second
    }

    fn seen(&mut self, seen: SeenPeer, elapsed: Option<Duration>) {
        self.preshared = seen.preshared;
        self.endpoint = seen.endpoint;
        self.keepalive = seen.keepalive;
        self.handshake = seen.handshake;
        self.allowed = seen.allowed;
        self.rx.update_bits(seen.rx, elapsed);
        self.tx.update_bits(seen.tx, elapsed);
        self.history.push(self.rate());
    }

    fn silent(&mut self) {
        self.rx.per_second = 0.0;
        self.tx.per_second = 0.0;
        self.history.push(0.0);
    }
}

impl Device {
    pub fn new(name: InterfaceName) -> Self {
        Self {
            name,
            absent: None,
            restarted: None,
            public_key: None,
            port: 0,
            info: None,
            peers: Vec::new(),
            rx: Rate::default(),
            tx: Rate::default(),
            history: History::default(),
            drops: Vec::new(),
            threads: Vec::new(),
            times: HashMap::new(),
            at: None,
        }
    }

    /// Since when it is gone.
    pub fn gone_since(&self) -> Option<u64> {
        self.absent.map(|(_, since)| since)
    }

    /// The daemon does not answer. What was known stays, the rates do not.
    pub fn absent(&mut self, why: Absent, wall: u64) {
        let since = self.absent.map_or(wall, |(_, since)| since);
        self.absent = Some((why, since));
        self.at = None;
        self.rx.per_second = 0.0;
        self.tx.per_second = 0.0;
        self.history.push(0.0);
        self.drops.iter_mut().for_each(|(_, n)| n.per_second = 0.0);
        self.threads.clear();
        self.times.clear();
        self.peers.iter_mut().for_each(Peer::silent);
    }

    /// The daemon answered.
    pub fn seen(&mut self, seen: Seen, wall: u64) {
        let pid = |info: &Option<DeviceInfo>| info.as_ref().map(|info| info.pid);
        let same = pid(&self.info) == pid(&seen.info);
        if self.info.is_some() && !same {
            self.restarted = Some(wall);
            self.at = None;
            self.times.clear();
        }
        let elapsed = self.at.map(|before| seen.at - before);
        self.at = Some(seen.at);
        self.absent = None;
        self.public_key = seen.public_key;
        self.port = seen.port;
        self.threads = shares(&self.times, &seen.times, elapsed);
        self.times = seen.times;
        if let Some(info) = &seen.info {
            let drops = info.drops.iter().map(|(reason, n)| {
                let known = self.drops.iter().find(|(name, _)| name == reason);
                let mut rate = known.map_or_else(Rate::default, |(_, rate)| *rate);
                // A reason that was not there was zero.
                rate.update(*n, elapsed);
                (reason.clone(), rate)
            });
            self.drops = drops.collect();
        } else {
            self.drops.clear();
        }
        self.info = seen.info;
        let mut known: HashMap<PublicKey, Peer> =
            self.peers.drain(..).map(|peer| (peer.key, peer)).collect();
        let peers = seen.peers.into_iter().map(|now| {
            let before = known.remove(&now.key);
            // A peer that is new moved what it has moved since the last look.
            let mut peer = before.unwrap_or_else(|| Peer::new(now.key));
            peer.name = seen.names.get(&now.key).cloned().unwrap_or_default();
            peer.seen(now, elapsed);
            peer
        });
        self.peers = peers.collect();
        let sum = |of: fn(&Peer) -> Rate| {
            self.peers
                .iter()
                .map(of)
                .fold(Rate::default(), |sum, of| Rate {
                    total: sum.total.saturating_add(of.total),
                    per_second: sum.per_second + of.per_second,
                })
        };
        (self.rx, self.tx) = (sum(|p| p.rx), sum(|p| p.tx));
        self.history.push(self.rx.per_second + self.tx.per_second);
    }

    /// Packets dropped for any reason.
    pub fn dropped(&self) -> Rate {
        let all = self.drops.iter().map(|(_, rate)| *rate);
        all.fold(Rate::default(), |sum, of| Rate {
            total: sum.total.saturating_add(of.total),
            per_second: sum.per_second + of.per_second,
        })
    }

    /// The part of processors that all threads use; `None` before the second look.
    pub fn cpu(&self) -> Option<f64> {
        let known = !self.threads.is_empty();
        known.then(|| self.threads.iter().map(|(_, share)| share).sum())
    }
}

/// Workers first, then control, then the others, in the order of their numbers.
fn shares(
    before: &super::cpu::Times,
    now: &super::cpu::Times,
    elapsed: Option<Duration>,
) -> Vec<(String, f64)> {
    let Some(elapsed) = elapsed.filter(|elapsed| !elapsed.is_zero()) else {
        return Vec::new();
    };
    let mut all: Vec<_> = now
        .iter()
        .map(|(id, (name, seconds))| {
            let used = before.get(id).map_or(0.0, |(_, was)| seconds - was);
            (name.clone(), (used / elapsed.as_secs_f64()).max(0.0))
        })
        .collect();
    all.sort_by_cached_key(|(name, _)| {
        let (kind, number) = name.rsplit_once('-').unwrap_or((name, ""));
        let rank = ["worker", "control", "handshake"]
            .iter()
            .position(|k| *k == kind);
        (
            rank.unwrap_or(3),
            kind.to_owned(),
            number.parse().unwrap_or(0_u32),
        )
    });
    all
}

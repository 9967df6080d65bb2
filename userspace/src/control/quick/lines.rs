//! A file as the lines of a UAPI `set`.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::lookup;
use crate::control::uapi::{DeviceState, PeerState};
use crate::control::wgquick::{Config, Peer};
use crate::crypto::{PresharedKey, PublicKey};
use crate::tunnel::allowed_ips::Prefix;

/// A peer as the file wants it; several sections of one key are one.
pub struct Wanted {
    preshared: PresharedKey,
    keepalive: u16,
    allowed_ips: BTreeSet<Prefix>,
    /// `None`: the file says none, or its name is not known yet.
    endpoint: Option<SocketAddr>,
}

/// The peers of a file, their names looked up, in the order of the file.
#[must_use]
pub fn wanted(config: &Config) -> Vec<(PublicKey, Wanted)> {
    let own = config.interface.private_key.as_ref().map(|k| k.public());
    let mut places: HashMap<PublicKey, usize> = HashMap::new();
    let mut wanted: Vec<(PublicKey, Wanted)> = Vec::new();
    let mut owner = HashMap::new();
    let peers: Vec<_> = config
        .peers
        .iter()
        .filter(|p| Some(p.public_key) != own)
        .collect();
    let named: Vec<_> = peers.iter().filter_map(|p| p.endpoint.clone()).collect();
    let mut found = lookup::all(named).into_iter();
    for peer in peers {
        let endpoint = peer.endpoint.as_ref().and_then(|_| found.next().flatten());
        let new = one(peer, endpoint);
        for range in &new.allowed_ips {
            owner.insert(*range, peer.public_key);
        }
        match places.get(&peer.public_key) {
            Some(&at) => wanted[at].1 = new,
            None => {
                places.insert(peer.public_key, wanted.len());
                wanted.push((peer.public_key, new));
            }
        }
    }
    // A range that two have belongs to the last, as the device has it.
    for (key, peer) in &mut wanted {
        peer.allowed_ips.retain(|r| owner.get(r) == Some(key));
    }
    wanted
}

fn one(peer: &Peer, endpoint: Option<SocketAddr>) -> Wanted {
    Wanted {
        preshared: peer.preshared_key.clone(),
        keepalive: peer.keepalive.unwrap_or(0),
        allowed_ips: peer.allowed_ips.iter().copied().collect(),
        endpoint,
    }
}

/// What makes a device of state `now` one of the file. A peer that is as it
/// should be has no line; one of which something is different has only that, so
/// that its session goes on. `mark` is that of a default route.
#[must_use]
pub fn difference(config: &Config, now: &DeviceState, mark: Option<u32>) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(4096));
    let i = &config.interface;
    if let Some(key) = &i.private_key
        && now.private_key.as_ref().map(|k| k.public()) != Some(key.public())
    {
        let _ = writeln!(out, "private_key={}", &*key.to_hex());
    }
    if let Some(port) = i.listen_port.filter(|p| *p != now.listen_port) {
        let _ = writeln!(out, "listen_port={port}");
    }
    let mark = i.fwmark.or(mark).unwrap_or(0);
    if mark != now.fwmark {
        let _ = writeln!(out, "fwmark={mark}");
    }
    let wanted = wanted(config);
    let keys: BTreeSet<_> = wanted.iter().map(|(key, _)| *key.as_bytes()).collect();
    for peer in &now.peers {
        if !keys.contains(peer.public_key.as_bytes()) {
            let _ = writeln!(out, "public_key={}\nremove=true", peer.public_key.to_hex());
        }
    }
    let present: HashMap<_, _> = now.peers.iter().map(|p| (p.public_key, p)).collect();
    for (key, wanted) in &wanted {
        peer(key, wanted, present.get(key).copied(), &mut out);
    }
    out
}

fn peer(key: &PublicKey, wanted: &Wanted, now: Option<&PeerState>, out: &mut String) {
    let new = PeerState::new(*key);
    let before = now.unwrap_or(&new);
    let mut lines = Zeroizing::new(String::with_capacity(1024));
    if *wanted.preshared.to_hex() != *before.preshared_key.to_hex() {
        let _ = writeln!(lines, "preshared_key={}", &*wanted.preshared.to_hex());
    }
    if let Some(endpoint) = wanted.endpoint.filter(|e| Some(*e) != before.endpoint) {
        let _ = writeln!(lines, "endpoint={endpoint}");
    }
    if wanted.keepalive != before.keepalive {
        let seconds = wanted.keepalive;
        let _ = writeln!(lines, "persistent_keepalive_interval={seconds}");
    }
    let had: BTreeSet<_> = before.allowed_ips.iter().copied().collect();
    for range in had.difference(&wanted.allowed_ips) {
        let _ = writeln!(lines, "allowed_ip=-{range}");
    }
    for range in wanted.allowed_ips.difference(&had) {
        let _ = writeln!(lines, "allowed_ip={range}");
    }
    if now.is_none() || !lines.is_empty() {
        let _ = write!(out, "public_key={}\n{}", key.to_hex(), &*lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wgquick::parse;
    use crate::crypto::{PrivateKey, os_rng};

    fn file(peers: &str) -> Config {
        let (config, report) = parse(format!("[Interface]\nListenPort = 7\n{peers}").as_bytes());
        assert_eq!(report.errors(), 0, "{:?}", report.sorted());
        config
    }

    fn key() -> PublicKey {
        PrivateKey::generate(&mut os_rng()).public()
    }

    #[test]
    fn only_what_differs_has_a_line() {
        let (stays, goes, comes) = (key(), key(), key());
        let peer = |key: PublicKey, more: &str| format!("[Peer]\nPublicKey = {key}\n{more}");
        let config = file(
            &(peer(stays, "AllowedIPs = 10.0.0.1/32\nEndpoint = 192.0.2.1:1\n")
                + &peer(comes, "AllowedIPs = 10.0.0.3/32\nPersistentKeepalive = 9\n")),
        );
        let with = |key: PublicKey, range: &str| {
            let mut state = PeerState::new(key);
            state.allowed_ips.push(range.parse().unwrap());
            state.endpoint = Some("192.0.2.1:1".parse().unwrap());
            state
        };
        let mut state = DeviceState {
            listen_port: 7,
            fwmark: 51820,
            peers: vec![with(stays, "10.0.0.1/32"), with(goes, "10.0.0.2/32")],
            ..DeviceState::default()
        };
        // The mark of a default route stays although the file names none.
        let lines = difference(&config, &state, Some(51820));
        assert_eq!(
            *lines,
            format!(
                "public_key={}\nremove=true\npublic_key={}\n\
                 persistent_keepalive_interval=9\nallowed_ip=10.0.0.3/32\n",
                goes.to_hex(),
                comes.to_hex()
            )
        );
        state.peers[1] = with(comes, "10.0.0.3/32");
        state.peers[1].keepalive = 9;
        assert_eq!(*difference(&config, &state, Some(51820)), "");
        assert_eq!(*difference(&config, &state, None), "fwmark=0\n");
    }

    #[test]
    fn a_range_that_two_name_is_the_last_ones() {
        let (first, last) = (key(), key());
        let config = file(&format!(
            "[Peer]\nPublicKey = {first}\nAllowedIPs = 10.0.0.0/8\n[Peer]\nPublicKey = {last}\nAllowedIPs = 10.0.0.0/8\n"
        ));
        let wanted = wanted(&config);
        assert!(wanted[0].1.allowed_ips.is_empty());
        assert_eq!(wanted[1].1.allowed_ips.len(), 1);
    }
}

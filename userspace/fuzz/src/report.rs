//! What the machine says, as a report tells of it.
//!
//! The input is what the sources say, one after the other with a zero byte between:
//! files of the system, links, routes, rules, firewall, doctor, journal, what the daemon
//! says, and the tunnel's file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ringtun::control::report::facts::host;
use ringtun::control::report::gathered::{Gathered, Tunnel, entries};
use ringtun::control::report::page::{Asked, Missing};
use ringtun::control::report::{Form, Show, make};
use ringtun::control::uapi::{DeviceState, PeerState};
use ringtun::control::wgquick::parse;
use ringtun::crypto::{PresharedKey, PrivateKey};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::Seed;

const PRIVATE: [u8; 32] = [0x5d; 32];
/// A word that is in every source and in no report.
const HIDDEN: &str = "quxzaphod";

/// The second look finds nothing in what the first made of it, in no form; nor does a
/// third one that is as simple as can be.
pub fn run(data: &[u8]) {
    let mut sources = data.split(|byte| *byte == 0);
    let mut next = || sources.next().unwrap_or_default();
    let gathered = gathered(&mut next);
    // One form an input: the second look is most of the work.
    let (addresses, form) = match data.len() % 3 {
        0 => (false, Form::Text),
        1 => (false, Form::Json),
        _ => (true, Form::Text),
    };
    let mut key = 0;
    let made = make(&gathered, addresses, form, || {
        key += 1;
        [key; 32]
    });
    let made = made.unwrap_or_else(|leak| panic!("{leak}"));
    let lower = made.text.to_lowercase();
    assert!(!lower.contains(HIDDEN), "{}", made.text);
    let key = PrivateKey::from_bytes(&PRIVATE).to_base64();
    assert!(!made.text.contains(&key[..12]));
    let printed = |byte: u8| byte == b'\n' || !byte.is_ascii_control();
    assert!(made.text.bytes().all(printed));
    assert_eq!(addresses, made.show == Show::Real);
    if form == Form::Json {
        let _: serde_json::Value = serde_json::from_str(&made.text).expect("JSON");
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Asked<T> {
    serde_json::from_slice(bytes).map_err(|_| Missing::NotUnderstood)
}

fn gathered<'a>(next: &mut impl FnMut() -> &'a [u8]) -> Gathered {
    let text = String::from_utf8_lossy(next()).into_owned();
    let mut state = DeviceState {
        private_key: Some(PrivateKey::from_bytes(&PRIVATE)),
        listen_port: 51820,
        fwmark: 1,
        peers: Vec::new(),
    };
    let links: Asked<serde_json::Value> = read(next());
    let routes = [read(next()), Err(Missing::Late)];
    let rules = [read(next()), Err(Missing::NotInstalled)];
    let (firewall, doctor) = (read(next()), read(next()));
    let log = Ok(entries(next()));
    let info = read(next());
    let file = parse(next());
    let mut friendly = HashMap::new();
    for (n, peer) in file.0.peers.iter().enumerate() {
        let mut said = PeerState::new(peer.public_key);
        said.allowed_ips.clone_from(&peer.allowed_ips);
        said.preshared_key = PresharedKey::from_bytes(&[n as u8; 32]);
        said.endpoint = Some((IpAddr::from([203, 0, 113, n as u8]), 51820).into());
        state.peers.push(said);
        friendly.insert(peer.public_key, text.clone());
    }
    Gathered {
        now: 1_795_775_445,
        root: true,
        files: host::files().map(|path| (path, Ok(text.clone()))).collect(),
        programs: vec![("ip", true), ("nft", false)],
        links,
        drivers: HashMap::from([(text.clone(), text.clone())]),
        routes,
        rules,
        firewall,
        doctor,
        log,
        tunnels: vec![Tunnel {
            name: HIDDEN.to_owned(),
            path: PathBuf::from(format!("/{HIDDEN}/{text}")),
            file: Ok(file),
            friendly,
            state: Ok(state),
            info,
            journal: Err(Missing::NotThere),
        }],
        names: vec![text, HIDDEN.to_owned()],
    }
}

/// What machines say, with the hidden word wherever a string can be.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let h = HIDDEN;
    let key = PrivateKey::from_bytes(&PRIVATE);
    let public = key.public().to_base64();
    let link = json!([{"ifname": h, "flags": ["UP", h], "mtu": 1500, "qdisc": h, "operstate": "UP",
        "link_type": "ether", "address": "52:54:00:12:34:56", "ifalias": h,
        "linkinfo": {"info_kind": h}, "xdp": {"mode": 2, "prog": {"id": 7, "name": h}},
        "addr_info": [{"local": "192.0.2.7", "prefixlen": 24, "scope": h, "label": h},
            {"local": "fe80::5054:ff:fe12:3456", "prefixlen": 64}]}]);
    let route = json!([{"type": h, "dst": "default", "gateway": "192.0.2.1", "dev": h,
        "protocol": h, "metric": 7, "table": h, "prefsrc": "192.0.2.7"}, {"dst": "10.7.0.0/24"}]);
    let rule = json!([{"priority": 7, "src": "all", "fwmark": "0xca6c", "table": h, "not": null}]);
    let firewall = json!({"nftables": [{"table": {"family": "inet", "name": h}},
        {"chain": {"family": "inet", "table": h, "name": h, "hook": "forward", "type": "filter",
            "prio": 0, "policy": "drop"}},
        {"rule": {"family": "inet", "table": h, "chain": h, "expr": [{"accept": null}, {h: h}]}}]});
    let doctor = json!({"severity": "error", "findings": [{"id": "port-taken", "severity": "error",
        "device": h, "what": h, "seen": [h], "remedies": [{"command": h}, {"advice": h}]}]});
    let log = json!({"EVENT": "peer_roamed", "DEVICE": h, "PEER": public, "ENDPOINT": "192.0.2.9:7",
        "ERROR": format!("{h}: No such device"), "PRIORITY": "4", "REPEATED": "12",
        "__REALTIME_TIMESTAMP": "1795775000000000", "MESSAGE": h});
    let info = serde_json::to_value(ringtun::control::uapi::DeviceInfo::default());
    let mut info = info.unwrap_or_default();
    for name in ["version", "io", "io_reason", "io_asked", "metrics"] {
        info[name] = h.into();
    }
    info["drops"] = json!({h: 3, "unknown-peer": 7});
    let file = format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.7.0.1/24, fd07::1/64\nPostUp = {h} %i\nTable = {h}\n\
         [Peer]\n# {h}\nPublicKey = {public}\nEndpoint = {h}.example:51820\nAllowedIPs = 10.7.0.2/32, ::/0\n",
        &*key.to_base64()
    );
    let of = |text: &str, info: &serde_json::Value| {
        let all = [
            text.to_owned(),
            link.to_string(),
            route.to_string(),
            rule.to_string(),
            firewall.to_string(),
            doctor.to_string(),
            format!("{log}\nno json\n"),
            info.to_string(),
            file.clone(),
        ];
        all.join("\0").into_bytes()
    };
    vec![
        ("machine", of(h, &info)),
        ("numbers", of("1", &json!(7))),
        ("version", of("6.18.44-quxzaphod", &info)),
        ("address", of("10.1.2.3", &info)),
        ("mac", of("52-54-00-12-34-56", &info)),
        ("nothing", Vec::new()),
    ]
}

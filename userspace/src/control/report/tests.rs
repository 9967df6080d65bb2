//! Hostile inputs in each source: whatever is planted there, nothing of it comes out.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::gathered::{Tunnel, entries};
use super::page::Missing;
use super::*;
use crate::control::nics::report::{CardReport, LanReport};
use crate::control::nics::steer::SteerReport;
use crate::control::uapi::{DeviceInfo, DeviceState, PeerState};
use crate::control::wgquick::parse;
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};

/// A tunnel of one peer, and a machine that says `text` wherever it can say anything.
fn machine(text: &str, private: [u8; 32], psk: [u8; 32], public: [u8; 32]) -> Gathered {
    let (private, public) = (
        PrivateKey::from_bytes(&private),
        PublicKey::from_bytes(public),
    );
    let psk = PresharedKey::from_bytes(&psk);
    let line = text.replace(['\n', '\r', '#'], " ");
    let file = format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.78.0.1/24, fd78::1/64\nDNS = 10.78.0.2, {line}\n\
         MTU = 1420\nListenPort = 51820\nPostUp = {line}\nPreDown = echo {line}\nTable = {line}\n\
         {line} = {line}\n{line}\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.78.0.0/24, {line}\n\
         Endpoint = {line}:51820\n[Peer]\nPublicKey = {}\nEndpoint = gate-of-anna.example:1\nAllowedIPs = 0.0.0.0/0\n",
        &*private.to_base64(),
        public,
        &*psk.to_base64(),
        PublicKey::from_bytes([9; 32]),
    );
    let mut peer = PeerState::new(public);
    peer.preshared_key = psk;
    peer.endpoint = Some("203.0.113.9:51820".parse().unwrap());
    peer.allowed_ips = vec!["10.78.0.0/24".parse().unwrap()];
    let card = CardReport {
        name: text.to_owned(),
        driver: text.to_owned(),
        xdp: text.to_owned(),
        transfer: text.to_owned(),
        ..CardReport::default()
    };
    let say = || Some(text.to_owned());
    let counts = || {
        HashMap::from([(text.to_owned(), Default::default())])
            .into_iter()
            .collect()
    };
    let info = DeviceInfo {
        version: text.to_owned(),
        io: text.to_owned(),
        io_reason: format!("{text}: native, {text}"),
        io_asked: text.to_owned(),
        by_socket: vec![text.to_owned()],
        cards: vec![card.clone()],
        ring_slots: [(text.to_owned(), 64)].into(),
        verdicts: counts(),
        lan: vec![LanReport {
            name: text.to_owned(),
            xdp: text.to_owned(),
            refused: say(),
            not_clamping: say(),
            forwarding: Some(card),
            not_forwarding: say(),
        }],
        steering: vec![SteerReport {
            group: text.to_owned(),
            cpus: vec![0],
            refused: say(),
        }],
        metrics: say(),
        mtu: 1420,
        drops: [(text.to_owned(), 3), ("unknown-peer".to_owned(), 7)].into(),
        queues: [(text.to_owned(), Default::default())].into(),
        ..DeviceInfo::default()
    };
    let everywhere = |keys: &[&str]| -> Json {
        let all = keys.iter().map(|key| ((*key).to_owned(), Json::from(text)));
        Json::Object(all.collect())
    };
    let mut link = everywhere(&[
        "ifname",
        "qdisc",
        "operstate",
        "link_type",
        "address",
        "master",
        "link",
        "ifalias",
    ]);
    link["flags"] = json!(["UP", text]);
    link["linkinfo"] = json!({"info_kind": text});
    link["xdp"] = json!({"mode": 2, "prog": {"name": text, "id": 1}});
    link["addr_info"] = json!([{"local": text, "prefixlen": 24, "scope": text, "label": text}]);
    link["mtu"] = 1500.into();
    let route = everywhere(&[
        "dst", "gateway", "dev", "protocol", "scope", "prefsrc", "type", "table",
    ]);
    let rule = everywhere(&["src", "dst", "fwmark", "iif", "oif", "table", "action"]);
    let chain = everywhere(&["family", "table", "name", "type", "hook", "policy"]);
    let finding = json!({"id": text, "severity": text, "device": text, "what": text,
        "seen": [text], "remedies": [{"command": text}, {"advice": text}, {text: text}]});
    let known =
        json!({"id": "port-taken", "severity": "error", "device": "wg-annas", "what": text});
    let entry = everywhere(&[
        "EVENT",
        "DEVICE",
        "INTERFACE",
        "PEER",
        "ENDPOINT",
        "ADDRESS",
        "ERROR",
        "WHY",
        "MESSAGE",
        "PRIORITY",
        "REPEATED",
        "__REALTIME_TIMESTAMP",
        "_HOSTNAME",
    ]);
    let lines = format!("{entry}\nno json\n{{\"EVENT\":\"peer_roamed\"}}\n");
    Gathered {
        now: 1_795_775_445,
        root: true,
        files: facts::host::files()
            .map(|path| (path, Ok(text.to_owned())))
            .collect(),
        programs: vec![("ip", true), ("nft", false)],
        links: Ok(json!([link, text, {"ifname": 7}])),
        drivers: HashMap::from([(text.to_owned(), text.to_owned())]),
        routes: [Ok(json!([route])), Ok(json!(text))],
        rules: [Ok(json!([rule])), Err(Missing::Late)],
        firewall: Ok(
            json!({"nftables": [{"chain": chain}, {"rule": {"chain": text, "expr": [{text: text}]}}]}),
        ),
        doctor: Ok(json!({"severity": text, "findings": [finding, known]})),
        log: Ok(entries(lines.as_bytes())),
        tunnels: vec![Tunnel {
            name: "wg-annas".to_owned(),
            path: text.into(),
            file: Ok(parse(file.as_bytes())),
            friendly: HashMap::from([(public, text.to_owned())]),
            state: Ok(DeviceState {
                private_key: Some(private),
                listen_port: 51820,
                fwmark: 51820,
                peers: vec![peer],
            }),
            info: Ok(info),
            journal: Ok(true),
        }],
        names: vec![text.to_owned(), "annas-laptop".to_owned()],
    }
}

/// In each form, with and without addresses.
fn reports(gathered: &Gathered) -> Vec<(bool, String)> {
    let mut all = Vec::new();
    for (addresses, form) in [
        (false, Form::Text),
        (false, Form::Json),
        (true, Form::Text),
        (true, Form::Json),
    ] {
        let mut next = 0;
        let made = make(gathered, addresses, form, || {
            next += 1;
            [next; HASH_LEN]
        });
        all.push((addresses, made.expect("no leak").text));
    }
    all
}

const PRIVATE: [u8; 32] = *b"\xc9\xa9\xf3\xe5\x31\x7e\x95\x75\xc9\xb5\xed\x6d\x78\xb6\x2d\xf3\
    \x36\x6d\x0d\xab\xe8\x5d\xda\xb6\x14\x22\x02\x41\x81\xdd\x1f\x06";
const PSK: [u8; 32] = *b"\xfb\xff\xbe\x01\x5a\x77\x09\x10\x80\x91\xa2\xb3\xc4\xd5\xe6\xf7\
    \x03\x13\x22\x33\x44\x55\x66\x78\x88\x99\xaa\xbc\xcc\xdd\xee\xfb";
const PUBLIC: [u8; 32] = [0x5a; 32];

/// Texts, each with what of it must not come out. Lower case is looked for in lower case.
fn hostile() -> Vec<(String, Vec<String>)> {
    let base64 = STANDARD_NO_PAD.encode(PSK);
    let url = URL_SAFE_NO_PAD.encode(PSK);
    let hex = base16ct::lower::encode_string(&PSK);
    let of = |text: &str, parts: &[&str]| {
        let parts = parts.iter().map(|part| (*part).to_lowercase());
        (text.to_owned(), parts.collect())
    };
    let cut = format!("{}{}", "x".repeat(500), &base64[..20]);
    vec![
        of(&base64, &[&base64[..12], &base64[30..]]),
        of(&format!("{base64}="), &[&base64[..12]]),
        of(&url, &[&url[..12], &url[30..]]),
        of(&hex, &[&hex[..12], &hex[50..]]),
        of(&hex.to_uppercase(), &[&hex[..12]]),
        of(&cut, &[&base64[..12]]),
        of("enx001122334455", &["001122334455", "112233"]),
        of("aa-bb-cc-dd-ee-ff", &["aa-bb", "ee-ff"]),
        of("aabb.ccdd.eeff", &["ccdd", "eeff"]),
        of("AA:BB:CC:DD:EE:FA", &["bb:cc", "ee:fa"]),
        of("2001:db8::1.53", &["2001:db8::1"]),
        of("xfd00:1::5y", &["fd00:1::5"]),
        of("-d10.1.2.3", &["10.1.2.3"]),
        of("010.001.002.003", &["010.001", "10.1.2.3", "002.003"]),
        of("192.0.2.7.198.51.100.9", &["192.0.2.7", "198.51.100.9"]),
        of("::ffff:203.0.113.77", &["203.0.113.77", "cb00:714d"]),
        of("fe80::abcd:1%eth0", &["abcd:1", "eth0"]),
        of("aNnA's PHONE", &["anna's", "phone"]),
        of("an\"na", &["an\"na", "an\\\"na", "an\\\\\"na"]),
        of("/home/hannah/.config", &["hannah", "/home"]),
        of("VPN.Annas-Firm.Example", &["annas-firm", "vpn.", "example"]),
        of("th", &["\"th\"", " th "]),
        of("\u{1b}[2J\nPrivateKey", &["\u{1b}", "privatekey"]),
    ]
}

#[test]
fn nothing_that_is_planted_in_any_source_comes_out() {
    for (text, parts) in hostile() {
        let gathered = machine(&text, PRIVATE, PSK, PUBLIC);
        for (addresses, report) in reports(&gathered) {
            let lower = report.to_lowercase();
            for part in &parts {
                // Where addresses are asked for, those that are addresses are shown.
                let address = text.split('%').next().unwrap_or_default();
                let is_one = address.parse::<std::net::IpAddr>().is_ok();
                if addresses && is_one && part != "eth0" {
                    continue;
                }
                assert!(!lower.contains(part), "{part} of {text} in {report}");
            }
            for hidden in ["annas-laptop", "wg-annas", "gate-of-anna"] {
                assert!(!lower.contains(hidden), "{hidden} in {report}");
            }
            assert_eq!(report.contains("203.0.113.9"), addresses, "{report}");
            for key in [
                PRIVATE,
                PSK,
                PUBLIC,
                *PrivateKey::from_bytes(&PRIVATE).public().as_bytes(),
            ] {
                let base64 = STANDARD_NO_PAD.encode(key);
                assert!(!report.contains(&base64[..12]), "{report}");
            }
        }
    }
}

#[test]
fn what_a_maintainer_needs_is_there() {
    let report = reports(&machine("th", PRIVATE, PSK, PUBLIC)).remove(0).1;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let report: Vec<String> = report.lines().map(words).collect();
    let report = report.join("\n");
    for fact in [
        "==== state, tunnel-1 ====",
        "MTU 1420",
        "listen port 51820",
        "I/O because native, <text, 14 characters>",
        "unknown-peer 7",
        "error port-taken tunnel-1",
        "peer_roamed",
        "PostUp hooks 1",
        "host-",
        "IPv6 rules not read, no answer in time",
    ] {
        assert!(report.contains(fact), "{fact} is not in {report}");
    }
}

#[test]
fn a_name_that_is_a_word_of_the_report_does_not_keep_it_from_being_written() {
    for name in [
        "peer", "Links", "MTU", "veth-1", "tunnel-1", "a", "7", "up", "doctor", "text",
    ] {
        let gathered = machine(name, PRIVATE, PSK, PUBLIC);
        assert_eq!(reports(&gathered).len(), 4, "{name}");
    }
}

/// All of 192.168.0.0/16 is in use, so each pseudonym is somebody's address.
#[test]
fn where_every_address_is_somebodys_only_kinds_are_told() {
    let mut gathered = machine("x", PRIVATE, PSK, PUBLIC);
    let all = (0..=255_u8).flat_map(|a| (0..=255_u8).map(move |b| (a, b)));
    let networks = all.map(|(a, b)| Json::from(format!("192.168.{a}.{b}")));
    let link = json!({"ifname": "e", "addr_info": [{"local": "192.168.7.7", "prefixlen": 24}]});
    gathered.links = Ok(json!([link, networks.collect::<Vec<_>>()]));
    let made = make(&gathered, false, Form::Text, || [1; HASH_LEN]).unwrap();
    assert_eq!(made.show, Show::Kinds);
    assert!(made.text.contains("private-IPv4/24"), "{}", made.text);
}

/// The second line holds where the first is broken: a word that is a secret.
#[test]
fn a_report_with_a_secret_in_it_is_not_written() {
    let mut gathered = machine("x", PRIVATE, PSK, PUBLIC);
    gathered.programs.push(("10.78.0.2", true));
    let leak = make(&gathered, false, Form::Text, || [1; HASH_LEN]).unwrap_err();
    assert_eq!(
        (leak.what, leak.section.as_str()),
        ("an address", "machine")
    );
    gathered.programs.pop();
    gathered.programs.push(("WlpaWlpaWlpaWlpaWlpa", true));
    let leak = make(&gathered, true, Form::Text, || [1; HASH_LEN]).unwrap_err();
    assert_eq!((leak.what, leak.section.as_str()), ("a key", "machine"));
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(12)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_secret_appears_in_any_encoding(
        private: [u8; 32],
        psk: [u8; 32],
        public: [u8; 32],
        v4 in any::<u32>(),
        v6 in any::<u128>(),
        mac: [u8; 6],
        name in "[a-zA-Zäöü0-9 '\"._-]{5,24}",
        kind in 0..8_usize,
    ) {
        // Of those that do not stay what they are.
        let v4 = std::net::Ipv4Addr::from(v4 & 0x3fff_ffff | 0x0101_0101);
        let v6 = std::net::Ipv6Addr::from(v6 >> 3 | 1 << 125 | 0xffff << 64 | 0xffff);
        let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
        let text = match kind {
            0 => STANDARD_NO_PAD.encode(psk),
            1 => URL_SAFE_NO_PAD.encode(private),
            2 => hex(&public),
            3 => format!("{v4}"),
            4 => format!("[{v6}]:51820"),
            5 => mac.map(|byte| format!("{byte:02x}")).join(":"),
            6 => format!("{v4}.{v6}%{name}"),
            _ => name.clone(),
        };
        let gathered = machine(&text, private, psk, public);
        for (addresses, report) in reports(&gathered) {
            for key in [private, psk, public] {
                let base64 = STANDARD_NO_PAD.encode(key);
                let url = URL_SAFE_NO_PAD.encode(key);
                for form in [&base64[..16], &url[..16], &hex(&key)[..16], &base64[27..], &hex(&key)[48..]] {
                    prop_assert!(!report.contains(form), "{form} in {report}");
                }
            }
            prop_assert!(!report.contains(&hex(&mac)));
            if !addresses {
                prop_assert!(!report.contains(&v6.to_string()), "{v6} in {report}");
                let is_there = report.split(|c: char| !c.is_ascii_digit() && c != '.');
                prop_assert!(!is_there.into_iter().any(|part| part == v4.to_string()));
            }
            let long = name.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 7);
            for part in long.filter(|part| !part.chars().all(|c| c.is_ascii_digit())) {
                prop_assert!(!report.contains(part), "{part} in {report}");
            }
        }
    }
}

//! wg-quick files.

use crate::Seed;
use ringtun::control::peers::addresses::free;
use ringtun::control::peers::edit::{self, Section};
use ringtun::control::wgquick::{Config, Table, parse};
use ringtun::crypto::{PresharedKey, PublicKey};
use ringtun::metrics::names;
use ringtun::tunnel::allowed_ips::Prefix;
use std::fmt::Write as _;

/// A file that says the same.
fn text(config: &Config) -> String {
    let mut out = String::from("[Interface]\n");
    let interface = &config.interface;
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(out, "{key} = {value}").expect("a string takes everything");
    };
    if let Some(key) = &interface.private_key {
        line("PrivateKey", &*key.to_base64());
    }
    if let Some(port) = interface.listen_port {
        line("ListenPort", &port);
    }
    if let Some(mark) = interface.fwmark {
        line("FwMark", &mark);
    }
    for address in &interface.addresses {
        line("Address", &format!("{}/{}", address.addr, address.len));
    }
    for address in &interface.dns {
        line("DNS", address);
    }
    for domain in &interface.dns_search {
        line("DNS", domain);
    }
    if let Some(mtu) = interface.mtu {
        line("MTU", &mtu);
    }
    match &interface.table {
        Table::Auto => {}
        Table::Off => line("Table", &"off"),
        Table::Number(number) => line("Table", number),
        Table::Named(name) => line("Table", name),
    }
    let hooks = [
        ("PreUp", &interface.pre_up),
        ("PostUp", &interface.post_up),
        ("PreDown", &interface.pre_down),
        ("PostDown", &interface.post_down),
    ];
    for (key, commands) in hooks {
        for command in commands {
            line(key, command);
        }
    }
    if interface.save_config {
        line("SaveConfig", &true);
    }
    for peer in &config.peers {
        out.push_str("[Peer]\n");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            writeln!(out, "{key} = {value}").expect("a string takes everything");
        };
        line("PublicKey", &peer.public_key);
        if peer.preshared_key.is_set() {
            line("PresharedKey", &*peer.preshared_key.to_base64());
        }
        for prefix in &peer.allowed_ips {
            line("AllowedIPs", prefix);
        }
        if let Some(endpoint) = &peer.endpoint {
            line("Endpoint", endpoint);
        }
        if let Some(seconds) = peer.keepalive {
            line("PersistentKeepalive", &seconds);
        }
    }
    out
}

/// No file panics; diagnostics name lines that exist and show no key; a file
/// without errors, written anew, says the same.
pub fn run(data: &[u8]) {
    let (config, report) = parse(data);
    let lines = data.split(|byte| *byte == b'\n').count();
    let found = report.sorted();
    assert!(report.errors() + report.warnings() >= found.len());
    let secret = config
        .interface
        .private_key
        .as_ref()
        .map(|key| key.to_base64());
    for diagnostic in found {
        let shown = diagnostic.to_string();
        assert!(!shown.contains('\n'), "{shown:?} is one line");
        assert!(
            diagnostic
                .line
                .is_none_or(|line| (1..=lines).contains(&line))
        );
        assert!(
            secret
                .as_ref()
                .is_none_or(|key| !shown.contains(key.as_str()))
        );
    }
    if let Ok(text) = str::from_utf8(data) {
        client(text, (report.errors() == 0).then_some(&config));
    }
    if report.errors() > 0 {
        return;
    }
    let once = text(&config);
    let (again, report) = parse(once.as_bytes());
    assert_eq!(report.errors(), 0, "{once}\n{:?}", report.sorted());
    assert_eq!(text(&again), once);
    assert_eq!(again.peers.len(), config.peers.len());
}

/// A client that is added and removed again leaves every byte as it was; a file that
/// was right has it in between, at an address that nobody had.
fn client(text: &str, right: Option<&Config>) {
    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    if text.contains(KEY) {
        return;
    }
    let key = PublicKey::from_base64(KEY).expect("a key");
    let found = right
        .and_then(|config| free(config).ok())
        .unwrap_or_default();
    let ranges: Vec<Prefix> = found.iter().map(|address| Prefix::host(*address)).collect();
    let section = Section {
        name: &"Anna's phone".parse().expect("a name"),
        key,
        preshared: &PresharedKey::none(),
        allowed_ips: &ranges,
    };
    let with = edit::with(text, &section);
    let mut before = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        before.push('\n');
    }
    let without = edit::without(&with, &key);
    assert_eq!(
        without.as_ref().map(|text| text.as_str()),
        Some(before.as_str())
    );
    assert_eq!(
        names::parse(&with).get(&key).map(String::as_str),
        Some("Anna's phone")
    );
    let Some(config) = right else {
        return;
    };
    let taken = config.peers.iter().flat_map(|peer| &peer.allowed_ips);
    let own = config
        .interface
        .addresses
        .iter()
        .map(|own| Prefix::host(own.addr));
    for range in taken.copied().chain(own) {
        assert!(!ranges.contains(&range), "{range} is somebody's");
    }
    // Without a range, the key AllowedIPs has no value.
    if !ranges.is_empty() {
        let (now, report) = parse(with.as_bytes());
        assert_eq!(report.errors(), 0, "{:?}", report.sorted());
        assert_eq!(now.peers.len(), config.peers.len() + 1);
    }
}

/// Files as people write them, right and wrong.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    let client = format!(
        "[Interface]\nPrivateKey = {key}\nAddress = 10.200.100.8/24, fd00::8/64\n\
         DNS = 10.200.100.1, example.com\nMTU = 1380\n\n[Peer]\nPublicKey = {key}\n\
         PresharedKey = {key}\nAllowedIPs = 0.0.0.0/0, ::/0\n\
         Endpoint = demo.wireguard.com:51820\nPersistentKeepalive = 25\n"
    );
    let server = format!(
        "# wg0\n[interface]\nlistenport=51820 # comment\nFwMark = 0xca6c\nTable = 1234\n\
         SaveConfig = true\nPreUp = echo %i; true\nPostDown = echo done\n\n[peer]\n\
         publickey={key}\nallowedips=10.0.0.2/32\nallowedips=10.0.0.3/32\n\
         endpoint=[fe80::1%eth0]:1\npersistentkeepalive=off\n"
    );
    let of = |text: &str| text.as_bytes().to_vec();
    vec![
        ("client", client.clone().into_bytes()),
        ("server", server.into_bytes()),
        (
            "windows-line-ends",
            client.replace('\n', "\r\n").into_bytes(),
        ),
        ("no-section", of("PrivateKey = x\n")),
        ("unknown-key", of("[Interface]\nColour = red\n")),
        (
            "key-in-wrong-place",
            format!("[Interface]\nMTU = {key}\n").into_bytes(),
        ),
        ("no-value", of("[Interface]\nMTU\n[Peer]\nEndpoint =\n")),
        ("not-text", b"[Interface]\nMTU = \xff\xfe\n\0".to_vec()),
    ]
}

//! `ringtun reload` under traffic.

use std::net::SocketAddr;

use ringtun_lab::Pair;
use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;

use crate::machine::{Machine, far_end};

/// `wg show NAME WHAT`, the column of the peer.
fn shown(machine: &Machine<'_>, what: &str, peer: &str) -> String {
    let text = machine.other("wg", &["show", &machine.name, what]);
    let line = text.lines().find(|line| line.starts_with(peer));
    line.unwrap_or_default().to_owned()
}

fn received(machine: &Machine<'_>, peer: &str) -> u64 {
    let line = shown(machine, "transfer", peer);
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn reload_changes_what_is_different_and_no_session_ends() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    let endpoint = SocketAddr::new(pair.ends[1].address(false), 51820);
    let file = |ranges: &str, more: &str| {
        format!(
            "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = {ranges}\nEndpoint = {endpoint}\n{more}",
            keys[0].private, keys[1].public,
        )
    };
    machine.write(&file("10.78.0.2/32", ""));
    let (code, said) = machine.ringtun("reload");
    assert_eq!(code, Some(3), "{said}");
    machine.good("up");
    machine.answered("10.78.0.2");
    let far = &keys[1].public;
    let handshake = shown(&machine, "latest-handshakes", far);
    let bytes = received(&machine, far);

    // Another peer comes, and this one gets a range, while packets are under way.
    let new = Keys::generate().unwrap().public;
    let more = format!("[Peer]\nPublicKey = {new}\nAllowedIPs = 10.99.0.0/16\n");
    machine.write(&file("10.78.0.2/32, fd78::2/128", &more));
    let pinging = machine
        .ns
        .start("ping", ["-f", "-c", "2000", "-W", "5", "10.78.0.2"])
        .unwrap();
    for _ in 0..20 {
        machine.good("reload");
    }
    let status = pinging.wait_exit(crate::machine::FIRST).unwrap();
    assert!(status.success(), "{}", pinging.output());
    let lost = pinging.output();
    assert!(lost.contains(" 0% packet loss"), "{lost}");
    assert_eq!(shown(&machine, "latest-handshakes", far), handshake);
    assert!(received(&machine, far) > bytes);
    assert!(shown(&machine, "allowed-ips", &new).contains("10.99.0.0/16"));
    machine.answered("fd78::2");
    assert_eq!(shown(&machine, "latest-handshakes", far), handshake);

    // A mistake anywhere refuses the whole file.
    let before = machine.other("wg", &["showconf", &machine.name]);
    machine.write(&file("10.78.0.2/32", "[Peer]\nPublicKey = short\n"));
    let (code, said) = machine.ringtun("reload");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(":9:") && said.contains("PublicKey"), "{said}");
    assert_eq!(machine.other("wg", &["showconf", &machine.name]), before);

    // And a peer that is not in it goes.
    machine.write(&file("10.78.0.2/32", ""));
    machine.good("reload");
    assert_eq!(shown(&machine, "peers", &new), "");
    machine.answered("10.78.0.2");
    assert_eq!(shown(&machine, "latest-handshakes", far), handshake);
}

//! `ringtun doctor` on machines that were broken in one way each: it names the cause,
//! and what it prints mends it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::{Pair, wait};
use serde_json::Value;

use crate::machine::{FIRST, Machine, default_route, far_end};

const NOTHING: i32 = 0;
const WARNINGS: i32 = 3;
const ERRORS: i32 = 4;
/// Mending one thing may show the next.
const ROUNDS: usize = 4;

/// A tunnel with networks of both families behind a peer, and hooks.
fn file(pair: &Pair, keys: &[Keys; 2], hooks: &str, more: &str) -> String {
    let endpoint = SocketAddr::new(pair.ends[1].address(false), 51820);
    format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\nListenPort = 51820\n{hooks}\
         [Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32, fd78::2/128{more}\nEndpoint = {endpoint}\n",
        keys[0].private, keys[1].public,
    )
}

fn keys() -> [Keys; 2] {
    [Keys::generate().unwrap(), Keys::generate().unwrap()]
}

/// A firewall of the host, and rules as a gateway has them.
const GATEWAY: &str = "\
    PostUp = nft add table inet fw-%i\n\
    PostUp = nft 'add chain inet fw-%i forward { type filter hook forward priority filter; }'\n\
    PostUp = nft 'add chain inet fw-%i post { type nat hook postrouting priority srcnat; }'\n\
    PostUp = nft add rule inet fw-%i post ip saddr 10.78.0.0/24 masquerade\n\
    PostDown = nft delete table inet fw-%i\n";

/// What doctor says, notes left out, and its exit status.
fn ask(machine: &Machine<'_>) -> (Vec<Value>, i32) {
    let binary = crate::e2e::ringtun().program;
    let mut command = machine.command(&binary, &["doctor", &machine.name, "--json"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let json: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let mut findings = json["findings"].as_array().unwrap().clone();
    findings.retain(|finding| finding["severity"] != "note");
    (findings, output.status.code().unwrap())
}

/// Does what a finding says, as it says it.
fn mend(machine: &Machine<'_>, finding: &Value) {
    let binary = crate::e2e::ringtun().program;
    let programs = binary.parent().unwrap().display();
    for remedy in finding["remedies"].as_array().unwrap() {
        if let Some(command) = remedy["command"].as_str() {
            let script = format!("PATH={programs}:$PATH\n{command}\n");
            machine.other("sh", &["-ec", &script]);
        }
        let line = &remedy["line"];
        if let Some(text) = line["text"].as_str() {
            let said = line["file"].as_str().unwrap();
            assert_eq!(said, format!("/etc/wireguard/{}.conf", machine.name));
            let old = fs::read_to_string(machine.file()).unwrap();
            let mut lines: Vec<&str> = old.lines().collect();
            match line["line"].as_u64() {
                Some(at) => lines[usize::try_from(at).unwrap() - 1] = text,
                None => lines.insert(1, text),
            }
            fs::write(machine.file(), lines.join("\n") + "\n").unwrap();
        }
    }
}

/// The first findings hold `id`, with a status of `code`; following them leads to none.
#[track_caller]
fn is_mended(machine: &Machine<'_>, id: &str, code: i32) {
    let (mut findings, said) = ask(machine);
    assert!(
        findings.iter().any(|finding| finding["id"] == id),
        "{id} in {findings:#?}"
    );
    assert_eq!(said, code, "{findings:#?}");
    for _ in 0..ROUNDS {
        let all = std::mem::take(&mut findings);
        for finding in &all {
            let seen = finding["seen"].as_array().unwrap();
            assert!(!seen.is_empty() && finding["what"].as_str().unwrap().len() > 10);
            mend(machine, finding);
        }
        let again = ask(machine);
        if again.0.is_empty() {
            assert_eq!(again.1, NOTHING);
            return;
        }
        findings = again.0;
    }
    panic!("after {ROUNDS} rounds: {findings:#?}");
}

#[track_caller]
fn is_silent(machine: &Machine<'_>) {
    let (findings, code) = ask(machine);
    assert_eq!((findings.as_slice(), code), (&[][..], NOTHING));
}

/// A machine whose tunnel is up, on which doctor has nothing to say.
struct Good {
    pair: Pair,
    keys: [Keys; 2],
}

impl Good {
    fn new() -> Self {
        Self {
            pair: Pair::new(Middle::None, 1500).unwrap(),
            keys: keys(),
        }
    }

    fn up(&self, text: &str) -> Machine<'_> {
        let machine = Machine::new(&self.pair.ends[0].ns);
        machine.write(text);
        machine.good("up");
        is_silent(&machine);
        machine
    }

    fn plain(&self) -> Machine<'_> {
        self.up(&file(&self.pair, &self.keys, "", ", 198.51.100.0/24"))
    }

    fn gateway(&self) -> Machine<'_> {
        let ns = &self.pair.ends[0].ns;
        ns.sysctl("net.ipv4.ip_forward", "1").unwrap();
        ns.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
        let other = self.pair.ends[1].address(false);
        ns.ip(&format!("route add default via {other}\n")).unwrap();
        self.up(&file(&self.pair, &self.keys, GATEWAY, ""))
    }

    /// The card outside.
    fn card(&self) -> &str {
        &self.pair.ends[0].device
    }

    fn endpoint(&self) -> IpAddr {
        self.pair.ends[1].address(false)
    }
}

#[test]
fn a_device_without_its_address_or_its_route() {
    let good = Good::new();
    let machine = good.plain();
    let name = &machine.name;
    for (id, breaks) in [
        (
            "address-missing",
            format!("addr del 10.78.0.1/24 dev {name}"),
        ),
        ("address-missing", format!("addr del fd78::1/64 dev {name}")),
        ("address-missing", format!("link set {name} mtu 1200")),
        ("route-missing", "route del 198.51.100.0/24".to_owned()),
        ("device-down", format!("link set {name} down")),
    ] {
        machine.ns.ip(&breaks).unwrap();
        is_mended(&machine, id, ERRORS);
    }
    let switch = format!("net.ipv6.conf.{name}.disable_ipv6");
    machine.ns.sysctl(&switch, "1").unwrap();
    is_mended(&machine, "address-missing", ERRORS);
}

#[test]
fn a_way_out_that_is_shut_off_or_turns_back() {
    let good = Good::new();
    let machine = good.plain();
    let (to, card, name) = (good.endpoint(), good.card(), &machine.name);
    machine
        .ns
        .ip(&format!("route add unreachable {to}/32"))
        .unwrap();
    is_mended(&machine, "no-route", ERRORS);
    machine.ns.ip(&format!("link set {card} down")).unwrap();
    is_mended(&machine, "no-route", ERRORS);
    // As AllowedIPs do that hold the endpoint.
    machine
        .ns
        .ip(&format!("route add {to}/31 dev {name}"))
        .unwrap_or_else(|_| {
            let IpAddr::V4(v4) = to else { panic!("{to}") };
            let even = std::net::Ipv4Addr::from_bits(v4.to_bits() & !1);
            machine
                .ns
                .ip(&format!("route add {even}/31 dev {name}"))
                .unwrap();
        });
    is_mended(&machine, "loop", ERRORS);
    machine.ns.ip(&format!("link set {name} mtu 1500")).unwrap();
    is_mended(&machine, "mtu", WARNINGS);
}

#[test]
fn a_tunnel_that_was_killed_and_one_that_is_not_up() {
    let good = Good::new();
    let machine = good.plain();
    machine.signal(9);
    is_mended(&machine, "leftovers", ERRORS);
    machine.good("down");
    is_mended(&machine, "not-up", ERRORS);
}

#[test]
fn a_port_that_is_taken() {
    let good = Good::new();
    let machine = good.plain();
    machine.good("down");
    let any = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 51820);
    let _socket = machine.ns.udp(any).unwrap();
    let (findings, _) = ask(&machine);
    let taken = findings
        .iter()
        .find(|finding| finding["id"] == "port-taken");
    let seen = taken.unwrap()["seen"][0].as_str().unwrap().to_owned();
    assert!(seen.contains(&std::process::id().to_string()), "{seen}");
    is_mended(&machine, "port-taken", ERRORS);
    let shown = machine.other("wg", &["show", &machine.name, "listen-port"]);
    assert_eq!(shown.trim(), "51821");
}

#[test]
fn a_file_that_others_can_read_and_one_with_a_mistake() {
    let good = Good::new();
    let machine = good.plain();
    fs::set_permissions(machine.file(), fs::Permissions::from_mode(0o644)).unwrap();
    is_mended(&machine, "file", WARNINGS);
    let text = fs::read_to_string(machine.file()).unwrap();
    for (wrong, says) in [
        (
            text.replace("ListenPort = 51820", "ListenPort = 518200"),
            "ListenPort",
        ),
        (String::new(), ""),
        ("\0\u{1b}[2J".repeat(1000), ""),
        (text.clone() + "[Peer]\nPublicKey = x\n", "PublicKey"),
    ] {
        machine.write(&wrong);
        let (findings, code) = ask(&machine);
        assert!(code == ERRORS || code == WARNINGS, "{code}");
        assert!(findings.iter().any(|f| f["id"] == "file"), "{findings:#?}");
        assert!(
            findings[0]["what"].as_str().unwrap().contains(says),
            "{findings:#?}"
        );
    }
    machine.write(&text);
    is_silent(&machine);
}

#[test]
fn a_gateway_that_does_not_forward_or_masquerade() {
    let good = Good::new();
    let machine = good.gateway();
    machine.ns.sysctl("net.ipv4.ip_forward", "0").unwrap();
    is_mended(&machine, "forwarding-off", ERRORS);
    machine
        .ns
        .sysctl("net.ipv6.conf.all.forwarding", "0")
        .unwrap();
    is_mended(&machine, "forwarding-off", ERRORS);
    let table = format!("fw-{}", machine.name);
    machine
        .ns
        .run("nft", ["flush", "chain", "inet", &table, "post"])
        .unwrap();
    is_mended(&machine, "no-masquerade", WARNINGS);
}

#[test]
fn a_firewall_that_drops_the_port() {
    let good = Good::new();
    let machine = good.plain();
    let nft = |line: &str| machine.ns.run("nft", [line]).unwrap();
    nft("add table inet fw");
    nft("add chain inet fw input { type filter hook input priority 0; }");
    is_silent(&machine);
    nft("add rule inet fw input udp dport { 53, 51800-51900 } counter drop");
    is_mended(&machine, "port-closed", ERRORS);
    // What else the rule is about stays as it was.
    let rules = machine.ns.run("nft", ["list", "ruleset"]).unwrap();
    assert!(rules.contains("{ 53, 51800-51900 }"), "{rules}");
    nft("flush chain inet fw input");
    nft("add rule inet fw input ct state established,related accept");
    nft("add rule inet fw input tcp dport 22 accept");
    nft("chain inet fw input { policy drop; }");
    is_mended(&machine, "port-closed", ERRORS);
}

#[test]
fn a_default_route_whose_rule_or_whose_answers_are_gone() {
    let good = Good::new();
    let machine = good.up(&default_route(&good.pair, &good.keys, ""));
    machine
        .ns
        .sysctl("net.ipv4.conf.all.rp_filter", "1")
        .unwrap();
    is_silent(&machine);
    machine
        .ns
        .sysctl("net.ipv4.conf.all.src_valid_mark", "0")
        .unwrap();
    is_mended(&machine, "answers-dropped", ERRORS);
    let gone = [
        "-4", "rule", "del", "not", "fwmark", "51820", "table", "51820",
    ];
    machine.ns.run("ip", gone).unwrap();
    is_mended(&machine, "route-missing", ERRORS);
}

#[test]
fn a_machine_without_tun() {
    let good = Good::new();
    let mut machine = Machine::new(&good.pair.ends[0].ns);
    let empty = machine.files.path().join("dev");
    fs::create_dir(&empty).unwrap();
    machine.instead = Some((empty, PathBuf::from("/dev/net")));
    machine.write(&file(&good.pair, &good.keys, "", ""));
    assert!(Path::new("/sys/class/misc/tun").exists());
    is_mended(&machine, "tun-missing", ERRORS);
}

#[test]
fn a_far_end_that_does_not_know_this_one() {
    let good = Good::new();
    let stranger = [
        Keys::generate().unwrap(),
        keys().into_iter().next_back().unwrap(),
    ];
    let far = far_end(&good.pair, &stranger);
    let text = file(
        &good.pair,
        &[keys()[0].clone(), stranger[1].clone()],
        "",
        "",
    );
    let machine = good.up(&(text + "PersistentKeepalive = 25\n"));
    let finding = wait::until("doctor to see that nobody answers", FIRST, || {
        let (findings, _) = ask(&machine);
        Ok(findings
            .into_iter()
            .find(|finding| finding["id"] == "no-answer"))
    })
    .unwrap();
    let advice = finding["remedies"][0]["advice"].as_str().unwrap();
    let (_, key) = advice.split_once("PublicKey = ").unwrap();
    let other = &good.pair.ends[1].ns;
    other
        .run(
            "wg",
            [
                "set",
                &far.name,
                "peer",
                key,
                "allowed-ips",
                "10.78.0.1/32,fd78::1/128",
            ],
        )
        .unwrap();
    machine.answered("10.78.0.2");
    is_silent(&machine);

    // From another namespace it has nothing to say about this one.
    let there = format!("--net=/proc/{}/ns/net", far.process.pid());
    let binary = crate::e2e::ringtun().program;
    let doctor = [&there, binary.to_str().unwrap(), "doctor", &machine.name];
    let said = machine.other("nsenter", &doctor);
    assert!(
        said.starts_with("note: ") && said.contains("[elsewhere]"),
        "{said}"
    );
    assert_eq!(said.matches("note: ").count(), 1, "{said}");
}

#[track_caller]
fn until_found(machine: &Machine<'_>, id: &str, is_there: bool) {
    let what = format!("{id}: {is_there}");
    wait::until(&what, FIRST, || {
        let (findings, _) = ask(machine);
        let found = findings.iter().any(|finding| finding["id"] == id);
        Ok((found == is_there).then_some(()))
    })
    .unwrap();
}

/// What only the user can mend, and mends.
#[test]
fn a_neighbour_that_is_gone_and_a_network_that_is_there_twice() {
    let good = Good::new();
    let machine = good.plain();
    let (other, far, to) = (
        &good.pair.ends[1].ns,
        &good.pair.ends[1].device,
        good.endpoint(),
    );
    other.ip(&format!("link set {far} down")).unwrap();
    until_found(&machine, "no-carrier", true);
    other.ip(&format!("link set {far} up")).unwrap();
    until_found(&machine, "no-carrier", false);

    other.ip(&format!("addr del {to}/24 dev {far}")).unwrap();
    machine
        .ns
        .ip(&format!("neigh flush dev {}", good.card()))
        .unwrap();
    // An answer is not waited for: asking is enough.
    let _ = machine
        .ns
        .run("ping", ["-c", "1", "-W", "1", &to.to_string()]);
    until_found(&machine, "neighbour-silent", true);
    other.ip(&format!("addr add {to}/24 dev {far}")).unwrap();
    let _ = machine
        .ns
        .run("ping", ["-c", "1", "-W", "5", &to.to_string()]);
    until_found(&machine, "neighbour-silent", false);
    is_silent(&machine);

    let card = good.card();
    // A part of what is behind the peer may be here, by a route of its own.
    let part = format!("198.51.100.9/25 dev {card}");
    machine.ns.ip(&format!("addr add {part}")).unwrap();
    is_silent(&machine);
    machine.ns.ip(&format!("addr del {part}")).unwrap();
    machine
        .ns
        .ip(&format!("addr add 198.51.100.9/24 dev {card}"))
        .unwrap();
    machine
        .ns
        .ip(&format!("route del 198.51.100.0/24 dev {}", machine.name))
        .unwrap();
    until_found(&machine, "network-twice", true);
    machine
        .ns
        .ip(&format!("addr del 198.51.100.9/24 dev {card}"))
        .unwrap();
    is_mended(&machine, "route-missing", ERRORS);
}

#[test]
fn a_name_that_is_not_known_and_a_firewall_that_is_passed_by() {
    let good = Good::new();
    let machine = Machine::new(&good.pair.ends[0].ns);
    let endpoint = format!("Endpoint = {}:", good.endpoint());
    let text = file(&good.pair, &good.keys, "", "");
    machine.write(&text.replace(&endpoint, "Endpoint = far.example.test:"));
    machine.good("up");
    until_found(&machine, "name-unknown", true);
    let hosts = format!("{} far.example.test\n", good.endpoint());
    fs::write(machine.files.path().join("hosts"), hosts).unwrap();
    until_found(&machine, "name-unknown", false);

    let binary = crate::e2e::ringtun().program;
    let binary = binary.to_str().unwrap();
    machine.other(binary, &["io", &machine.name, "xdp"]);
    // The first packet to a peer decides on the card.
    let _ = machine.ns.run("ping", ["-c", "1", "-W", "1", "10.78.0.2"]);
    machine.ns.run("nft", ["add table inet fw"]).unwrap();
    let chain = "add chain inet fw input { type filter hook input priority 0; }";
    machine.ns.run("nft", [chain]).unwrap();
    machine
        .ns
        .run("nft", ["add rule inet fw input udp dport 51820 accept"])
        .unwrap();
    let said = || machine.other(binary, &["doctor", &machine.name]);
    wait::until("the note", FIRST, || {
        Ok(said().contains("[firewall-passed-by]").then_some(()))
    })
    .unwrap();
    machine.other(binary, &["io", &machine.name, "udp"]);
    wait::until("no note", FIRST, || Ok(said().is_empty().then_some(()))).unwrap();
}

#[test]
fn what_is_not_there_is_told_and_a_name_alone_is_enough() {
    let good = Good::new();
    let machine = Machine::new(&good.pair.ends[0].ns);
    let (findings, code) = ask(&machine);
    assert_eq!(
        (&findings[0]["id"], code),
        (&Value::from("no-file"), ERRORS)
    );
    // Without a name, files whose tunnels are not up are nobody's business.
    machine.write(&file(&good.pair, &good.keys, "", ""));
    let binary = crate::e2e::ringtun().program;
    let output = machine.command(&binary, &["doctor"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains(&machine.name), "{said}");
    let output = machine
        .command(&binary, &["doctor", &machine.name])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!("error: {}: the tunnel is not up [not-up]\n", machine.name);
    assert!(said.starts_with(&expected), "{said}");
    let mend = format!("  mend: ringtun up /etc/wireguard/{}.conf\n", machine.name);
    assert!(said.contains(&mend), "{said}");
}

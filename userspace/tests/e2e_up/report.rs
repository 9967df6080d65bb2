//! `ringtun report` of a tunnel that runs: what a maintainer needs, and nothing that
//! says whose it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringtun_lab::keys::{self, Keys};
use ringtun_lab::link::Middle;
use ringtun_lab::{Pair, wait};
use serde_json::Value;

use crate::logs::forms;
use crate::machine::{BEYOND, FIRST, Machine, far_end_with};

const HOST: &str = "vpn.annas-firm.example";
const FRIENDLY: &str = "Anna's gateway";
/// A report may take so long, whatever the machine does.
const LIMIT: Duration = Duration::from_secs(10);

/// `ringtun report` with these arguments: its status, what it said, and where it wrote.
fn report(machine: &Machine<'_>, name: &str, more: &[&str]) -> (Option<i32>, String, PathBuf) {
    let binary = crate::e2e::ringtun().program;
    let path = machine.files.path().join(name);
    let mut arguments = vec!["report", &machine.name, "--output", path.to_str().unwrap()];
    arguments.extend(more);
    let begun = Instant::now();
    let output = machine.command(&binary, &arguments).output().unwrap();
    assert!(
        begun.elapsed() < LIMIT + Duration::from_secs(5),
        "it took {:?}",
        begun.elapsed()
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said, path)
}

/// Fields and tables of the section of this name.
fn section<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut sections = report["sections"].as_array().unwrap().iter();
    sections
        .find(|section| section["section"] == name)
        .unwrap_or_else(|| panic!("{name} in {report:#}"))
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_report_has_what_a_maintainer_needs_and_no_key_no_name_and_no_address() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let psk = keys::preshared().unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let more = format!("PresharedKey = {psk}\n");
    let _far = far_end_with(&pair, &keys, &more, &[]);
    let machine = Machine::new(&pair.ends[0].ns);
    let far = pair.ends[1].address(false);
    let hosts = machine.files.path().join("hosts");
    fs::write(hosts, format!("{far} {HOST}\n")).unwrap();
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\nListenPort = 51820\nMTU = 1440\n\
         PostUp = true hunter2 /home/hannah\nDNS = 10.78.0.2, annas-firm.example\n\
         [Peer]\n# friendly_name = {FRIENDLY}\nPublicKey = {}\nPresharedKey = {psk}\n\
         AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {HOST}:51820\nPersistentKeepalive = 1\n",
        keys[0].private, keys[1].public
    ));
    machine.good("up");
    machine.answered("10.78.0.2");
    machine.answered(BEYOND[0]);
    // No WireGuard message: a drop to be counted.
    let near = pair.ends[0].address(false);
    let junk = format!("echo hello > /dev/udp/{near}/51820");
    wait::until("the drop", FIRST, || {
        pair.ends[1].ns.run("bash", ["-c", &junk])?;
        let binary = crate::e2e::ringtun().program;
        let shown = machine.other(binary.to_str().unwrap(), &["show", &machine.name, "--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        Ok((shown["drops"]["malformed"].as_u64() > Some(0)).then_some(()))
    })
    .unwrap();
    // The device is more than the way takes: a finding.
    machine.other("ip", &["link", "set", &machine.name, "mtu", "1480"]);

    let (code, said, path) = report(&machine, "report.txt", &[]);
    assert_eq!(code, Some(0), "{said}");
    for told in [
        "Read it before you send it",
        "bytes",
        "doctor",
        "replaced by others",
    ] {
        assert!(said.contains(told), "{told} in {said}");
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let (code, said, json_path) = report(&machine, "report.json", &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let json = fs::read_to_string(json_path).unwrap();
    let (code, said, real_path) = report(&machine, "real.txt", &["--addresses"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Addresses are REAL"), "{said}");
    let real = fs::read_to_string(real_path).unwrap();

    let secrets = [&keys[0].private, &keys[0].public, &keys[1].public, &psk];
    let links = machine.ns.run("ip", ["-o", "link"]).unwrap();
    let macs = links
        .lines()
        .filter_map(|line| line.split("link/ether ").nth(1)?.get(..17));
    let named = [
        HOST,
        "annas-firm",
        FRIENDLY,
        "hunter2",
        "hannah",
        &machine.name,
        &pair.ends[0].device,
    ];
    let named = named.into_iter().chain(macs).map(str::to_lowercase);
    let named: Vec<String> = named.collect();
    assert!(named.len() > 7, "{links}");
    for report in [&text, &json, &real] {
        for form in secrets.into_iter().flat_map(|key| forms(key)) {
            assert!(!report.contains(&form), "{form} in {report}");
        }
        let lower = report.to_lowercase();
        for hidden in &named {
            assert!(!lower.contains(hidden), "{hidden} in {report}");
        }
    }
    let (far, near) = (far.to_string(), near.to_string());
    for hidden in ["10.78.0.1", "10.78.0.2", "fd78::1", &far, &near] {
        assert!(
            !text.contains(hidden) && !json.contains(hidden),
            "{hidden} in {text}"
        );
    }
    for shown in ["10.78.0.1/24", "fd78::1/64", &far, &near] {
        assert!(real.contains(shown), "{shown} in {real}");
    }

    let asked = std::env::var("RINGTUN_IO").unwrap_or_else(|_| "auto".to_owned());
    let asked = format!("I/O asked for {asked}");
    let lines: Vec<String> = text.lines().map(words).collect();
    let lines = lines.join("\n");
    for there in [
        "==== file, tunnel-1 ====",
        "==== state, tunnel-1 ====",
        "private key yes",
        "PostUp hooks 1",
        "peers with names 1",
        &asked,
        "MTU 1480",
        "warning mtu tunnel-1 command, line",
    ] {
        assert!(lines.contains(there), "{there} is not in {text}");
    }
    let json: Value = serde_json::from_str(&json).unwrap();
    let state = section(&json, "state");
    assert!(
        ["udp", "xdp"].iter().any(|io| state["I/O"] == *io),
        "{state:#}"
    );
    let peer = &state["running peers"][0];
    assert_eq!(peer["peer"], "peer-1");
    assert_eq!(peer["preshared key"], true);
    assert!(
        peer["handshake (s ago)"]
            .as_u64()
            .is_some_and(|ago| ago < 300),
        "{peer}"
    );
    assert!(peer["rx bytes"].as_u64() > Some(100), "{peer}");
    assert_eq!(
        section(&json, "file")["peers"][0]["endpoint"],
        "host-1:51820"
    );
    let drops = state["drops"].as_array().unwrap();
    let junk = drops.iter().find(|drop| drop["reason"] == "malformed");
    assert!(
        junk.is_some_and(|drop| drop["packets"].as_u64() > Some(0)),
        "{drops:?}"
    );
    let rules = section(&json, "routes")["IPv4 rules"].as_array().unwrap();
    assert!(
        rules
            .iter()
            .any(|rule| rule["not"] == true && rule["mark"].is_u64()),
        "{rules:?}"
    );
    let devices = section(&json, "links")["devices"].as_array().unwrap();
    assert!(
        devices.iter().any(|device| device["device"] == "veth-1"),
        "{devices:?}"
    );

    let (code, said, _) = report(&machine, "report.txt", &[]);
    assert_eq!(code, Some(1), "not over another file");
    assert!(said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

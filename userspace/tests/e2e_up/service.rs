//! `ringtun@.service`, and what the process tells its manager.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use ringtun_lab::link::Middle;
use ringtun_lab::registry::Directory;
use ringtun_lab::{Pair, names, tools};

use crate::machine::{FIRST, Machine};

const UNIT: &str = include_str!("../../../packaging/systemd/ringtun@.service");
const GATEWAY: &str = include_str!("../../../packaging/systemd/ringtun-gateway.service");
/// Of 10, as `systemd-analyze security` counts what a service may do.
const EXPOSURE_MAX: &str = "30";

fn file(hooks: &str) -> String {
    let key = ringtun_lab::keys::Keys::generate().unwrap().private;
    format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {key}\nListenPort = 51820\n{hooks}"
    )
}

/// Messages until one that holds `last`.
fn until(manager: &UnixDatagram, last: &str) -> Vec<String> {
    manager.set_read_timeout(Some(FIRST)).unwrap();
    let mut all = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let len = manager
            .recv(&mut bytes)
            .unwrap_or_else(|e| panic!("{e} after {all:?}"));
        all.push(String::from_utf8(bytes[..len].to_vec()).unwrap());
        if all.last().unwrap().contains(last) {
            return all;
        }
    }
}

#[test]
fn a_manager_is_told_that_it_is_ready_lives_and_ends() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let environment = machine.files.path().join("environment");
    machine.write(&file(&format!(
        "PostUp = env > {}\n",
        environment.display()
    )));
    let name = names::unique("n");
    // Such names belong to a network namespace.
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_socket = machine
        .ns
        .within(|| Ok(UnixDatagram::bind_addr(&address)?))
        .unwrap();
    let path = machine.files.path().join("notify");
    for (manager, told) in [
        (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap()),
        (abstract_socket, &format!("@{name}")),
    ] {
        for what in ["up", "run"] {
            let device = match what {
                "up" => machine.name.clone(),
                _ => names::unique("w"),
            };
            let arguments = [what, "--foreground", &device];
            let mut command = machine.command(&crate::e2e::ringtun().program, &arguments);
            command
                .env("NOTIFY_SOCKET", told)
                .env("WATCHDOG_USEC", "200000");
            let process = ringtun_lab::Process::spawn(command).unwrap();
            let first = until(&manager, "READY=1");
            assert!(
                first.iter().all(|said| !said.contains("STOPPING")),
                "{first:?}"
            );
            until(&manager, "WATCHDOG=1");
            until(&manager, "WATCHDOG=1");
            process.signal(15).unwrap();
            until(&manager, "STOPPING=1");
            let status = process.wait_exit(FIRST).unwrap();
            assert!(status.success(), "{}", process.output());
        }
    }
    // Hooks speak to nobody's manager.
    let environment = fs::read_to_string(environment).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("NOTIFY_SOCKET"));
    assert!(!environment.contains("WATCHDOG"), "{environment}");
}

#[test]
fn the_units_are_right_and_may_do_little() {
    tools::need(&[("systemd-analyze", "systemd")]).unwrap();
    let directory = Directory::new().unwrap();
    let binary = fs::canonicalize(crate::e2e::ringtun().program).unwrap();
    for (name, text) in [
        ("ringtun@wg0.service", UNIT),
        ("ringtun-gateway.service", GATEWAY),
    ] {
        let unit = directory.path().join(name);
        let text = text.replace("/usr/bin/ringtun", binary.to_str().unwrap());
        fs::write(&unit, &text).unwrap();
        let analyze = |arguments: &[&str]| {
            let output = Command::new("systemd-analyze")
                .args(arguments)
                .arg(&unit)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        };
        assert_eq!(analyze(&["verify", "--man=no"]), (true, String::new()));
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let (good, said) = analyze(&["security", "--offline=true", "--no-pager", &threshold]);
        assert!(good, "{said}");
        let wrong = text.replace("NoNewPrivileges=yes\n", "NoNewPrivileges=perhaps\n");
        fs::write(&unit, wrong).unwrap();
        assert!(
            !analyze(&["verify", "--man=no"]).1.is_empty(),
            "a mistake is seen"
        );
    }
    // What differs is whose tunnels they are.
    let rights = |text: &'static str| text.split("WatchdogSec").nth(1);
    assert_eq!(rights(UNIT), rights(GATEWAY));
}

/// The capabilities that the unit leaves are enough, with hooks and everything.
#[test]
fn what_the_unit_leaves_is_enough() {
    tools::need(&[("setpriv", "util-linux")]).unwrap();
    let line = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let kept: Vec<String> = line
        .unwrap()
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    assert!(kept.len() < 8, "{kept:?}");
    let bounding = format!("--bounding-set=-all,{}", kept.join(","));
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let table = format!("t-{}", machine.name);
    machine.write(&file(&format!(
        "DNS = 10.78.0.2\nPostUp = nft add table inet {table}; iptables -A FORWARD -i %i -j ACCEPT\nPostUp = sysctl -w net.ipv4.ip_forward=1\nPostDown = nft delete table inet {table}; iptables -D FORWARD -i %i -j ACCEPT\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {}:51820\n",
        ringtun_lab::keys::Keys::generate().unwrap().public,
        pair.ends[1].address(false)
    )));
    let binary = crate::e2e::ringtun().program;
    let ringtun = |what: &str| {
        let arguments = [
            &bounding,
            "--no-new-privs",
            binary.to_str().unwrap(),
            what,
            &machine.name,
        ];
        let mut command = machine.command(Path::new("setpriv"), &arguments);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    ringtun("up");
    let status = fs::read_to_string(format!("/proc/{}/status", machine.daemon())).unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"))
        .unwrap();
    let mask = u64::from_str_radix(mask, 16).unwrap();
    assert_eq!(mask.count_ones() as usize, kept.len(), "{mask:x}");
    assert!(
        machine
            .ns
            .run("nft", ["list", "tables"])
            .unwrap()
            .contains(&table)
    );
    ringtun("reload");
    ringtun("down");
    assert!(
        !machine
            .ns
            .run("nft", ["list", "tables"])
            .unwrap()
            .contains(&table)
    );
}

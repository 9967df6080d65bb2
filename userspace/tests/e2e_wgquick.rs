//! The distribution's `wg-quick`, as it is, with ringtun as its implementation.
//!
//! It runs in a network namespace and in a mount namespace of its own: `/etc/wireguard`,
//! `/etc/resolv.conf` and `/run` are directories of the test.

mod e2e;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::netns::{finish, with_private_mounts};
use ringtun_lab::peers::local::Device;
use ringtun_lab::registry::Directory;
use ringtun_lab::{NetNs, Pair, names, ping, tools, wait};

/// How long to wait for what must come, on a machine whose processors are taken.
const FIRST: Duration = Duration::from_secs(60);
/// An address behind the far end, reached by the default route alone.
const BEYOND: [&str; 2] = ["203.0.113.5", "2001:db8::5"];

/// A machine of its own, as far as `wg-quick` can see.
struct Machine<'a> {
    ns: &'a NetNs,
    files: Directory,
    name: String,
}

impl<'a> Machine<'a> {
    fn new(ns: &'a NetNs) -> Self {
        tools::need(&[
            ("wg-quick", "wireguard-tools"),
            ("resolvconf", "openresolv"),
            ("nft", "nftables"),
        ])
        .unwrap();
        let files = Directory::new().unwrap();
        for directory in ["wireguard", "run"] {
            fs::create_dir(files.path().join(directory)).unwrap();
        }
        fs::write(files.path().join("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        Machine {
            ns,
            files,
            name: names::unique("q"),
        }
    }

    fn file(&self) -> PathBuf {
        self.files
            .path()
            .join(format!("wireguard/{}.conf", self.name))
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    fn hook(&self, what: &str) -> String {
        let log = self.files.path().join("log");
        format!("{what} = echo {what} %i >> {}\n", log.display())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command: Command = self.ns.command(program);
        let binary = e2e::ringtun().program;
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(arguments)
            .env("WG_QUICK_USERSPACE_IMPLEMENTATION", "ringtun")
            .env(
                "PATH",
                format!("{}:{path}", binary.parent().unwrap().display()),
            );
        let inside = |name: &str| self.files.path().join(name);
        with_private_mounts(
            &mut command,
            &[
                (&inside("wireguard"), Path::new("/etc/wireguard")),
                (&inside("resolv.conf"), Path::new("/etc/resolv.conf")),
                (&inside("run"), Path::new("/run")),
            ],
        )
        .unwrap();
        finish(&mut command).unwrap()
    }

    fn quick(&self, what: &str) -> String {
        self.run("wg-quick", &[what, &self.name])
    }

    /// Rules, routes, links and nftables: what `down` has to take back.
    fn state(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &["-4", "rule"][..],
            &["-6", "rule"],
            &["-4", "route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
            &["-o", "link"],
        ] {
            text.push_str(&self.ns.run("ip", arguments).unwrap());
        }
        text + &self.ns.run("nft", ["list", "ruleset"]).unwrap()
    }
}

/// The far end: a gateway with an address behind it.
fn far_end(pair: &Pair, keys: &[Keys; 2]) -> Device {
    let ns = &pair.ends[1].ns;
    let device = Device::start(&e2e::ringtun(), ns, &names::unique("w")).unwrap();
    let text = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.1/32, fd78::1/128\n",
        keys[1].private, keys[0].public
    );
    ns.run_with_input(
        "wg",
        ["setconf", &device.name, "/dev/stdin"],
        text.as_bytes(),
    )
    .unwrap();
    ns.ip(&format!(
        "addr add 10.78.0.2/24 dev {0}\naddr add fd78::2/64 dev {0} nodad\nlink set {0} mtu 1420\nlink set {0} up\naddr add {1}/32 dev lo\naddr add {2}/128 dev lo\n",
        device.name, BEYOND[0], BEYOND[1]
    ))
    .unwrap();
    device
}

fn answered(ns: &NetNs, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    ping::until_answered(ns, address, FIRST).unwrap();
}

#[test]
fn a_default_route_for_both_families_goes_up_and_down_without_a_trace() {
    for v6 in [false, true] {
        let pair = Pair::new(Middle::Router, 1500).unwrap();
        let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
        let _far = far_end(&pair, &keys);
        let ns = &pair.ends[0].ns;
        let machine = Machine::new(ns);
        let endpoint = SocketAddr::new(pair.ends[1].address(v6), 51820);
        machine.write(&format!(
            "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\nDNS = 10.78.0.2, example.test\n{}{}{}{}\n[Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {endpoint}\nPersistentKeepalive = 25\n",
            keys[0].private,
            machine.hook("PreUp"),
            machine.hook("PostUp"),
            machine.hook("PreDown"),
            machine.hook("PostDown"),
            keys[1].public,
        ));
        let before = machine.state();
        machine.quick("up");
        for address in ["10.78.0.2", "fd78::2"].into_iter().chain(BEYOND) {
            answered(ns, address);
        }
        // The outside of the tunnel does not go through the tunnel.
        let mark = machine.run("wg", &["show", &machine.name, "fwmark"]);
        assert_ne!(mark.trim(), "off");
        let route = ns.run("ip", ["route", "get", BEYOND[0]]).unwrap();
        assert!(route.contains(&machine.name), "{route}");
        let link = ns.run("ip", ["link", "show", &machine.name]).unwrap();
        assert!(link.contains("mtu 1420"), "{link}");
        let name = &machine.name;
        assert_eq!(machine.log(), format!("PreUp {name}\nPostUp {name}\n"));
        let resolv = fs::read_to_string(machine.files.path().join("resolv.conf")).unwrap();
        assert!(
            resolv.contains("10.78.0.2") && resolv.contains("example.test"),
            "{resolv}"
        );

        machine.quick("down");
        assert_eq!(
            machine.log(),
            format!("PreUp {name}\nPostUp {name}\nPreDown {name}\nPostDown {name}\n")
        );
        assert_eq!(machine.state(), before);
        let socket = machine
            .files
            .path()
            .join(format!("run/wireguard/{name}.sock"));
        wait::until("the socket goes", FIRST, || {
            Ok((!socket.exists()).then_some(()))
        })
        .unwrap();
        // The name is free again at once.
        machine.quick("up");
        answered(ns, BEYOND[0]);
        machine.quick("down");
    }
}

#[test]
fn save_keeps_what_was_set_and_strip_shows_what_wg_reads() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let _far = far_end(&pair, &keys);
    let ns = &pair.ends[0].ns;
    let machine = Machine::new(ns);
    let endpoint = SocketAddr::new(pair.ends[1].v4.into(), 51820);
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24\nAddress = fd78::1/64\nMTU = 1380\nPrivateKey = {}\nListenPort = 51999\n\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32, fd78::2/128\nEndpoint = {endpoint}\n",
        keys[0].private, keys[1].public,
    ));
    let stripped = machine.quick("strip");
    assert!(stripped.contains("ListenPort = 51999") && stripped.contains(&keys[1].public));
    assert!(
        !stripped.contains("Address") && !stripped.contains("MTU"),
        "{stripped}"
    );

    machine.quick("up");
    answered(ns, "10.78.0.2");
    answered(ns, "fd78::2");
    let link = ns.run("ip", ["link", "show", &machine.name]).unwrap();
    assert!(link.contains("mtu 1380"), "{link}");
    let other = Keys::generate().unwrap().public;
    machine.run(
        "wg",
        &[
            "set",
            &machine.name,
            "peer",
            &other,
            "allowed-ips",
            "10.99.0.0/16",
        ],
    );
    machine.quick("save");
    let saved = machine.read();
    for part in [
        &other,
        "10.99.0.0/16",
        "10.78.0.1/24",
        "fd78::1/64",
        "MTU = 1380",
        "51999",
    ] {
        assert!(saved.contains(part), "{part} is missing:\n{saved}");
    }
    machine.quick("down");

    // What was saved is a configuration.
    machine.quick("up");
    answered(ns, "10.78.0.2");
    let peers = machine.run("wg", &["show", &machine.name, "peers"]);
    assert_eq!(peers.lines().count(), 2, "{peers}");
    machine.quick("down");
}

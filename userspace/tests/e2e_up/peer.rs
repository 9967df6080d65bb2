//! `ringtun peer add` and `remove`: the file, the QR code, and a client that uses them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use ringtun_lab::camera::read_qr;
use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::peers::{Implementation, default_cache};
use ringtun_lab::{Pair, names, ping};
use serde_json::Value;

use crate::machine::{FIRST, Machine};

/// A gateway that nobody is a client of yet.
fn file(address: &str) -> String {
    let key = Keys::generate().unwrap().private;
    format!("[Interface]\n# ours\nAddress = {address}\nPrivateKey = {key}\nListenPort = 51820\n")
}

fn peer(machine: &Machine<'_>, arguments: &[&str]) -> Output {
    let binary = crate::e2e::ringtun().program;
    let mut command = machine.command(&binary, &[&["peer"], arguments].concat());
    command.current_dir(machine.files.path()).output().unwrap()
}

#[track_caller]
fn good(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(machine: &Machine<'_>, arguments: &[&str], why: &str) {
    let before = fs::read(machine.file()).unwrap();
    let output = peer(machine, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{said}");
    assert_eq!(fs::read(machine.file()).unwrap(), before, "{said}");
}

/// `ringtun show NAME --json`.
fn shown(machine: &Machine<'_>) -> Value {
    let binary = crate::e2e::ringtun().program;
    let text = machine.other(binary.to_str().unwrap(), &["show", &machine.name, "--json"]);
    serde_json::from_str(&text).unwrap()
}

/// A client of another implementation, by wg-quick and the file that it was given.
struct Client<'a> {
    machine: Machine<'a>,
    program: PathBuf,
    file: PathBuf,
}

impl<'a> Client<'a> {
    fn up(pair: &'a Pair, file: &Path) -> Self {
        let prepared = Implementation::WireguardGo
            .prepare(&default_cache())
            .expect("wireguard-go can be had");
        let client = Client {
            machine: Machine::new(&pair.ends[1].ns),
            program: prepared.program,
            file: file.to_owned(),
        };
        client.wg_quick("up").unwrap();
        client
    }

    fn wg_quick(&self, what: &str) -> anyhow::Result<String> {
        let arguments = [what, self.file.to_str().unwrap()];
        let mut command = self.machine.command(Path::new("wg-quick"), &arguments);
        command.env("WG_QUICK_USERSPACE_IMPLEMENTATION", &self.program);
        ringtun_lab::netns::finish(&mut command)
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        // Also after a failed test; wireguard-go ends with its device.
        let _ = self.wg_quick("down");
    }
}

#[test]
fn the_code_is_the_file_and_a_client_comes_up_with_it() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    machine.write(&file("10.78.0.1/24, fd78::1/64"));
    let before = fs::read_to_string(machine.file()).unwrap();
    machine.good("up");
    let own = format!("{}.conf", names::unique("c"));
    let endpoint = pair.ends[0].address(false).to_string();
    let name = machine.name.clone();
    let add = ["add", &name, "Anna's phone", "--endpoint", &endpoint];

    let code = good(&peer(
        &machine,
        &[&add[..], &["--qr", "--out", &own]].concat(),
    ));
    let own = machine.files.path().join(own);
    let text = fs::read_to_string(&own).unwrap();
    assert_eq!(read_qr(&code, false).unwrap(), text);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&own), mode(&machine.file())), (0o600, 0o600));
    assert!(
        text.contains(&format!("Endpoint = {endpoint}:51820\n")),
        "{text}"
    );

    let client = Client::up(&pair, &own);
    for address in ["10.78.0.1", "fd78::1"] {
        let address = address.parse().unwrap();
        ping::until_answered(client.machine.ns, address, FIRST).unwrap();
        ping::expect_all(client.machine.ns, address, 10).unwrap();
    }
    let first = shown(&machine)["peers"][0].clone();
    assert_eq!(first["friendly_name"], "Anna's phone");
    assert_eq!(first["preshared_key"], true);
    assert!(first["rx_bytes"].as_u64().unwrap() > 1000);

    // Another comes: the first one's session goes on.
    let pinging = client
        .machine
        .ns
        .start("ping", ["-f", "-c", "2000", "-W", "5", "10.78.0.1"]);
    let pinging = pinging.unwrap();
    let arguments = ["add", &name, "laptop", "--endpoint", &endpoint, "--json"];
    let json: Value = serde_json::from_str(&good(&peer(&machine, &arguments))).unwrap();
    assert_eq!(
        json["addresses"],
        serde_json::json!(["10.78.0.3", "fd78::3"])
    );
    assert_eq!(
        (&json["applied"], &json["client_file"]),
        (&true.into(), &"laptop.conf".into())
    );
    let status = pinging.wait_exit(FIRST).unwrap();
    assert!(status.success() && pinging.output().contains(" 0% packet loss"));
    let now = shown(&machine);
    let now = now["peers"].as_array().unwrap();
    let same = now
        .iter()
        .find(|peer| peer["public_key"] == first["public_key"])
        .unwrap();
    assert_eq!(same["latest_handshake"], first["latest_handshake"]);
    assert!(same["rx_bytes"].as_u64() > first["rx_bytes"].as_u64());
    assert_eq!(now.len(), 2);

    // Both go, by name and by key, and the file is what it was.
    good(&peer(&machine, &["remove", &name, "laptop"]));
    good(&peer(
        &machine,
        &["remove", &name, first["public_key"].as_str().unwrap()],
    ));
    assert_eq!(fs::read_to_string(machine.file()).unwrap(), before);
    assert_eq!(shown(&machine)["peers"], serde_json::json!([]));
    refused(&machine, &["remove", &name, "laptop"], "no peer called so");
}

#[test]
fn many_at_once_each_get_addresses_of_their_own() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    // As the published file of a gateway has it: no network around its address.
    machine.write(&file("10.78.0.1/32, fd78::1"));
    machine.good("up");
    let name = &machine.name;
    std::thread::scope(|scope| {
        let adds: Vec<_> = (0..6)
            .map(|at| {
                let machine = &machine;
                let friendly = format!("client {at}");
                scope.spawn(move || {
                    peer(
                        machine,
                        &["add", &machine.name, &friendly, "--endpoint", "a.example"],
                    )
                })
            })
            .collect();
        for add in adds {
            good(&add.join().unwrap());
        }
    });
    let all = shown(&machine);
    let all = all["peers"].as_array().unwrap();
    let mut addresses: Vec<_> = all
        .iter()
        .map(|peer| peer["allowed_ips"].to_string())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 6, "{addresses:?}");
    // Each has a way into the tunnel.
    for at in 2..8 {
        let route = machine
            .ns
            .run("ip", ["route", "get", &format!("10.78.0.{at}")])
            .unwrap();
        assert!(route.contains(&format!("dev {name} ")), "{route}");
    }
    for at in 0..6 {
        good(&peer(&machine, &["remove", name, &format!("client {at}")]));
    }
    assert_eq!(shown(&machine)["peers"], serde_json::json!([]));
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let name = machine.name.clone();
    let to = ["--endpoint", "vpn.example.org"];
    let add = |friendly: &'static str| [&["add", &*name, friendly][..], &to].concat();
    machine.write(&file("10.78.0.1/30"));
    let output = peer(&machine, &add("only one"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("is not up"),
        "{said}"
    );
    refused(
        &machine,
        &add("second"),
        "all addresses of 10.78.0.0/30 are taken",
    );
    machine.write(&file("10.78.0.1/24"));
    good(&peer(&machine, &add("box")));
    refused(&machine, &add("box"), "a peer of that name already");
    refused(&machine, &add("Box"), "cannot make box.conf");
    refused(&machine, &["add", &name, "x"], "--endpoint");
    refused(&machine, &add("a\nb"), "line breaks");
    refused(
        &machine,
        &["add", &name, "x", "--endpoint", "a b"],
        "HOST:PORT",
    );
    refused(
        &machine,
        &[
            "add",
            &name,
            "x",
            "--endpoint",
            "a",
            "--allowed",
            "10.0.0.0/33",
        ],
        "prefix",
    );
    let text = fs::read_to_string(machine.file()).unwrap();
    for (wrong, why) in [
        (String::new(), "there is no [Interface]"),
        (text.clone() + "[Peer]\nPublicKey = no\n", "PublicKey"),
        ("\0\u{1b}[2J\u{ff}".repeat(1000), "nothing was changed"),
        (text.replace("Address = 10.78.0.1/24\n", ""), "no Address"),
    ] {
        machine.write(&wrong);
        refused(&machine, &add("new"), why);
    }
    fs::write(machine.file(), b"[Interface]\n# \xff\xfe\n").unwrap();
    refused(&machine, &add("new"), "");
    assert!(!machine.files.path().join("new.conf").exists());

    // A link stays one, and its file gets the peer.
    let elsewhere = machine.files.path().join("wireguard/elsewhere");
    fs::write(&elsewhere, &text).unwrap();
    fs::remove_file(machine.file()).unwrap();
    std::os::unix::fs::symlink("elsewhere", machine.file()).unwrap();
    let said = good(&peer(
        &machine,
        &[&add("linked")[..], &["--out", "-"]].concat(),
    ));
    assert!(said.starts_with("[Interface]\nPrivateKey = "), "{said}");
    assert!(fs::symlink_metadata(machine.file()).unwrap().is_symlink());
    assert!(
        fs::read_to_string(elsewhere)
            .unwrap()
            .contains("# friendly_name = linked\n")
    );
}

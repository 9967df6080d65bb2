//! `ringtun gateway`: several tunnels in one process.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::{Pair, Process, link, names, wait};

use crate::confined::{is_confined, process_with};
use crate::machine::{BEYOND, FIRST, Machine, default_route, far_end};

/// A machine with two tunnels: one with a default route and a peer, one without any.
struct Gateway<'a> {
    machine: Machine<'a>,
    other: String,
}

impl<'a> Gateway<'a> {
    fn new(pair: &'a Pair, keys: &[Keys; 2]) -> Self {
        let machine = Machine::new(&pair.ends[0].ns);
        machine.write(&default_route(pair, keys, &machine.hook("PostDown")));
        let gateway = Self {
            machine,
            other: names::unique("v"),
        };
        gateway.write_other("");
        let [one, two] = [&gateway.machine.name, &gateway.other];
        gateway.write(&format!(
            "workers = 2\n[tunnel.{one}]\n[tunnel.{two}]\nio = \"udp\"\n[lan]\ninterfaces = [\"lan9\"]\n"
        ));
        gateway
    }

    fn config(&self) -> PathBuf {
        self.machine.files.path().join("ringtun.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    fn write_other(&self, hooks: &str) {
        let key = Keys::generate().unwrap().private;
        let text = format!(
            "[Interface]\nAddress = 10.79.0.1/24\nPrivateKey = {key}\nListenPort = 51833\n{hooks}"
        );
        let path = format!("wireguard/{}.conf", self.other);
        fs::write(self.machine.files.path().join(path), text).unwrap();
    }

    fn ringtun(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let config = self.config();
        let arguments = [
            &["gateway", "--config", config.to_str().unwrap()],
            arguments,
        ]
        .concat();
        let binary = crate::e2e::ringtun().program;
        let mut command = self.machine.command(&binary, &arguments);
        let output = command.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        (output.status.code(), said.into_owned())
    }

    fn daemon(&self) -> u32 {
        let config = self.config();
        let line = format!("gateway\0--config\0{}\0", config.display());
        process_with(&line).expect("the gateway runs")
    }

    fn assert_nothing_is_left(&self) {
        let journal = self.machine.journal();
        for name in [&self.machine.name, &self.other] {
            assert!(!self.is_there(name), "{name}");
            let journal = journal.with_file_name(format!("{name}.json"));
            assert!(!journal.exists(), "{name}");
        }
    }

    fn is_there(&self, name: &str) -> bool {
        link::index(self.machine.ns, name).is_ok()
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        // Also after a failed test.
        let binary = crate::e2e::ringtun().program;
        let _ = self
            .machine
            .command(&binary, &["down", &self.other])
            .output();
    }
}

#[test]
fn one_process_holds_all_tunnels_and_each_goes_by_itself() {
    let pair = Pair::new(Middle::Router, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let _far = far_end(&pair, &keys);
    let gateway = Gateway::new(&pair, &keys);
    let (machine, other) = (&gateway.machine, &gateway.other);
    let before = machine.state();

    let (code, said) = gateway.ringtun(&["--check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 tunnels"), "{said}");
    let (code, said) = gateway.ringtun(&[]);
    assert_eq!(code, Some(0), "{said}");
    machine.answered(BEYOND[0]);
    machine.answered(BEYOND[1]);
    assert!(gateway.is_there(other));
    let daemon = gateway.daemon();
    is_confined(daemon);
    let shown = machine.other(
        crate::e2e::ringtun().program.to_str().unwrap(),
        &["show", "--json"],
    );
    assert!(
        shown.contains(&machine.name) && shown.contains(other),
        "{shown}"
    );
    let (code, said) = gateway.ringtun(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("already up"), "{said}");
    let (code, said) = gateway.ringtun(&["--reload"]);
    assert_eq!(code, Some(0), "{said}");

    // One goes, and is not waited for longer than that takes.
    let start = Instant::now();
    let binary = crate::e2e::ringtun().program;
    let mut command = machine.command(&binary, &["down", other]);
    assert!(command.status().unwrap().success());
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(!gateway.is_there(other));
    machine.answered(BEYOND[0]);
    assert_eq!(gateway.daemon(), daemon);

    assert!(
        std::process::Command::new("kill")
            .arg(daemon.to_string())
            .status()
            .unwrap()
            .success()
    );
    wait::until("the last device is gone", FIRST, || {
        Ok((!gateway.is_there(&machine.name) && !machine.journal().exists()).then_some(()))
    })
    .unwrap();
    assert_eq!(machine.log(), format!("PostDown {}\n", machine.name));
    assert_eq!(machine.state(), before);
}

#[test]
fn if_one_cannot_be_brought_up_none_is() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let gateway = Gateway::new(&pair, &keys);
    let before = gateway.machine.state();
    for hook in ["PreUp", "PostUp"] {
        gateway.write_other(&format!("{hook} = echo not today >&2; exit 7\n"));
        let (code, said) = gateway.ringtun(&[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("exit status: 7"), "{said}");
        assert_eq!(gateway.machine.state(), before);
        gateway.assert_nothing_is_left();
    }
    // The first, with the other begun.
    gateway.write_other(&gateway.machine.hook("PostDown"));
    let file = default_route(&pair, &keys, "PostUp = echo not today >&2; exit 7\n");
    gateway.machine.write(&file);
    let (code, said) = gateway.ringtun(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("exit status: 7"), "{said}");
    assert_eq!(gateway.machine.state(), before);
    gateway.assert_nothing_is_left();
    // Every mistake of every file is told, and nothing is begun.
    gateway.write_other("ListenPort = 99999\n");
    gateway.machine.write("[Interface]\nPrivateKey = x\n");
    let (code, said) = gateway.ringtun(&["--check"]);
    assert_eq!(code, Some(1), "{said}");
    for what in [&gateway.machine.name, &gateway.other, "99999", ".conf:2"] {
        assert!(said.contains(what), "{what} is not in: {said}");
    }
    assert_eq!(gateway.ringtun(&[]).0, Some(1));
    gateway.write("[tunnel.wg0]\nfiel = 1\n");
    let (code, said) = gateway.ringtun(&[]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("line 2") && said.contains("ringtun.toml"),
        "{said}"
    );
    assert_eq!(gateway.machine.state(), before);
}

#[test]
fn a_gateway_without_tunnels_serves_the_cards() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let gateway = Gateway::new(&pair, &keys);
    let (ns, card) = (&pair.ends[0].ns, &pair.ends[0].device);
    gateway.write(&format!(
        "[wan]\ninterfaces = [\"{card}\"]\n[[steer]]\nclass = \"esp\"\ncpus = \"0\"\n"
    ));
    let config = gateway.config();
    let arguments = [
        "gateway",
        "--config",
        config.to_str().unwrap(),
        "--foreground",
    ];
    let binary = crate::e2e::ringtun().program;
    let process = Process::spawn(gateway.machine.command(&binary, &arguments)).unwrap();
    let has_program = || {
        ns.run("ip", ["link", "show", card])
            .unwrap()
            .contains("xdp")
    };
    wait::until("the card has the program", FIRST, || {
        Ok(has_program().then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e}: {}", process.output()));
    is_confined(process.pid());
    process.signal(15).unwrap();
    assert!(
        process.wait_exit(FIRST).unwrap().success(),
        "{}",
        process.output()
    );
    wait::until("the program is gone with it", FIRST, || {
        Ok((!has_program()).then_some(()))
    })
    .unwrap();
}

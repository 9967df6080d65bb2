//! What `show` and the metrics tell.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;

use ringtun_lab::{netns, peers, scrape, wait};

use crate::machine::{Machine, SOON, terminate, text};

#[test]
fn metrics_are_on_the_next_free_port_where_asked_or_off() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    // Without a loopback address there is nowhere to listen, and no reason to fail.
    machine.ns.ip("address del 127.0.0.1/8 dev lo\n").unwrap();
    let pid = machine.start(&["run", name]);
    assert_eq!(machine.metrics(name), None);
    terminate(pid);
    machine.gone(name);

    machine.ns.ip("address add 127.0.0.1/8 dev lo\n").unwrap();
    let taken: TcpListener = machine
        .ns
        .listen("127.0.0.1:9586".parse().unwrap())
        .unwrap();
    let pid = machine.start(&["run", name]);
    assert_eq!(
        machine.metrics(name),
        Some("127.0.0.1:9587".parse().unwrap())
    );
    assert!(text(&machine.run(&["show", name]).stdout).contains("http://127.0.0.1:9587/metrics"));
    terminate(pid);
    machine.gone(name);

    let refused = machine.run(&["run", name, "--metrics", "127.0.0.1:9586"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.contains("127.0.0.1:9586") && said.contains("in use"),
        "{said}"
    );
    assert!(
        !machine.has_link(name) && !wait::uapi_path(name).exists(),
        "nothing is left behind"
    );
    drop(taken);

    let pid = machine.start(&["run", name, "--metrics", "[::1]:7000"]);
    let address = machine.metrics(name).unwrap();
    assert_eq!(address, "[::1]:7000".parse().unwrap());
    scrape::scrape(&machine.ns, address).unwrap();
    terminate(pid);
    machine.gone(name);

    let pid = machine.start(&["run", name, "--metrics", "off"]);
    assert_eq!(machine.metrics(name), None);
    assert!(text(&machine.run(&["show", name]).stdout).contains("metrics: off"));
    terminate(pid);
    machine.gone(name);
}

#[test]
fn show_agrees_with_wg_show_and_hides_secrets() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let pid = machine.start(&["run", name]);
    let private = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    let peer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("key");
    fs::write(&key, private).unwrap();
    let key = key.to_str().unwrap();
    machine
        .ns
        .run(
            "wg",
            [
                "set",
                name,
                "private-key",
                key,
                "listen-port",
                "40009",
                "fwmark",
                "0x2a",
                "peer",
                peer,
                "preshared-key",
                key,
                "allowed-ips",
                "10.0.0.0/24,fd00::/64",
                "endpoint",
                "[fe80::1%lo]:5",
                "persistent-keepalive",
                "61",
            ],
        )
        .unwrap();
    let ours = text(&machine.run(&["show", name]).stdout);
    let theirs = machine.ns.run("wg", ["show", name]).unwrap();
    for line in theirs.lines() {
        assert!(ours.contains(line), "{line:?} is not in\n{ours}");
    }
    assert!(
        ours.contains("dropped: none") && ours.contains("io: udp"),
        "{ours}"
    );
    let json = machine.info(name);
    assert_eq!(json["peers"][0]["endpoint"], "[fe80::1%1]:5");
    assert_eq!(json["peers"][0]["preshared_key"], true);
    assert_eq!(json["fwmark"], 42);
    let reasons = json["drops"].as_object().unwrap();
    assert_eq!(reasons.len(), ringtun::drops::DropReason::ALL.len());
    for output in [&ours, &json.to_string()] {
        assert!(!output.contains(&private[..12]), "a secret is shown");
    }
    let public = machine.ns.run("wg", ["show", name, "public-key"]).unwrap();
    assert_eq!(json["public_key"], public.trim_end());
    terminate(pid);
    machine.gone(name);
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let promtool = peers::fetch::promtool(&peers::default_cache()).unwrap();
    let machine = Machine::new(2);
    let [a, b] = [0, 1].map(|n| machine.names[n].as_str());
    let families = "ringtun,prometheus_wireguard_exporter,wireguard_exporter";
    let pid = machine.start(&["run", a, b, "--metrics-families", families]);
    let peer = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    let range = ["allowed-ips", "10.0.0.0/24", "persistent-keepalive", "9"];
    let set = [&["set", a, "peer", peer], &range[..]].concat();
    machine.ns.run("wg", set).unwrap();
    let address = machine.metrics(a).unwrap();
    let mut stream = machine.ns.connect(address, SOON).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.contains(peer));
    let mut check = Command::new(promtool);
    let said = netns::finish_with_input(check.args(["check", "metrics"]), body.as_bytes()).unwrap();
    assert_eq!(said, "");
    terminate(pid);
    machine.gone(a);
    machine.gone(b);
}

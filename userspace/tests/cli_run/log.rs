//! What is logged, changed while the process runs.

use std::io::Write;
use std::path::PathBuf;

use ringtun_lab::peers::Implementation;
use ringtun_lab::peers::local::Device;
use ringtun_lab::{NetNs, names, peers};

use crate::machine::{BINARY, SOON};

#[test]
fn the_level_of_a_running_process_is_changed_and_changed_back() {
    let ns = NetNs::new("log").unwrap();
    let ringtun = Implementation::Ringtun(PathBuf::from(BINARY));
    let ringtun = ringtun.prepare(&peers::default_cache()).unwrap();
    let name = names::unique("c");
    let more = ["--log", "error", "--log-json"];
    let device = Device::start_with(&ringtun, &ns, &name, &more).unwrap();
    let log = |level: &str| ns.run(BINARY, ["log", &name, level]).unwrap();
    // Each such request makes one line, at the level debug.
    let nonsense = || {
        let mut stream = ns.connect("127.0.0.1:9586".parse().unwrap(), SOON).unwrap();
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    };
    let lines = || {
        device
            .process
            .output()
            .matches("\"level\":\"DEBUG\"")
            .count()
    };
    nonsense();
    log("debug");
    nonsense();
    let seen = |line: &str| line.contains("DEBUG") && line.contains("metrics connection");
    device.process.wait_line(SOON, seen).unwrap();
    log("off");
    let before = lines();
    nonsense();
    log("debug");
    nonsense();
    device
        .process
        .wait_line_from(before, SOON, seen)
        .expect("on again");
    let told = device.process.output();
    assert_eq!(told.matches("metrics connection").count(), 2, "{told}");
    let wrong = ns
        .command(BINARY)
        .args(["log", &name, "loud"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("off, error, warn"), "{said}");
}

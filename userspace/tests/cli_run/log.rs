//! What is logged, changed while the process runs.

use std::io::Write;
use std::path::PathBuf;

use ringtun_lab::peers::Implementation;
use ringtun_lab::peers::local::Device;
use ringtun_lab::{NetNs, names, peers, wait};
use serde_json::Value;

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
    // Each makes one event at the level debug, unless it repeats another.
    let nonsense = |times: usize| {
        for _ in 0..times {
            let mut stream = ns.connect("127.0.0.1:9586".parse().unwrap(), SOON).unwrap();
            stream.write_all(b"nonsense\r\n\r\n").unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    };
    // Events of the lines so far: a repeated one has a line with a count.
    let events = || {
        let mut events = 0;
        for line in device.process.output().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            if line["event"] == "metrics_connection_ended" {
                assert_eq!(line["level"], "DEBUG", "{line}");
                events += line["repeated"].as_u64().unwrap_or(1);
            }
        }
        events
    };
    let reached = |count: u64| {
        let what = format!("{count} events");
        wait::until(&what, SOON, || Ok((events() >= count).then_some(()))).unwrap();
    };
    nonsense(1);
    log("debug");
    nonsense(1);
    reached(1);
    log("off");
    nonsense(10);
    log("debug");
    nonsense(3);
    // Those that were off would have been counted before these.
    reached(4);
    assert_eq!(events(), 4, "{}", device.process.output());
    assert!(device.process.output().contains("\"repeated\":"));
    let wrong = ns
        .command(BINARY)
        .args(["log", &name, "loud"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("off, error, warn"), "{said}");
}

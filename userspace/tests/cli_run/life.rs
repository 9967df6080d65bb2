//! Going to the background, several devices, and the ways to end.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use ringtun_lab::{netns, wait};

use crate::machine::{Machine, SOON, terminate, text, wait_for_end};

#[test]
fn the_command_ends_when_wg_is_answered_and_sigterm_ends_the_daemon() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    // Bare, as wireguard-go is called.
    let output = machine.run(&[name]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (String::new(), String::new())
    );
    let shown = machine.ns.run("wg", ["show", name]).unwrap();
    assert!(shown.contains(&format!("interface: {name}")), "{shown}");
    let pid = machine.info(name)["pid"].as_u64().unwrap() as u32;
    let arguments = text(&fs::read(format!("/proc/{pid}/cmdline")).unwrap());
    assert!(arguments.split('\0').any(|a| a == name), "{arguments:?}");
    let session = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: u32 = session
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(session, pid, "in a session of its own");
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
        Path::new("/")
    );
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        assert_eq!(target, Path::new("/dev/null"), "descriptor {fd}");
    }
    terminate(pid);
    machine.gone(name);
    wait_for_end(pid);
}

#[test]
fn removing_the_device_or_its_socket_ends_the_daemon() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let pid = machine.start(&["run", name]);
    machine.ns.ip(&format!("link del {name}\n")).unwrap();
    machine.gone(name);
    wait_for_end(pid);

    let pid = machine.start(&["run", name]);
    fs::remove_file(wait::uapi_path(name)).unwrap();
    machine.gone(name);
    wait_for_end(pid);
}

#[test]
fn one_process_holds_several_devices_and_ends_with_the_last() {
    let machine = Machine::new(3);
    let [a, b, c] = [0, 1, 2].map(|n| machine.names[n].as_str());
    let pid = machine.start(&["run", a, b, c, "--workers", "1"]);
    for (name, port) in [(a, "40001"), (b, "40002"), (c, "40003")] {
        machine
            .ns
            .run("wg", ["set", name, "listen-port", port])
            .unwrap();
    }
    let all = machine.run(&["show", "--json"]);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&all.stdout).unwrap();
    let port = |name: &str| all.iter().find(|d| d["name"] == name).unwrap()["listen_port"].as_u64();
    assert_eq!(
        (port(a), port(b), port(c)),
        (Some(40001), Some(40002), Some(40003))
    );

    machine.ns.ip(&format!("link del {b}\n")).unwrap();
    machine.gone(b);
    fs::remove_file(wait::uapi_path(a)).unwrap();
    machine.gone(a);
    assert_eq!(machine.info(c)["pid"].as_u64(), Some(pid.into()));
    machine.ns.ip(&format!("link del {c}\n")).unwrap();
    machine.gone(c);
    wait_for_end(pid);
}

#[test]
fn in_the_foreground_it_stays_and_logs_what_was_asked_for() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    for (arguments, variable, expected) in [
        (vec!["-f", name], None, "metrics at http"),
        (
            vec![name],
            Some(("WG_PROCESS_FOREGROUND", "1")),
            "metrics at http",
        ),
        (
            vec!["run", "--foreground", "--log-json", name],
            None,
            "\"level\":\"INFO\"",
        ),
    ] {
        let mut command = machine.command(&arguments);
        command.envs(variable);
        let process = machine.ns.spawn(command).unwrap();
        wait::uapi(name, SOON).unwrap();
        process
            .wait_line(SOON, |line| line.contains(expected))
            .unwrap();
        assert!(process.status().is_none(), "it stays");
        let status = process.stop(SOON).unwrap();
        assert_eq!(status.code(), Some(0), "SIGTERM is a clean end");
        machine.gone(name);
    }
    let mut command = machine.command(&["-f", name]);
    command.env("LOG_LEVEL", "silent");
    let process = machine.ns.spawn(command).unwrap();
    wait::uapi(name, SOON).unwrap();
    process.stop(SOON).unwrap();
    assert_eq!(process.output(), "");
}

/// Starts a daemon that logs to standard error, which is this.
fn start_logging(machine: &Machine, name: &str) -> ChildStderr {
    let mut child = machine
        .command(&["run", name])
        .env("LOG_LEVEL", "debug")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    child.stderr.take().unwrap()
}

#[test]
fn a_daemon_asked_to_log_keeps_standard_error() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let mut log = start_logging(&machine, name);
    let pid = machine.info(name)["pid"].as_u64().unwrap() as u32;
    terminate(pid);
    // To the end: it closes when the daemon ends.
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("INFO") || text.contains("WARN"), "{text}");
}

#[test]
fn a_killed_daemon_leaves_nothing_that_keeps_the_next_from_starting() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let pid = machine.start(&["run", name]);
    netns::finish(Command::new("kill").args(["-KILL", &pid.to_string()])).unwrap();
    wait_for_end(pid);
    assert!(
        wait::uapi_path(name).exists(),
        "the stale socket this is about"
    );
    let stale = machine.run(&["show", name]);
    assert!(
        text(&stale.stderr).contains("left its socket behind"),
        "{}",
        text(&stale.stderr)
    );
    let pid = machine.start(&["run", name]);
    terminate(pid);
    machine.gone(name);
}

#[test]
fn a_daemon_that_cannot_write_its_log_goes_on() {
    let machine = Machine::new(1);
    let name = machine.names[0].as_str();
    let log = start_logging(&machine, name);
    // Nobody reads any more, and what is refused is logged.
    drop(log);
    let mut stream = UnixStream::connect(wait::uapi_path(name)).unwrap();
    stream.write_all(b"set=1\nnonsense=1\n\n").unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"errno=");
    let pid = machine.info(name)["pid"].as_u64().unwrap() as u32;
    terminate(pid);
    machine.gone(name);
    wait_for_end(pid);
}

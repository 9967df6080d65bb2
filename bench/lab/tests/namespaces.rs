//! The lab against the kernel. Needs root.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use ringtun_lab::capture::Capture;
use ringtun_lab::link::Middle;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::{NetNs, Pair, ping, registry, wait};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_pair_carries_both_families_through_every_middle() {
    for middle in [Middle::None, Middle::Bridge, Middle::Router] {
        let pair = Pair::new(middle, 1500).unwrap();
        for v6 in [false, true] {
            let to = pair.ends[1].address(v6);
            ping::expect_all(&pair.ends[0].ns, to, 2).unwrap();
            let report = stream::transfer(
                &pair.ends[0].ns,
                &pair.ends[1].ns,
                SocketAddr::new(to, 5000),
                &Plan::bulk(4 << 20),
            )
            .unwrap();
            assert_eq!(report.bytes, 4 << 20);
        }
    }
}

#[test]
fn a_namespace_is_gone_with_its_guard_and_takes_its_programs_along() {
    let ns = NetNs::new("t").unwrap();
    let path = ns.path();
    assert!(path.exists());
    // A program that has left its process group and its parent, as a daemon does.
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let pid: u32 = ns
        .run("sh", ["-c", script])
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let alive = || std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
    assert!(alive());
    drop(ns);
    assert!(!path.exists());
    wait::until("end of the daemon", SOON, || Ok((!alive()).then_some(()))).unwrap();
}

#[test]
fn the_marker_in_a_capture_is_found_and_another_is_not() {
    let pair = Pair::new(Middle::Bridge, 1500).unwrap();
    let hop = pair.middle.as_ref().unwrap();
    let capture = Capture::start(&hop.ns, &hop.devices[0]).unwrap();
    let from = pair.ends[0]
        .ns
        .udp("0.0.0.0:4000".parse().unwrap())
        .unwrap();
    let to = pair.ends[1]
        .ns
        .udp("0.0.0.0:4001".parse().unwrap())
        .unwrap();
    to.set_read_timeout(Some(SOON)).unwrap();
    from.send_to(
        b"control-marker",
        SocketAddr::new(pair.ends[1].v4.into(), 4001),
    )
    .unwrap();
    let mut bytes = [0; 64];
    assert_eq!(to.recv(&mut bytes).unwrap(), 14);
    let packets = capture.finish().unwrap();
    assert_eq!(packets.holding(b"control-marker"), 1);
    assert_eq!(packets.holding(b"other-marker"), 0);
    assert_eq!(packets.udp(4001).count(), 1);
}

#[test]
fn what_a_killed_run_left_is_reaped_and_the_living_keep_theirs() {
    // The test binary plays the run that is killed.
    if std::env::var_os("RINGTUN_LAB_VICTIM").is_some() {
        let ns = NetNs::new("v").unwrap();
        println!("made {}", ns.path().display());
        std::thread::sleep(Duration::from_secs(1000));
        return;
    }
    let mine = NetNs::new("k").unwrap();
    let current = NetNs::current().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--nocapture", "--exact"])
        .arg("what_a_killed_run_left_is_reaped_and_the_living_keep_theirs")
        .env("RINGTUN_LAB_VICTIM", "1");
    let victim = current.spawn(command).unwrap();
    let line = victim
        .wait_line(SOON, |line| line.contains("made /"))
        .unwrap();
    let (_, path) = line.split_once("made ").unwrap();
    let path = std::path::Path::new(path.trim());
    registry::reap().unwrap();
    assert!(path.exists(), "a living run's namespace was taken away");
    victim.signal(libc::SIGKILL).unwrap();
    victim.wait_exit(SOON).unwrap();
    assert!(path.exists());
    registry::reap().unwrap();
    assert!(!path.exists());
    assert!(mine.path().exists());
}

#[test]
fn a_program_dies_with_its_guard() {
    let ns = NetNs::new("p").unwrap();
    let process = ns.start("sh", ["-c", "echo ready; cat"]).unwrap();
    process.wait_line(SOON, |line| line == "ready").unwrap();
    let stat = format!("/proc/{}", process.pid());
    drop(process);
    assert!(!std::path::Path::new(&stat).exists());
}

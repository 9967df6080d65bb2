//! What a daemon that is set up cannot do any more.

use std::fs;
use std::process::Command;

use ringtun::confine;
use ringtun_lab::link::Middle;
use ringtun_lab::{NetNs, Pair, link, names, wait};

use crate::machine::{FIRST, Machine, default_route, far_end};

const UNIT: &str = include_str!("../../../packaging/systemd/ringtun@.service");
const PAGE: &str = include_str!("../../../docs/security.md");

/// The value of a line of `/proc/PID/status`.
fn value<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {key} in {status}"))
        .trim()
}

fn mask(status: &str, key: &str) -> u64 {
    u64::from_str_radix(value(status, key), 16).unwrap()
}

/// What is wrong with the threads of a process: none that has more than is listed.
fn too_much(pid: u32) -> Vec<String> {
    let kept = confine::KEPT.iter().fold(0, |mask, c| mask | c.bitmask());
    let mut wrong = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // It may have ended just now.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        let sets = ["CapEff", "CapPrm", "CapBnd"].map(|key| mask(&status, key));
        let none = ["CapInh", "CapAmb"].map(|key| mask(&status, key));
        let is_confined = (value(&status, "NoNewPrivs"), value(&status, "Seccomp")) == ("1", "2");
        if sets != [kept; 3] || none != [0; 2] || !is_confined {
            wrong.push(status);
        }
    }
    wrong
}

pub fn is_confined(pid: u32) {
    wait::until(
        "every thread has given up what it does not need",
        FIRST,
        || Ok(too_much(pid).is_empty().then_some(())),
    )
    .unwrap_or_else(|e| panic!("{e}: {:?}", too_much(pid)));
}

/// System calls that a program taken over would like to make.
const REFUSED: &[(&str, libc::c_long, [u64; 3])] = &[
    ("execve", libc::SYS_execve, [0; 3]),
    ("execveat", libc::SYS_execveat, [0; 3]),
    ("a new process", libc::SYS_clone, [17, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [16, 1, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
    ("kill", libc::SYS_kill, [1, 0, 0]),
    ("tgkill of another process", libc::SYS_tgkill, [1, 1, 0]),
    ("setns", libc::SYS_setns, [0; 3]),
    ("unshare", libc::SYS_unshare, [0; 3]),
    ("mount", libc::SYS_mount, [0; 3]),
    ("init_module", libc::SYS_init_module, [0; 3]),
    ("keyctl", libc::SYS_keyctl, [0; 3]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 3]),
    ("userfaultfd", libc::SYS_userfaultfd, [0; 3]),
    ("seccomp", libc::SYS_seccomp, [0; 3]),
    ("capset", libc::SYS_capset, [0; 3]),
    ("a packet socket", libc::SYS_socket, [17, 3, 0]),
    ("TIOCSTI", libc::SYS_ioctl, [0, 0x5412, 0]),
    (
        "code in memory that is written",
        libc::SYS_mmap,
        [0, 4096, 7],
    ),
    ("memory made code", libc::SYS_mprotect, [0, 4096, 5]),
    ("a limit", libc::SYS_prlimit64, [0, 7, 8]),
];

/// Has a daemon make them, and one that it may make.
#[cfg(target_arch = "x86_64")]
fn calls_are_refused(daemon: u32) {
    let mut stopped = crate::inject::Stopped::attach(daemon);
    assert_eq!(stopped.call(libc::SYS_getpid, [0; 3]), i64::from(daemon));
    for (name, call, arguments) in REFUSED {
        let result = stopped.call(*call, *arguments);
        assert_eq!(result, -i64::from(libc::EPERM), "{name}");
    }
    // Said not to exist, for the C library to take `clone`.
    let unknown = stopped.call(libc::SYS_clone3, [0; 3]);
    assert_eq!(unknown, -i64::from(libc::ENOSYS));
}

#[cfg(not(target_arch = "x86_64"))]
fn calls_are_refused(_daemon: u32) {}

#[test]
fn a_daemon_that_is_up_can_do_little_and_hooks_all() {
    let pair = Pair::new(Middle::Router, 1500).unwrap();
    let keys = [(); 2].map(|()| ringtun_lab::keys::Keys::generate().unwrap());
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    let hooks = ["PreUp", "PostUp", "PreDown", "PostDown"].map(|hook| {
        let status = machine.files.path().join(hook);
        format!("{hook} = cat /proc/self/status > {}\n", status.display())
    });
    machine.write(&default_route(&pair, &keys, &hooks.concat()));
    let before = machine.state();
    machine.good("up");
    let daemon = machine.daemon();
    is_confined(daemon);

    calls_are_refused(daemon);

    // It lives, and does what is left.
    machine.answered("10.78.0.2");
    machine.good("reload");
    is_confined(daemon);
    machine.signal(15);
    assert_eq!(machine.state(), before);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    for hook in ["PreUp", "PostUp", "PreDown", "PostDown"] {
        let status = fs::read_to_string(machine.files.path().join(hook)).unwrap();
        for key in ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp"] {
            assert_eq!(value(&status, key), value(&own, key), "{hook}, {key}");
        }
    }
}

#[test]
fn a_daemon_of_wg_quick_can_do_little() {
    let ns = NetNs::new("c").unwrap();
    let device = names::unique("w");
    // In the background: the stops of a child would go to whoever waits for its end.
    let binary = crate::e2e::ringtun().program;
    let status = ns.command(&binary).args(["run", &device]).status();
    assert!(status.unwrap().success());
    let daemon = process_with(&format!("run\0{device}\0")).expect("the daemon runs");
    is_confined(daemon);
    calls_are_refused(daemon);
    ns.run("wg", ["show", &device]).unwrap();
    signal(daemon, 15);
    wait::until("the device goes", FIRST, || {
        Ok(link::index(&ns, &device).is_err().then_some(()))
    })
    .unwrap();
}

/// The process whose command line ends so.
pub fn process_with(end: &str) -> Option<u32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        line.ends_with(end)
            .then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

fn keeper_of(machine: &Machine<'_>) -> Option<u32> {
    process_with(&format!("ringtun: keeper of {}\0", machine.name))
}

fn signal(pid: u32, signal: i32) {
    let arguments = [format!("-{signal}"), pid.to_string()];
    assert!(
        Command::new("kill")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_keeper_outlasts_signals_and_ends_with_its_daemon() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let key = ringtun_lab::keys::Keys::generate().unwrap().private;
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24\nPrivateKey = {key}\n{}",
        machine.hook("PostDown")
    ));
    let before = machine.state();
    let ended = |what: &str| {
        wait::until(what, FIRST, || {
            Ok(keeper_of(&machine).is_none().then_some(()))
        })
        .unwrap();
    };

    // A manager that ends all processes of a service at once.
    machine.good("up");
    let keeper = keeper_of(&machine).expect("a keeper");
    for number in [1, 2, 15] {
        signal(keeper, number);
    }
    machine.signal(15);
    assert_eq!(machine.state(), before);
    assert_eq!(machine.log(), format!("PostDown {}\n", machine.name));
    ended("the keeper has ended");

    // The daemon is killed: nothing is taken back, and the keeper goes.
    machine.good("up");
    machine.signal(9);
    ended("the keeper has ended after its daemon");
    assert!(machine.journal().exists());
    machine.good("down");
    assert_eq!(machine.state(), before);

    // The keeper is killed: the daemon says so, and `down` does it.
    let log = machine.files.path().join("said");
    let arguments = ["up", "--foreground", &machine.name];
    let mut command = machine.command(&crate::e2e::ringtun().program, &arguments);
    command.stderr(fs::File::create(&log).unwrap());
    let mut daemon = command.spawn().unwrap();
    wait::until("the tunnel is up", FIRST, || {
        let text = fs::read_to_string(machine.journal()).unwrap_or_default();
        Ok(text.contains("\"complete\": true").then_some(()))
    })
    .unwrap();
    signal(keeper_of(&machine).expect("a keeper"), 9);
    signal(daemon.id(), 15);
    assert_eq!(daemon.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("`ringtun down` does it"), "{said}");
    machine.good("down");
    assert_eq!(machine.state(), before);
}

#[test]
fn the_page_the_unit_and_the_program_have_the_same_list() {
    let kept = confine::KEPT.map(|c| c.to_string());
    let line = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    assert_eq!(line.unwrap().split(' ').collect::<Vec<_>>(), kept);
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `CAP_"));
    let rows: Vec<_> = rows
        .map(|row| format!("CAP_{}", row.split('`').next().unwrap()))
        .collect();
    assert_eq!(rows, kept);
    let mut calls: Vec<&str> = REFUSED.iter().map(|(name, ..)| *name).collect();
    calls.retain(|name| !name.contains(' ') && name.chars().all(|c| c.is_lowercase() || c == '_'));
    for call in calls {
        assert!(
            PAGE.contains(&format!("`{call}`")),
            "{call} is not on the page"
        );
    }
}

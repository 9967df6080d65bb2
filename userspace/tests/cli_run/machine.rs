//! A namespace to run the program in, and what its end looks like.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ringtun_lab::registry::{FileGuard, adopt_file};
use ringtun_lab::{NetNs, names, netns, wait};

/// How long to wait for what must come, on a machine whose processors are taken.
pub const SOON: Duration = Duration::from_secs(60);
pub const BINARY: &str = env!("CARGO_BIN_EXE_ringtun");

/// A namespace, and names for devices in it.
pub struct Machine {
    pub ns: NetNs,
    _sockets: Vec<FileGuard>,
    pub names: Vec<String>,
}

impl Machine {
    pub fn new(devices: usize) -> Self {
        let names: Vec<String> = (0..devices).map(|_| names::unique("c")).collect();
        let socket = |name: &String| adopt_file(wait::uapi_path(name)).unwrap();
        Self {
            ns: NetNs::new("cli").unwrap(),
            _sockets: names.iter().map(socket).collect(),
            names,
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.ns.command(BINARY);
        command
            .args(arguments)
            .env_remove("LOG_LEVEL")
            .env_remove("WG_PROCESS_FOREGROUND")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the daemon in the background; its process id.
    pub fn start(&self, arguments: &[&str]) -> u32 {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // No waiting: when the command ends, the device answers.
        let pids: Vec<u32> = self
            .names
            .iter()
            .map(|n| self.info(n)["pid"].as_u64().unwrap() as u32)
            .collect();
        assert!(pids.iter().all(|p| *p == pids[0]));
        pids[0]
    }

    pub fn info(&self, name: &str) -> serde_json::Value {
        let output = self.run(&["show", name, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn metrics(&self, name: &str) -> Option<SocketAddr> {
        self.info(name)["metrics"]
            .as_str()
            .map(|a| a.parse().unwrap())
    }

    pub fn has_link(&self, name: &str) -> bool {
        self.ns.run("ip", ["link", "show", name]).is_ok()
    }

    /// Device and socket go away.
    pub fn gone(&self, name: &str) {
        wait::uapi_gone(name, SOON).unwrap();
        wait::until("the device goes", SOON, || {
            Ok((!self.has_link(name)).then_some(()))
        })
        .unwrap();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn terminate(pid: u32) {
    netns::finish(Command::new("kill").args(["-TERM", &pid.to_string()])).unwrap();
}

/// Until the process has no thread left that could hold anything. It is a
/// zombie then where nobody reaps orphans.
pub fn wait_for_end(pid: u32) {
    let process = format!("/proc/{pid}");
    let ended = || {
        let Ok(stat) = fs::read_to_string(format!("{process}/stat")) else {
            return Ok(Some(()));
        };
        let threads = fs::read_dir(format!("{process}/task")).map_or(0, Iterator::count);
        Ok((stat.contains(") Z ") && threads <= 1).then_some(()))
    };
    wait::until("the daemon ends", SOON, ended).unwrap();
}

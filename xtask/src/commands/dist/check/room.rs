//! A root with namespaces of its own: network, processes and mounts.
//!
//! Nothing has a name on the machine: when the first process of the room ends, or this
//! one is killed, the kernel ends all others, and mounts and networks go with them.

use crate::process::{self, Running};
use anyhow::{Context as _, Result};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

/// `$1` is the root, a mount of its own as `ip netns exec` wants it. The loop waits for processes that nobody else waits for.
const FIRST: &str = "\
set -e
mount --bind \"$1\" \"$1\"
mount -t proc proc \"$1/proc\"
mount -t sysfs sysfs \"$1/sys\"
mount -t tmpfs tmpfs \"$1/run\"
mount -t tmpfs tmpfs \"$1/dev\"
for device in 'null 1 3' 'zero 1 5' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    set -- \"$1\" $device
    mknod -m 666 \"$1/dev/$2\" c $3 $4
done
mkdir \"$1/dev/net\" \"$1/dev/pts\"
mknod -m 666 \"$1/dev/net/tun\" c 10 200
ln -s /proc/self/fd \"$1/dev/fd\"
exec chroot \"$1\" /bin/sh -c 'echo ready; while :; do sleep 3600 & wait; done'";

/// A running room; it ends when this is dropped.
#[derive(Debug)]
pub struct Room {
    running: Option<Running>,
    /// Its first process, as this namespace sees it.
    first: String,
}

impl Room {
    /// Opens a room over the root in that directory.
    pub fn new(root: &Path) -> Result<Self> {
        let mut command = process::command("unshare");
        command
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private", "sh", "-c", FIRST, "sh"])
            .arg(root)
            .stdout(Stdio::piped());
        let mut running = process::start(command)?;
        let child = running.child();
        let (id, stdout) = (child.id(), child.stdout.take());
        let mut room = Self {
            running: Some(running),
            first: String::new(),
        };
        let mut line = String::new();
        BufReader::new(stdout.context("no standard output")?).read_line(&mut line)?;
        anyhow::ensure!(
            line == "ready\n",
            "the room in {} is not ready",
            root.display()
        );
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        children.trim().clone_into(&mut room.first);
        Ok(room)
    }

    /// Runs a script of sh in it; returns what it printed.
    pub fn sh(&self, script: &str) -> Result<String> {
        let mut command = process::command("nsenter");
        command
            .args(["--target", &self.first, "--mount", "--net", "--pid"])
            .args([
                "--root",
                "--wd",
                "--",
                "/usr/bin/env",
                "-i",
                "HOME=/tmp",
                "LC_ALL=C.UTF-8",
            ])
            .args([
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args(["/bin/sh", "-euc", script]);
        process::output(command)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
            // Killed, as it has to be.
            let _ = running.wait();
        }
    }
}

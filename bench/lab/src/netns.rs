//! Named network namespaces that vanish with their guard.

use std::fs::{self, File, OpenOptions};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Output, Process};
use crate::registry::{self, Entry};
use crate::{names, sys};

/// A network namespace of our own, under a name no one else uses.
///
/// Its loopback is up and IPv6 addresses are usable at once (no duplicate address detection).
/// Dropping it ends what was started in it and is still there, and removes it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    handle: File,
    owned: bool,
}

impl NetNs {
    /// Makes a namespace; `tag` (one or two letters) is part of its name.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub fn new(tag: &str) -> Result<NetNs> {
        let name = names::unique(tag);
        let path = Path::new(registry::NETNS_DIRECTORY).join(&name);
        registry::register(Entry::NetNs(name.clone()))?;
        let made = make(&path).with_context(|| format!("cannot make network namespace {name}"));
        let handle = match made {
            Ok(handle) => handle,
            Err(error) => {
                let _ = registry::release(&Entry::NetNs(name));
                return Err(error);
            }
        };
        let ns = NetNs {
            name,
            handle,
            owned: true,
        };
        ns.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        ns.sysctl("net.ipv6.conf.default.accept_ra", "0")?;
        ns.run("ip", ["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// The namespace this process is in, to be used where any namespace is: never removed.
    ///
    /// # Errors
    /// `/proc` is not readable.
    pub fn current() -> Result<NetNs> {
        Ok(NetNs {
            name: "(this)".into(),
            handle: File::open("/proc/thread-self/ns/net")?,
            owned: false,
        })
    }

    /// Its name, as `ip netns list` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file under `/run/netns`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(registry::NETNS_DIRECTORY).join(&self.name)
    }

    /// The open namespace, for `setns`.
    #[must_use]
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// Calls `f` on a thread inside the namespace; sockets it opens stay there.
    ///
    /// # Errors
    /// The namespace cannot be entered, or what `f` returns.
    pub fn within<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::enter_net(&self.handle)
                    .with_context(|| format!("cannot enter network namespace {}", self.name))?;
                f()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A command that will run inside, and die with the thread that starts it.
    ///
    /// Keep the namespace until it is started. For programs that stay use [`NetNs::spawn`].
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(registry::OWNER_VARIABLE, registry::owner());
        sys::start_in(&mut command, Some(self.handle.as_raw_fd()));
        command
    }

    /// Runs a program to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It cannot be started or fails; the message has what it wrote to standard error.
    pub fn run<I, S>(&self, program: &str, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        finish(&mut command)
    }

    /// As [`NetNs::run`], with `input` on standard input.
    ///
    /// # Errors
    /// As [`NetNs::run`].
    pub fn run_with_input<I, S>(&self, program: &str, arguments: I, input: &[u8]) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.command(program);
        command.args(arguments);
        finish_with_input(&mut command, input)
    }

    /// Runs each line as an `ip` command, all in one process.
    ///
    /// # Errors
    /// The first line that fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.run_with_input("ip", ["-batch", "-"], lines.as_bytes())
            .with_context(|| format!("in {}:\n{lines}", self.name))
            .map(drop)
    }

    /// Starts a program that stays, in a process group of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        Process::spawn(command)
    }

    /// Starts `program` with `arguments`; see [`NetNs::spawn`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<I, S>(&self, program: &str, arguments: I) -> Result<Process>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = self.command(program);
        command.args(arguments);
        Process::spawn(command)
    }

    /// Sets a sysctl of this namespace, named with dots (`net.ipv4.ip_forward`).
    ///
    /// A part that holds a dot itself (a VLAN device) cannot be named so.
    ///
    /// # Errors
    /// There is no such setting, or the value is refused.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.within(|| fs::write(&path, value).with_context(|| format!("{name} = {value}")))
    }

    /// A TCP listener inside.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn listen(&self, address: std::net::SocketAddr) -> Result<TcpListener> {
        self.within(|| TcpListener::bind(address).with_context(|| format!("listen on {address}")))
    }

    /// A TCP connection from inside.
    ///
    /// # Errors
    /// The connection is refused or takes longer than `timeout`.
    pub fn connect(
        &self,
        address: std::net::SocketAddr,
        timeout: std::time::Duration,
    ) -> Result<TcpStream> {
        self.within(|| {
            TcpStream::connect_timeout(&address, timeout)
                .with_context(|| format!("connect to {address}"))
        })
    }

    /// A UDP socket inside.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn udp(&self, address: std::net::SocketAddr) -> Result<UdpSocket> {
        self.within(|| UdpSocket::bind(address).with_context(|| format!("bind {address}")))
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        if let Err(error) = registry::release(&Entry::NetNs(self.name.clone())) {
            eprintln!(
                "ringtun-lab: network namespace {} stays: {error}",
                self.name
            );
        }
    }
}

/// A new namespace bound to `path`.
fn make(path: &Path) -> Result<File> {
    fs::create_dir_all(registry::NETNS_DIRECTORY)?;
    {
        // As `ip netns add` does, under the same lock. Were it the first to do so, it would mount
        // the directory over itself, and the mounts made here before would stay below, busy.
        let directory = File::open(registry::NETNS_DIRECTORY)?;
        directory.lock()?;
        sys::share_mount(Path::new(registry::NETNS_DIRECTORY)).context("mount --make-shared")?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<File> {
            sys::unshare_net().context("unshare (are you root?)")?;
            sys::bind_mount(Path::new("/proc/thread-self/ns/net"), path).context("bind mount")?;
            Ok(File::open(path)?)
        });
        match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that makes the namespace panicked"),
        }
    })
}

/// Runs `command` to its end; standard output, or an error with its standard error.
///
/// # Errors
/// It cannot be started or exits with anything but 0.
pub fn finish(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    judge(command, &output)
}

/// As [`finish`], with `input` on standard input.
///
/// # Errors
/// As [`finish`].
pub fn finish_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let output = thread::scope(|scope| {
        // A program that fails early closes its input: its exit status tells, not this write.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })?;
    judge(command, &output)
}

fn judge(command: &Command, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{:?} {:?}: {}\n{}",
        command.get_program(),
        command.get_args().collect::<Vec<_>>(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Gives a command a mount namespace of its own with the given binds; see `sys::private_mounts`.
///
/// # Errors
/// A path holds a NUL byte.
pub fn with_private_mounts(command: &mut Command, binds: &[(&Path, &Path)]) -> Result<()> {
    sys::private_mounts(command, binds)?;
    // The namespace change must not turn an interrupt of the caller into a half-done mount.
    command.process_group(0);
    Ok(())
}

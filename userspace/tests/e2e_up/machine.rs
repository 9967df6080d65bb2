//! A machine of its own, as far as `ringtun up` can see: a network namespace, and
//! `/etc/wireguard`, `/etc/hosts`, `/etc/resolv.conf` and `/run` of the test.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ringtun_lab::keys::Keys;
use ringtun_lab::netns::with_private_mounts;
use ringtun_lab::peers::local::Device;
use ringtun_lab::registry::Directory;
use ringtun_lab::{NetNs, Pair, link, names, ping, tools, wait};

/// How long to wait for what must come, on a machine whose processors are taken.
pub const FIRST: Duration = Duration::from_secs(60);
/// Addresses behind the far end, reached by the default route alone.
pub const BEYOND: [&str; 2] = ["203.0.113.5", "2001:db8::5"];

pub struct Machine<'a> {
    pub ns: &'a NetNs,
    pub files: Directory,
    pub name: String,
    /// Of its files, another that stands somewhere in the system.
    pub instead: Option<(PathBuf, PathBuf)>,
}

impl<'a> Machine<'a> {
    pub fn new(ns: &'a NetNs) -> Self {
        tools::need(&[
            ("wg-quick", "wireguard-tools"),
            ("resolvconf", "openresolv"),
            ("nft", "nftables"),
        ])
        .unwrap();
        let files = Directory::new().unwrap();
        for directory in ["wireguard", "run"] {
            fs::create_dir(files.path().join(directory)).unwrap();
        }
        fs::write(files.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(files.path().join("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        Machine {
            ns,
            files,
            name: names::unique("u"),
            instead: None,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.files
            .path()
            .join(format!("wireguard/{}.conf", self.name))
    }

    pub fn journal(&self) -> PathBuf {
        self.files
            .path()
            .join(format!("run/ringtun/{}.json", self.name))
    }

    pub fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    pub fn hook(&self, what: &str) -> String {
        let log = self.files.path().join("log");
        format!("{what} = echo {what} %i >> {}\n", log.display())
    }

    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command: Command = self.ns.command(program);
        command.args(arguments);
        let places = [
            ("wireguard", "/etc/wireguard"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("hosts", "/etc/hosts"),
            ("run", "/run"),
        ];
        let places = places.map(|(file, place)| (self.files.path().join(file), place.into()));
        let all = places.iter().chain(&self.instead);
        let binds: Vec<(&Path, &Path)> = all.map(|(file, place)| (&**file, &**place)).collect();
        with_private_mounts(&mut command, &binds).unwrap();
        command
    }

    /// `ringtun WHAT NAME`, and what it says on standard error.
    pub fn ringtun(&self, what: &str) -> (Option<i32>, String) {
        let binary = crate::e2e::ringtun().program;
        let mut command = self.command(&binary, &[what, &self.name]);
        let output: Output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    pub fn good(&self, what: &str) {
        let (code, said) = self.ringtun(what);
        assert_eq!(code, Some(0), "ringtun {what}: {said}");
    }

    pub fn other(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(Path::new(program), arguments);
        ringtun_lab::netns::finish(&mut command).unwrap()
    }

    /// What `down` has to leave as it was.
    pub fn state(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &["-j", "addr"][..],
            &["-j", "-4", "rule"],
            &["-j", "-6", "rule"],
            &["-j", "-4", "route", "show", "table", "all"],
            &["-j", "-6", "route", "show", "table", "all"],
            &["-j", "link"],
        ] {
            text.push_str(&self.ns.run("ip", arguments).unwrap());
        }
        text += &self.ns.run("nft", ["list", "ruleset"]).unwrap();
        text += &self
            .ns
            .run("sysctl", ["net.ipv4.conf.all.src_valid_mark"])
            .unwrap();
        text + &fs::read_to_string(self.files.path().join("resolv.conf")).unwrap()
    }

    /// The process that serves the device.
    pub fn daemon(&self) -> u32 {
        let found = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|b| *b == 0);
            let is_it = words.next()?.ends_with(b"ringtun")
                && words.next()? == b"up"
                && words.next()? == self.name.as_bytes();
            is_it.then(|| entry.file_name().to_str()?.parse().ok())?
        });
        found.expect("the daemon runs")
    }

    pub fn signal(&self, signal: i32) {
        let pid = self.daemon();
        let status = Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        wait::until("the daemon ends", FIRST, || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
            let ended = stat.is_empty() || (stat.contains(") Z ") && threads <= 1);
            // Its threads may be ending still; the device goes with the last of them.
            Ok((ended && link::index(self.ns, &self.name).is_err()).then_some(()))
        })
        .unwrap();
    }

    pub fn answered(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        ping::until_answered(self.ns, address, FIRST).unwrap();
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Also after a failed test.
        let _ = self.ringtun("down");
    }
}

/// The far end: a gateway with addresses behind it.
pub fn far_end(pair: &Pair, keys: &[Keys; 2]) -> Device {
    far_end_with(pair, keys, "", &[])
}

/// The same with lines more for its peer, and options more for its program.
pub fn far_end_with(pair: &Pair, keys: &[Keys; 2], peer: &str, options: &[&str]) -> Device {
    let ns = &pair.ends[1].ns;
    let name = names::unique("w");
    let device = Device::start_with(&crate::e2e::ringtun(), ns, &name, options).unwrap();
    let text = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.1/32, fd78::1/128\n{peer}",
        keys[1].private, keys[0].public
    );
    ns.run_with_input(
        "wg",
        ["setconf", &device.name, "/dev/stdin"],
        text.as_bytes(),
    )
    .unwrap();
    ns.ip(&format!(
        "addr add 10.78.0.2/24 dev {0}\naddr add fd78::2/64 dev {0} nodad\nlink set {0} mtu 1420\nlink set {0} up\naddr add {1}/32 dev lo\naddr add {2}/128 dev lo\n",
        device.name, BEYOND[0], BEYOND[1]
    ))
    .unwrap();
    device
}

/// A file with a default route for both families, and hooks in between.
pub fn default_route(pair: &Pair, keys: &[Keys; 2], hooks: &str) -> String {
    let endpoint = SocketAddr::new(pair.ends[1].address(false), 51820);
    format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\nDNS = 10.78.0.2, example.test\n{hooks}[Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {endpoint}\nPersistentKeepalive = 25\n",
        keys[0].private, keys[1].public,
    )
}

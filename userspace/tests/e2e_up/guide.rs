//! The guide, run: each page's files are written and its commands typed, in order, on machines
//! with the names and addresses that the page gives them; what it shows is compared.
//!
//! A file is a block whose first line is ```` ```ini NAME:/PATH ````. Commands are in blocks called
//! `console`, as `NAME# COMMAND`, followed by what is seen, where the page shows it: `…` stands for
//! anything in a line, and on a line of its own for any lines. In blocks called `sh` each line is a
//! command of the page's first machine. Any other command on a page is one nobody tries, and fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringtun_lab::keys::Keys;
use ringtun_lab::netns::{finish, with_private_mounts};
use ringtun_lab::registry::Directory;
use ringtun_lab::{NetNs, link, tools};

/// Commands that are not typed here, and why. One that no page shows any more is an error, too.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "apt ",
        "`cargo xtask dist --check` installs, upgrades and removes the package in new roots",
    ),
    (
        "systemctl ",
        "no systemd runs here; e2e_up::service checks the unit and runs its line",
    ),
    (
        "journalctl ",
        "no journal runs here; e2e_up::logs reads the fields from a socket in its place",
    ),
    ("cargo xtask ", "builds ringtun; the CI runs it"),
    (
        "ringtun top ",
        "draws on a terminal until it is ended; e2e_top has one",
    ),
    (
        "ringtun up wg0 --foreground",
        "stays until it is ended; e2e_up::logs reads what it logs",
    ),
    (
        "install -m 755 target/",
        "what cargo xtask build made; this test runs that very file",
    ),
    (
        "install -m 600 /usr/share/doc/",
        "of the package; `cargo xtask dist --check` has it installed",
    ),
    (
        "man ringtun",
        "of the package; `cargo xtask dist --check` reads each page",
    ),
];

/// What programs read there; all of it would take seconds to copy.
const ETC: &[&str] = &[
    "alternatives",
    "group",
    "iproute2",
    "ld.so.cache",
    "nsswitch.conf",
    "passwd",
    "protocols",
    "resolvconf",
    "resolvconf.conf",
    "services",
];

/// Machines of a page, cables between them, and what is set up before the reader comes.
struct Setting {
    /// `NAME DEVICE ADDRESSES - NAME DEVICE ADDRESSES`.
    cables: &'static [&'static str],
    /// `NAME# COMMAND`.
    before: &'static [&'static str],
}

struct Machine {
    // Before its files: what runs there ends first.
    ns: NetNs,
    files: Directory,
    keys: Keys,
}

impl Machine {
    fn new() -> Machine {
        let files = Directory::new().unwrap();
        let at = |name: &str| files.path().join(name);
        for name in ["etc", "etc/wireguard", "run", "root", "bin"] {
            fs::create_dir(at(name)).unwrap();
        }
        let own = fs::Permissions::from_mode(0o700);
        fs::set_permissions(at("etc/wireguard"), own).unwrap();
        let parts = ETC.iter().map(|name| Path::new("/etc").join(name));
        let parts = parts.filter(|part| part.exists());
        finish(Command::new("cp").arg("-at").arg(at("etc")).args(parts)).unwrap();
        // They may be links into what is private here.
        for (name, text) in [
            ("etc/resolv.conf", "nameserver 192.0.2.53\n"),
            (
                "etc/hosts",
                "127.0.0.1 localhost\n203.0.113.7 vpn.example.org\n",
            ),
        ] {
            let _ = fs::remove_file(at(name));
            fs::write(at(name), text).unwrap();
        }
        let binary = fs::canonicalize(crate::e2e::ringtun().program).unwrap();
        symlink(binary, at("bin/ringtun")).unwrap();
        Machine {
            ns: NetNs::new("g").unwrap(),
            files,
            keys: Keys::generate().unwrap(),
        }
    }

    /// Exit status, and all that it said, as a terminal shows it.
    fn run(&self, command: &str) -> (Option<i32>, String) {
        let mut shell = self.ns.command("timeout");
        let at = |name: &str| self.files.path().join(name);
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args([
                "60",
                "bash",
                "-c",
                &format!("cd /root\nexec 2>&1\n{command}"),
            ])
            .env("PATH", format!("{}:{path}", at("bin").display()))
            .env("HOME", "/root")
            .stdin(Stdio::null());
        let binds = ["etc", "run", "root"].map(|name| (at(name), PathBuf::from("/").join(name)));
        let binds: Vec<(&Path, &Path)> = binds.iter().map(|(a, b)| (&**a, &**b)).collect();
        with_private_mounts(&mut shell, &binds).unwrap();
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    }
}

struct Play {
    page: &'static str,
    machines: BTreeMap<&'static str, Machine>,
    first: &'static str,
}

impl Play {
    fn new(page: &'static str, setting: &Setting) -> Play {
        tools::need(&[
            ("wg-quick", "wireguard-tools"),
            ("resolvconf", "openresolv"),
            ("nft", "nftables"),
            ("ping", "iputils-ping"),
        ])
        .unwrap();
        let mut machines = BTreeMap::new();
        let mut first = None;
        for cable in setting.cables {
            let (a, b) = cable.split_once(" - ").unwrap();
            let ends = [a, b].map(|end| end.split(' ').collect::<Vec<_>>());
            for end in &ends {
                first.get_or_insert(end[0]);
                machines.entry(end[0]).or_insert_with(Machine::new);
            }
            let [a, b] = &ends;
            let ns = |end: &[&str]| &machines[end[0]].ns;
            link::veth(ns(a), a[1], ns(b), b[1]).unwrap();
            for end in &ends {
                let lines = end[2..].iter().map(|address| {
                    let nodad = if address.contains(':') { " nodad" } else { "" };
                    format!("addr add {address} dev {}{nodad}\n", end[1])
                });
                ns(end).ip(&lines.collect::<String>()).unwrap();
                link::addressed(ns(end), end[1]).unwrap();
            }
        }
        let first = first.unwrap();
        let play = Play {
            page,
            machines,
            first,
        };
        for line in setting.before {
            let (machine, command) = play.prompt(line).unwrap();
            let (code, said) = play.machines[machine].run(command);
            assert_eq!(code, Some(0), "{line}: {said}");
        }
        play
    }

    /// `NAME# COMMAND`.
    fn prompt<'l>(&self, line: &'l str) -> Option<(&'l str, &'l str)> {
        let (name, command) = line.split_once("# ")?;
        self.machines.contains_key(name).then_some((name, command))
    }

    /// With keys where the page says whose key belongs there.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, machine) in &self.machines {
            text = text
                .replace(&format!("(private key of {name})"), &machine.keys.private)
                .replace(&format!("(public key of {name})"), &machine.keys.public);
        }
        let own = &self.machines[self.first].keys.private;
        let other = Keys::generate().unwrap().public;
        text.replace("(output of `ringtun genkey`)", own)
            .replace("(output of `ringtun pubkey` at the other end)", &other)
    }

    fn write(&self, place: &str, text: &str) {
        let (name, path) = place.split_once(':').unwrap();
        let text = self.fill(text);
        assert!(!text.contains("key of"), "{}: {place}:\n{text}", self.page);
        let path = self.machines[name]
            .files
            .path()
            .join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, name: &str, command: &str, shown: &[&str]) {
        if excepted(command) {
            return;
        }
        let (code, said) = self.machines[name].run(&self.fill(command));
        // The doctor's exit status says that it found what the page shows.
        let judged = command.starts_with("ringtun doctor") && !shown.is_empty();
        let page = self.page;
        assert!(
            code == Some(0) || judged,
            "{page}: {name}# {command}: {code:?}\n{said}"
        );
        if !shown.is_empty() {
            let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
            assert!(
                alike(shown, &lines),
                "{page}: {name}# {command}\n-- shown:\n{}\n-- seen:\n{said}",
                shown.join("\n")
            );
        }
    }

    fn block(&self, block: &Block<'_>) {
        match block.info.split_once(' ').unwrap_or((block.info, "")) {
            ("console", "") => {
                let mut at = 0;
                while at < block.lines.len() {
                    let line = block.lines[at];
                    let prompt = self.prompt(line);
                    let (name, command) = prompt.unwrap_or_else(|| panic!("{}: {line}", self.page));
                    let rest = &block.lines[at + 1..];
                    let shown = rest.iter().position(|line| self.prompt(line).is_some());
                    let shown = &rest[..shown.unwrap_or(rest.len())];
                    self.command(name, command, shown);
                    at += 1 + shown.len();
                }
            }
            ("sh", "") => {
                for line in &block.lines {
                    self.command(self.first, line, &[]);
                }
            }
            (_, place) if place.contains(":/") => {
                self.write(place, &(block.lines.join("\n") + "\n"));
            }
            ("text" | "yaml" | "promql", "") => {}
            _ => panic!("{}: a block that nobody tries: {}", self.page, block.info),
        }
    }
}

fn excepted(command: &str) -> bool {
    NOT_RUN.iter().any(|(start, _)| command.starts_with(start))
}

/// A fenced block of a page.
struct Block<'a> {
    info: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut all: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                inside = true;
                let lines = Vec::new();
                all.push(Block { info, lines });
            }
            None if inside => all.last_mut().unwrap().lines.push(line),
            None => {}
        }
    }
    assert!(!inside, "a block without an end");
    all
}

/// Whether what was seen is what is shown.
fn alike(shown: &[&str], seen: &[&str]) -> bool {
    match (shown, seen) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=seen.len()).any(|skip| alike(rest, &seen[skip..])),
        ([line, rest @ ..], [first, others @ ..]) => same(line, first) && alike(rest, others),
        _ => false,
    }
}

fn same(shown: &str, seen: &str) -> bool {
    match shown.split_once('…') {
        None => shown == seen,
        Some((start, rest)) => seen.strip_prefix(start).is_some_and(|seen| {
            let ends = seen.char_indices().map(|(at, _)| at).chain([seen.len()]);
            ends.into_iter().any(|at| same(rest, &seen[at..]))
        }),
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide")
}

/// Follows a page from its beginning to its end.
fn follow(page: &'static str, setting: &Setting) {
    let text = fs::read_to_string(directory().join(page)).unwrap();
    // Of the README, what is for who uses it; the rest is for who builds it.
    let gateway = text.split_once("\n## A gateway in five minutes\n");
    let text = gateway.map_or(&*text, |(_, rest)| {
        rest.split("\n## Against").next().unwrap()
    });
    let play = Play::new(page, setting);
    let blocks = blocks(text);
    assert!(!blocks.is_empty(), "{page}: nothing to follow");
    for block in &blocks {
        play.block(block);
    }
}

const TWO: Setting = Setting {
    cables: &["gateway eth0 192.0.2.1/24 - laptop eth0 192.0.2.2/24"],
    before: &[],
};

const HOME: Setting = Setting {
    cables: &[
        "gateway eth0 192.168.1.10/24 fd01::10/64 - switch port1",
        "printer eth0 192.168.1.20/24 - switch port2",
        "router lan 192.168.1.1/24 fd01::1/64 - switch port3",
        "router wan 203.0.113.7/24 - laptop eth0 203.0.113.20/24",
    ],
    before: &[
        "switch# ip link add br0 type bridge && for p in port1 port2 port3; do ip link set $p master br0; done; ip link set br0 up",
        "gateway# ip route add default via 192.168.1.1",
        "printer# ip route add default via 192.168.1.1",
        "router# sysctl -qw net.ipv4.ip_forward=1; nft 'table ip home { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }'",
    ],
};

const SITES: Setting = Setting {
    cables: &[
        "berlin wan 203.0.113.7/24 - porto wan 203.0.113.8/24",
        "berlin lan 10.1.0.1/24 fd00:1::1/64 - desk eth0 10.1.0.5/24 fd00:1::5/64",
        "porto lan 10.2.0.1/24 fd00:2::1/64 - server eth0 10.2.0.5/24 fd00:2::5/64",
    ],
    before: &[
        "desk# ip route add default via 10.1.0.1; ip route add default via fd00:1::1",
        "server# ip route add default via 10.2.0.1; ip route add default via fd00:2::1",
    ],
};

const FILE: &str = "gateway# printf '[Interface]\\nAddress = 10.0.0.1/24\\nListenPort = 51820\\nPrivateKey = %s\\n' $(ringtun genkey) > /etc/wireguard/wg0.conf; chmod 600 /etc/wireguard/wg0.conf";

const INSTALLED: Setting = Setting {
    cables: TWO.cables,
    before: &[FILE],
};

#[test]
fn first_tunnel() {
    follow("first-tunnel.md", &TWO);
}

#[test]
fn home_gateway() {
    follow("home-gateway.md", &HOME);
}

#[test]
fn site_to_site() {
    follow("site-to-site.md", &SITES);
}

#[test]
fn two_nics() {
    follow("two-nics.md", &SITES);
}

#[test]
fn the_pages_that_were_there_before() {
    // One after the other, on machines of their own each: there are two processors.
    follow("clients.md", &TWO);
    follow("install.md", &INSTALLED);
    follow("monitoring.md", &INSTALLED);
    follow("troubleshooting.md", &TWO);
    follow("../../README.md", &TWO);
}

#[test]
fn every_page_is_followed_and_every_exception_is_shown() {
    let own = include_str!("guide.rs");
    let mut all = fs::read_to_string(directory().join("../../README.md")).unwrap();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let followed = own.contains(&format!("follow(\"{name}\", "));
            assert!(
                followed || blocks(&text).is_empty(),
                "{name} is not followed"
            );
            all += &text;
        }
    }
    for (start, why) in NOT_RUN {
        let shown = |line: &str| line.starts_with(start) || line.contains(&format!("# {start}"));
        assert!(all.lines().any(shown), "no page shows {start}: {why}");
    }
}

#[test]
fn wildcards_match_what_varies_and_nothing_else() {
    for (shown, seen, expected) in [
        (&["a…c"][..], &["abc"][..], true),
        (&["a…c"], &["abd"], false),
        (&["…", "x"], &["1", "2", "x"], true),
        (&["…", "x"], &["1", "2"], false),
        (&["x", "…"], &["x"], true),
        (&["x"], &["x", "y"], false),
    ] {
        assert_eq!(alike(shown, seen), expected, "{shown:?} {seen:?}");
    }
}

//! What the machine said, as it said it: nothing of this is ever written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::Value as Json;

use super::ask::{self, Answer};
use super::page::{Asked, Missing};
use super::secrets::Secrets;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::{Client, ClientError};
use crate::control::uapi::{DeviceInfo, DeviceState};
use crate::control::wgquick::{Config, Report as Mistakes, file};
use crate::crypto::PublicKey;
use crate::metrics::names;

/// Lines of the log.
const LOG_LINES: &str = "400";
/// Tunnels that are told of.
pub const TUNNELS_MAX: usize = 16;
/// Links whose driver is asked for.
const DRIVERS_MAX: usize = 256;
/// Accounts of people, from this number on, up to that of nobody (Debian Policy 9.2.2).
const PEOPLE: std::ops::Range<u32> = 1000..65534;

/// A file as our parser reads it.
pub type Parsed = (Config, Mistakes);

/// A tunnel.
pub struct Tunnel {
    /// Its device.
    pub name: String,
    /// Where its file is, or would be.
    pub path: PathBuf,
    /// Its file.
    pub file: Asked<Parsed>,
    /// Names of peers in that file.
    pub friendly: HashMap<PublicKey, String>,
    /// What its daemon says.
    pub state: Asked<DeviceState>,
    /// What it says if it is ringtun.
    pub info: Asked<DeviceInfo>,
    /// Whether the undo journal is there, and whether all of `up` was done.
    pub journal: Asked<bool>,
}

/// All of it.
pub struct Gathered {
    /// Seconds since 1970.
    pub now: u64,
    /// Whether this process is root's.
    pub root: bool,
    /// Files of the kernel and the system, by path.
    pub files: HashMap<&'static str, Asked<String>>,
    /// Programs, and whether they are there.
    pub programs: Vec<(&'static str, bool)>,
    /// `ip -j -d addr show`.
    pub links: Asked<Json>,
    /// Drivers of links, by their names.
    pub drivers: HashMap<String, String>,
    /// `ip -j route show table all`, IPv4 and IPv6.
    pub routes: [Asked<Json>; 2],
    /// `ip -j rule show`, IPv4 and IPv6.
    pub rules: [Asked<Json>; 2],
    /// `nft -j -t list ruleset`.
    pub firewall: Asked<Json>,
    /// `ringtun doctor --json`.
    pub doctor: Asked<Json>,
    /// The journal's entries, oldest first.
    pub log: Asked<Vec<Json>>,
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Names of the host and of people.
    pub names: Vec<String>,
}

/// Programs that tunnels are made with.
const PROGRAMS: [&str; 8] = [
    "ip",
    "nft",
    "wg",
    "wg-quick",
    "resolvconf",
    "resolvectl",
    "sysctl",
    "journalctl",
];

impl Gathered {
    /// Asks for all of it at once. `doctor` is the name that is given to it.
    #[must_use]
    pub fn of_this_machine(tunnels: &[(InterfaceName, PathBuf)], doctor: Option<&str>) -> Self {
        let end = Instant::now() + ask::ALL_TIME;
        let ip = |words: &'static str| {
            ask::begin(move || {
                let words: Vec<&str> = words.split(' ').collect();
                ask::json(Path::new("ip"), &words)
            })
        };
        let links = ip("-j -d addr show");
        let routes = ["-j -4 route show table all", "-j -6 route show table all"].map(ip);
        let rules = ["-j -4 rule show", "-j -6 rule show"].map(ip);
        let firewall = ask::begin(|| ask::json(Path::new("nft"), &["-j", "-t", "list", "ruleset"]));
        let doctor: Vec<String> = ["doctor", "--json"]
            .into_iter()
            .chain(doctor)
            .map(str::to_owned)
            .collect();
        let doctor = ask::begin(move || {
            let words: Vec<&str> = doctor.iter().map(String::as_str).collect();
            // A process of its own, as what it asks has no end to its time.
            ask::json(Path::new("/proc/self/exe"), &words)
        });
        let log = ask::begin(log);
        let files = super::facts::host::files()
            .map(|path| (path, ask::begin(move || ask::file(Path::new(path)))));
        let files: Vec<_> = files.collect();
        let people = ask::begin(|| ask::file(Path::new("/etc/passwd")));
        let tunnels: Vec<Asking> = tunnels
            .iter()
            .take(TUNNELS_MAX)
            .map(|(name, path)| Asking::begin(name, path))
            .collect();

        let links = links.until(end);
        let drivers = links.as_ref().map(drivers).unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            now: now.map_or(0, |now| now.as_secs()),
            root: nix::unistd::geteuid().is_root(),
            drivers,
            links,
            routes: routes.map(|answer| answer.until(end)),
            rules: rules.map(|answer| answer.until(end)),
            firewall: firewall.until(end),
            doctor: doctor.until(end),
            log: log.until(end),
            files: files
                .into_iter()
                .map(|(path, answer)| (path, answer.until(end)))
                .collect(),
            programs: PROGRAMS
                .map(|name| (name, crate::control::quick::program::exists(name)))
                .to_vec(),
            tunnels: tunnels
                .into_iter()
                .map(|asking| asking.until(end))
                .collect(),
            names: names_of_people(people.until(end)),
        }
    }

    /// Every secret in it.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let answers = [&self.links, &self.firewall, &self.doctor];
        let answers = answers.into_iter().chain(&self.routes).chain(&self.rules);
        for json in answers.flatten() {
            secrets.json(json);
        }
        for entry in self.log.iter().flatten() {
            secrets.json(entry);
        }
        for text in self.names.iter().chain(self.drivers.keys()) {
            secrets.text(text);
        }
        for tunnel in &self.tunnels {
            tunnel.secrets(&mut secrets);
        }
        secrets
    }
}

impl Tunnel {
    fn secrets(&self, secrets: &mut Secrets) {
        secrets.text(&self.name);
        secrets.text(&self.path.to_string_lossy());
        for (key, name) in &self.friendly {
            secrets.key(key.as_bytes());
            secrets.text(name);
        }
        if let Ok((config, mistakes)) = &self.file {
            of_config(config, secrets);
            for mistake in mistakes.sorted() {
                secrets.text(mistake.value.as_deref().unwrap_or_default());
                secrets.text(&mistake.message);
                secrets.text(&mistake.remedy);
            }
        }
        if let Ok(state) = &self.state {
            if let Some(key) = &state.private_key {
                secrets.key(key.expose());
                secrets.key(key.public().as_bytes());
            }
            for peer in &state.peers {
                secrets.key(peer.public_key.as_bytes());
                secrets.key(peer.preshared_key.expose());
                if let Some(endpoint) = peer.endpoint {
                    secrets.address(endpoint.ip());
                }
                for prefix in &peer.allowed_ips {
                    secrets.network(prefix.addr(), prefix.len());
                }
            }
        }
        if let Ok(info) = self.info.as_ref().map(serde_json::to_value)
            && let Ok(info) = info
        {
            secrets.json(&info);
        }
    }
}

fn of_config(config: &Config, secrets: &mut Secrets) {
    let interface = &config.interface;
    if let Some(key) = &interface.private_key {
        secrets.key(key.expose());
        secrets.key(key.public().as_bytes());
    }
    for address in &interface.addresses {
        secrets.network(address.addr, address.len);
    }
    interface.dns.iter().for_each(|dns| secrets.address(*dns));
    let texts = interface.dns_search.iter().chain(interface.hooks());
    texts.for_each(|text| secrets.text(text));
    for peer in &config.peers {
        secrets.key(peer.public_key.as_bytes());
        secrets.key(peer.preshared_key.expose());
        for prefix in &peer.allowed_ips {
            secrets.network(prefix.addr(), prefix.len());
        }
        match peer.endpoint.as_ref().map(|endpoint| &endpoint.host) {
            Some(crate::control::wgquick::Host::Addr(address)) => secrets.address(*address),
            Some(crate::control::wgquick::Host::Zoned(address, zone)) => {
                secrets.address((*address).into());
                secrets.text(zone);
            }
            Some(crate::control::wgquick::Host::Name(name)) => secrets.text(name),
            None => {}
        }
    }
}

/// A tunnel that is being asked.
struct Asking {
    name: InterfaceName,
    path: PathBuf,
    file: Answer<Asked<(Parsed, HashMap<PublicKey, String>)>>,
    daemon: Answer<Asked<(DeviceState, Asked<DeviceInfo>)>>,
    journal: Answer<Asked<bool>>,
}

impl Asking {
    fn begin(name: &InterfaceName, path: &Path) -> Self {
        let (file_path, of_daemon, of_journal) = (path.to_owned(), name.clone(), name.clone());
        Self {
            name: name.clone(),
            path: path.to_owned(),
            file: ask::begin(move || {
                let parsed = file::read(&file_path).map_err(|error| Missing::of(&error))?;
                let text = names::read(&file_path);
                let friendly = text.map(|text| names::parse(&text)).unwrap_or_default();
                Ok((parsed, friendly))
            }),
            daemon: ask::begin(move || daemon(&of_daemon)),
            journal: ask::begin(move || {
                use crate::control::quick::{Place, journal::JournalError};
                match Place::new(&of_journal).load() {
                    Ok(Some(journal)) => Ok(journal.complete),
                    Ok(None) => Err(Missing::NotThere),
                    Err(JournalError::Io { error, .. }) => Err(Missing::of(&error)),
                    Err(_) => Err(Missing::NotUnderstood),
                }
            }),
        }
    }

    fn until(self, end: Instant) -> Tunnel {
        let (state, info) = match self.daemon.until(end) {
            Ok((state, info)) => (Ok(state), info),
            Err(why) => (Err(why), Err(why)),
        };
        let (file, friendly) = match self.file.until(end) {
            Ok((parsed, friendly)) => (Ok(parsed), friendly),
            Err(why) => (Err(why), HashMap::new()),
        };
        Tunnel {
            name: self.name.to_string(),
            path: self.path,
            file,
            friendly,
            state,
            info,
            journal: self.journal.until(end),
        }
    }
}

fn daemon(name: &InterfaceName) -> Asked<(DeviceState, Asked<DeviceInfo>)> {
    let directory = Path::new(crate::control::uapi::socket::DIRECTORY);
    let why = |error: ClientError| match error {
        ClientError::Io(error) => Missing::of(&error),
        ClientError::Refused(_) | ClientError::Garbled { .. } => Missing::NotUnderstood,
    };
    let mut client = Client::connect(directory, name).map_err(why)?;
    let state = client.state().map_err(why)?;
    Ok((state, client.info().map_err(why)))
}

fn log() -> Asked<Vec<Json>> {
    let words = [
        "--output=json",
        "--no-pager",
        "--quiet",
        "--lines",
        LOG_LINES,
        "SYSLOG_IDENTIFIER=ringtun",
    ];
    let bytes = ask::output(Path::new("journalctl"), &words)?;
    Ok(entries(&bytes))
}

/// One object in each line. A line that is none is passed over.
#[must_use]
pub fn entries(bytes: &[u8]) -> Vec<Json> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

fn drivers(links: &Json) -> HashMap<String, String> {
    let names = links.as_array().into_iter().flatten();
    let names = names.filter_map(|link| link["ifname"].as_str());
    let names = names.filter(|name| !name.contains('/') && !name.starts_with('.'));
    let driver = |name: &str| {
        let link = std::fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok()?;
        Some((name.to_owned(), link.file_name()?.to_str()?.to_owned()))
    };
    names.take(DRIVERS_MAX).filter_map(driver).collect()
}

/// The host's, and those of people with an account here.
fn names_of_people(passwd: Asked<String>) -> Vec<String> {
    let mut names = Vec::new();
    names.extend(
        nix::unistd::gethostname()
            .ok()
            .and_then(|n| n.into_string().ok()),
    );
    for variable in ["USER", "SUDO_USER", "LOGNAME"] {
        names.extend(std::env::var(variable).ok());
    }
    let passwd = passwd.unwrap_or_default();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, uid, _, gecos, home, ..] = fields[..]
            && uid.parse().is_ok_and(|uid| PEOPLE.contains(&uid))
        {
            names.extend([name, gecos, home].map(str::to_owned));
        }
    }
    // Of the system itself.
    names.retain(|name| name != "root" && name != "nobody");
    names
}

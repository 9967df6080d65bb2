//! `ringtun.toml`: what one process does that has several tunnels, and what a wg-quick file
//! cannot say.
//!
//! ```toml
//! workers = 4                        # without: one per CPU, at most 8
//!
//! [wan]
//! interfaces = ["eth0"]              # carry the XDP program in any case, for [[steer]]
//! xdp = "auto"                       # auto, native, generic, off
//! ring_size = 2048
//! busy_poll = false
//!
//! [lan]
//! interfaces = ["eth1"]
//! fast_forward = true
//!
//! [metrics]
//! listen = "127.0.0.1:9586"          # or "off"
//! families = ["ringtun"]
//! max_peers = 1000
//!
//! [tunnel.wg0]
//! file = "/etc/wireguard/wg0.conf"   # which it is without this line
//! io = "auto"                        # auto, xdp, udp; in place of what [wan] xdp says
//!
//! [[steer]]
//! class = "esp"
//! cpus = "0-3"
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::names::InterfaceName;
use super::options::{IoMode, MAX_WORKERS, RunOptions, Steer};
use super::wgquick::file;
use crate::metrics::{FamilyGroup, MetricsListen};
use crate::xsk::{BusyPoll, RingSizes};

/// Where it is unless told otherwise.
pub const FILE: &str = "/etc/ringtun/ringtun.toml";

/// Largest file that is read, in bytes: ten thousand tunnels.
const LARGEST: u64 = 1 << 20;

/// A gateway as its file says.
#[derive(Debug)]
pub struct Gateway {
    /// For the whole process, with the tunnels' names.
    pub options: RunOptions,
    /// The tunnels' files, in the order of those names.
    pub files: Vec<PathBuf>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The system said no.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others could have root run their commands.
    #[error(
        "{path}: others can write to it (mode {mode:04o}, owner {owner}), and it names files with commands that run as root; chown root {path}; chmod go-w {path}",
        path = .path.display()
    )]
    Writable {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
    /// It says what cannot be.
    #[error("{path}: {reason}", path = .path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where, and what.
        reason: String,
    },
}

/// What is written as text, as on the command line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    workers: Option<NonZeroUsize>,
    wan: Wan,
    lan: Lan,
    metrics: Metrics,
    tunnel: BTreeMap<Text<InterfaceName>, Tunnel>,
    steer: Vec<SteerTable>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wan {
    interfaces: Vec<Text<InterfaceName>>,
    xdp: Xdp,
    ring_size: Option<u32>,
    busy_poll: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Xdp {
    #[default]
    Auto,
    Native,
    Generic,
    Off,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lan {
    interfaces: Vec<Text<InterfaceName>>,
    fast_forward: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Metrics {
    listen: Option<Text<MetricsListen>>,
    families: Option<Vec<Text<FamilyGroup>>>,
    max_peers: Option<usize>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tunnel {
    file: Option<PathBuf>,
    io: Option<Text<IoMode>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SteerTable {
    class: String,
    cpus: String,
}

impl Gateway {
    /// Reads a file.
    ///
    /// # Errors
    /// [`GatewayError`]. What the tunnels' files say is not looked at.
    pub fn read(path: &Path) -> Result<Self, GatewayError> {
        let io = |error| GatewayError::Io {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(io)?;
        guard(path, &file.metadata().map_err(io)?)?;
        let mut text = String::new();
        file.take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        Self::parse(&text).map_err(|reason| GatewayError::Wrong {
            path: path.to_owned(),
            reason,
        })
    }

    /// From the file's text; the error is for people, with the line where it has one.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() as u64 > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        document.gateway()
    }
}

fn guard(path: &Path, metadata: &Metadata) -> Result<(), GatewayError> {
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let trusted = [0, nix::unistd::geteuid().as_raw()].contains(&owner);
    if mode & 0o022 == 0 && trusted {
        return Ok(());
    }
    Err(GatewayError::Writable {
        path: path.to_owned(),
        mode,
        owner,
    })
}

fn names(interfaces: Vec<Text<InterfaceName>>) -> Vec<InterfaceName> {
    interfaces.into_iter().map(|Text(name)| name).collect()
}

impl Document {
    fn gateway(self) -> Result<Gateway, String> {
        let mut options = RunOptions::new(Vec::with_capacity(self.tunnel.len()));
        if self.workers.is_some_and(|n| n.get() > MAX_WORKERS) {
            return Err(format!("workers: at most {MAX_WORKERS}"));
        }
        options.workers = self.workers;
        options.io = match self.wan.xdp {
            Xdp::Auto => IoMode::Auto,
            Xdp::Native | Xdp::Generic => IoMode::Xdp,
            Xdp::Off => IoMode::Udp,
        };
        let xdp = &mut options.xdp;
        xdp.generic = self.wan.xdp == Xdp::Generic;
        if let Some(slots) = self.wan.ring_size {
            xdp.rings = RingSizes::of(slots).map_err(|e| format!("[wan] ring_size: {e}"))?;
        }
        xdp.busy_poll = self.wan.busy_poll.then_some(BusyPoll::DEFAULT);
        xdp.wan = names(self.wan.interfaces);
        xdp.lan = names(self.lan.interfaces);
        xdp.fast_forward = self.lan.fast_forward;
        if xdp.fast_forward && xdp.lan.is_empty() {
            return Err("[lan] fast_forward: needs interfaces = [\"…\"] beside it".to_owned());
        }
        for SteerTable { class, cpus } in self.steer {
            let steer: Steer = format!("{class}={cpus}")
                .parse()
                .map_err(|e| format!("[[steer]]: {e}"))?;
            if xdp.steer.iter().any(|s| s.group == steer.group) {
                return Err(format!("[[steer]]: the class `{class}` is there twice"));
            }
            xdp.steer.push(steer);
        }
        if let Some(Text(listen)) = self.metrics.listen {
            options.metrics = listen;
        }
        if let Some(families) = self.metrics.families {
            options.series.families = families.into_iter().map(|Text(family)| family).collect();
        }
        options.series.max_peers = self.metrics.max_peers.unwrap_or(options.series.max_peers);
        let mut files = Vec::with_capacity(self.tunnel.len());
        for (Text(name), tunnel) in self.tunnel {
            let path = tunnel.file.unwrap_or_else(|| file::locate(name.as_str()));
            // The other commands find a tunnel by its file.
            if !path.is_absolute() || path.file_name() != Some(format!("{name}.conf").as_ref()) {
                return Err(format!(
                    "[tunnel.{name}] file: wants a whole path that ends with /{name}.conf, not {}",
                    path.display()
                ));
            }
            if let Some(Text(io)) = tunnel.io {
                options.io_otherwise.push((name.clone(), io));
            }
            files.push(path);
            options.names.push(name);
        }
        if options.names.is_empty() && options.xdp.wan.is_empty() {
            return Err(
                "it names neither a tunnel ([tunnel.wg0]) nor an interface to steer tunnels on ([wan] interfaces)"
                    .to_owned(),
            );
        }
        Ok(Gateway { options, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn every_key_reaches_its_option() {
        let gateway = Gateway::parse(
            r#"
            workers = 3
            [wan]
            interfaces = ["eth0"]
            xdp = "generic"
            ring_size = 512
            busy_poll = true
            [lan]
            interfaces = ["eth1", "eth2"]
            fast_forward = true
            [metrics]
            listen = "127.0.0.1:1234"
            families = ["ringtun", "wireguard_exporter"]
            max_peers = 7
            [tunnel.wg1]
            file = "/srv/wg1.conf"
            io = "udp"
            [tunnel.wg0]
            [[steer]]
            class = "esp"
            cpus = "0-1"
            "#,
        )
        .unwrap();
        let o = &gateway.options;
        let names: Vec<_> = o.names.iter().map(InterfaceName::as_str).collect();
        assert_eq!(names, ["wg0", "wg1"]);
        assert_eq!(
            gateway.files,
            ["/etc/wireguard/wg0.conf", "/srv/wg1.conf"].map(PathBuf::from)
        );
        assert_eq!(
            [&o.names[0], &o.names[1]].map(|n| o.io_of(n)),
            [IoMode::Xdp, IoMode::Udp]
        );
        assert_eq!(o.workers, NonZeroUsize::new(3));
        assert!(o.xdp.generic && o.xdp.fast_forward && o.xdp.busy_poll.is_some());
        assert_eq!(o.xdp.rings.rx, 512);
        assert_eq!((o.xdp.wan.len(), o.xdp.lan.len()), (1, 2));
        assert_eq!(o.xdp.steer, ["esp=0-1".parse().unwrap()]);
        assert_eq!(
            o.metrics,
            MetricsListen::At("127.0.0.1:1234".parse().unwrap())
        );
        assert_eq!((o.series.families.len(), o.series.max_peers), (2, 7));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, says) in [
            ("", "names neither a tunnel"),
            ("[tunnel.wg0]\nfiel = \"x\"", "line 2"),
            ("[tunnel.wg0]\nfiel = \"x\"", "expected `file` or `io`"),
            ("[tunnel.\"a/b\"]", "`a/b`"),
            ("[tunnel.wg0]\nio = \"fast\"", "wants auto, xdp or udp"),
            ("[tunnel.wg0]\nfile = \"wg0.conf\"", "whole path"),
            ("[tunnel.wg0]\nfile = \"/etc/wg1.conf\"", "/wg0.conf"),
            ("[tunnel.wg0]\n[tunnel.wg0]", "duplicate key"),
            ("[wan]\nxdp = \"on\"", "expected one of"),
            ("[wan]\nring_size = 100", "power of two"),
            ("[wan]\nring_size = -1", "line 2"),
            ("[lan]\nfast_forward = true\n[tunnel.wg0]", "interfaces"),
            ("[metrics]\nlisten = \"here\"\n[tunnel.wg0]", "ADDRESS:PORT"),
            ("[metrics]\nfamilies = [\"x\"]\n[tunnel.wg0]", "`x`"),
            ("workers = 0", "line 1"),
            ("workers = 1000\n[tunnel.wg0]", "at most 64"),
            (
                "[[steer]]\nclass = \"ipsec\"\ncpus = \"0\"",
                "there are esp",
            ),
            ("[[steer]]\nclass = \"esp\"", "cpus"),
            (
                "[[steer]]\nclass = \"esp\"\ncpus = \"0\"\n[[steer]]\nclass = \"esp\"\ncpus = \"1\"",
                "twice",
            ),
            ("[passthrough]", "unknown field `passthrough`"),
            ("\u{0}", "line 1"),
        ] {
            let error = Gateway::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        let huge = format!("#{}", "x".repeat(LARGEST as usize));
        assert!(Gateway::parse(&huge).unwrap_err().contains("larger"));
    }

    #[test]
    fn a_file_that_others_write_to_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[tunnel.wg0]").unwrap();
        Gateway::read(file.path()).unwrap();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o620))
            .unwrap();
        let error = Gateway::read(file.path()).unwrap_err().to_string();
        assert!(
            error.contains("0620") && error.contains("chmod go-w"),
            "{error}"
        );
        let error = Gateway::read(Path::new("/does/not/exist.toml")).unwrap_err();
        assert!(
            error.to_string().contains("/does/not/exist.toml"),
            "{error}"
        );
    }
}

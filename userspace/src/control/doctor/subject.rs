//! One tunnel: what its file says, and what runs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::control::names::InterfaceName;
use crate::control::quick::{Journal, Place};
use crate::control::uapi::client::Client;
use crate::control::uapi::{DeviceInfo, DeviceState};
use crate::control::wgquick::{Config, Report, Table, file};
use crate::tunnel::allowed_ips::Prefix;

/// A tunnel, as far as it is there.
#[derive(Debug)]
pub struct Subject {
    /// Its device.
    pub name: InterfaceName,
    /// Where its file is, or would be.
    pub path: PathBuf,
    /// What the file says.
    pub file: Option<(Config, Report)>,
    /// What `ringtun up` has left to be taken back.
    pub journal: Option<Journal>,
    /// What the process that serves it says.
    pub state: Option<DeviceState>,
    /// The same, if it is ours.
    pub info: Option<DeviceInfo>,
}

impl Subject {
    /// What is known of a device and of the file that is to be its.
    #[must_use]
    pub fn new(name: InterfaceName, path: PathBuf, sockets: &Path) -> Self {
        let client = Client::connect(sockets, &name).ok();
        let (state, info) = match client {
            Some(mut client) => (client.state().ok(), client.info().ok()),
            None => (None, None),
        };
        let journal = Place::new(&name).load().ok().flatten();
        let path = match &journal {
            Some(journal) if !path.exists() => journal.file.clone(),
            _ => path,
        };
        Self {
            file: file::read(&path).ok(),
            journal,
            name,
            path,
            state,
            info,
        }
    }

    /// Whether a process serves it.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.state.is_some()
    }

    /// Whether that process has its sockets in the network namespace of this one. One
    /// that does not say which it is is taken for one that has.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let Some(info) = &self.info else {
            return true;
        };
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        namespace("self") == namespace(&info.pid.to_string())
    }

    /// The file, if it can be read.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.file.as_ref().map(|(config, _)| config)
    }

    /// The mark of its packets outside; 0 is none.
    #[must_use]
    pub fn mark(&self) -> u32 {
        self.state.as_ref().map_or(0, |state| state.fwmark)
    }

    /// Its port, in use or wanted.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let running = self.state.as_ref().map(|state| state.listen_port);
        let wanted = || self.config()?.interface.listen_port;
        running
            .filter(|port| *port != 0)
            .or_else(wanted)
            .filter(|port| *port != 0)
    }

    /// The endpoints that a running device has.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let peers = self.state.iter().flat_map(|state| &state.peers);
        let mut all: Vec<_> = peers.filter_map(|peer| peer.endpoint).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The networks behind a running device.
    #[must_use]
    pub fn networks(&self) -> Vec<Prefix> {
        let peers = self.state.iter().flat_map(|state| &state.peers);
        let mut all: Vec<_> = peers.flat_map(|peer| peer.allowed_ips.clone()).collect();
        all.sort_unstable_by_key(|prefix| (prefix.addr(), prefix.len()));
        all.dedup();
        all
    }

    /// Whether its networks are in the main table, as long as nobody said otherwise.
    #[must_use]
    pub fn routes_are_automatic(&self) -> bool {
        self.config()
            .is_some_and(|config| config.interface.table == Table::Auto)
    }

    /// The words of its hooks.
    #[must_use]
    pub fn hooks(&self) -> String {
        let hooks = self
            .config()
            .into_iter()
            .flat_map(|config| config.interface.hooks());
        hooks.cloned().collect::<Vec<_>>().join("\n")
    }
}

//! What is asked of the daemons, on a thread of its own.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::super::show;
use super::cpu::{self, Times};
use crate::control::names::InterfaceName;
use crate::control::uapi::client::{Client, ClientError};
use crate::control::uapi::{DeviceInfo, DeviceState, PeerState};
use crate::crypto::{PrivateKey, PublicKey};
use crate::metrics::names::{NameFiles, Names};
use crate::tunnel::allowed_ips::Prefix;

/// Devices that are asked; `/var/run/wireguard` may hold anything.
const DEVICES_MAX: usize = 256;

/// All devices at one moment.
pub struct Sample {
    /// Unix time in seconds.
    pub wall: u64,
    pub devices: Vec<(InterfaceName, Result<Seen, Absent>)>,
}

/// Why a daemon says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No socket, or nobody behind it.
    Gone,
    /// This user may not ask.
    Forbidden,
    /// It does not answer in time, or not in the protocol.
    Silent,
}

/// A device as its daemon described it. No secret is in it.
pub struct Seen {
    pub at: Instant,
    pub public_key: Option<PublicKey>,
    pub port: u16,
    pub peers: Vec<SeenPeer>,
    /// `None` where the daemon is no ringtun.
    pub info: Option<DeviceInfo>,
    pub names: Names,
    pub times: Times,
}

/// A peer of it.
pub struct SeenPeer {
    pub key: PublicKey,
    pub preshared: bool,
    pub endpoint: Option<SocketAddr>,
    /// Seconds; 0 is off.
    pub keepalive: u16,
    /// Unix time in seconds; 0 while there was none.
    pub handshake: u64,
    pub rx: u64,
    pub tx: u64,
    pub allowed: Vec<Prefix>,
}

/// Asks one device or all.
pub struct Sampler {
    directory: PathBuf,
    only: Option<InterfaceName>,
    /// Names of peers, read again when their file changes.
    files: HashMap<InterfaceName, (PathBuf, NameFiles)>,
}

impl Sampler {
    pub fn new(directory: PathBuf, only: Option<InterfaceName>) -> Self {
        Self {
            directory,
            only,
            files: HashMap::new(),
        }
    }

    /// All that there is to know now.
    pub fn sample(&mut self) -> Sample {
        let mut names = match &self.only {
            Some(name) => vec![name.clone()],
            // Where it cannot be listed, the devices known so far are gone.
            None => show::list(&self.directory).unwrap_or_default(),
        };
        names.truncate(DEVICES_MAX);
        self.files.retain(|name, _| names.contains(name));
        let devices = names.into_iter().map(|name| {
            let seen = self.ask(&name).map_err(|error| absent(&error));
            (name, seen)
        });
        Sample {
            devices: devices.collect(),
            wall: crate::net::clock::wall().secs,
        }
    }

    fn ask(&mut self, name: &InterfaceName) -> Result<Seen, ClientError> {
        let mut client = Client::connect(&self.directory, name)?;
        let state = client.state()?;
        let at = Instant::now();
        // Other implementations close the connection or refuse.
        let info = client.info().ok();
        let times = info.as_ref().map(|info| cpu::times(info.pid));
        Ok(Seen {
            at,
            names: self.names(name),
            times: times.unwrap_or_default(),
            info,
            ..reduced(state, at)
        })
    }

    fn names(&mut self, name: &InterfaceName) -> Names {
        let path = show::names_file(name);
        let known = self.files.get_mut(name).filter(|(file, _)| *file == path);
        if let Some((_, files)) = known {
            return files.names();
        }
        let mut files = NameFiles::new(vec![path.clone()]);
        let names = files.names();
        self.files.insert(name.clone(), (path, files));
        names
    }
}

/// Without the keys, which are wiped here.
fn reduced(state: DeviceState, at: Instant) -> Seen {
    let peer = |peer: PeerState| SeenPeer {
        key: peer.public_key,
        preshared: peer.preshared_key.is_set(),
        endpoint: peer.endpoint,
        keepalive: peer.keepalive,
        handshake: peer.last_handshake.secs,
        rx: peer.rx_bytes,
        tx: peer.tx_bytes,
        allowed: peer.allowed_ips,
    };
    Seen {
        at,
        public_key: state.private_key.as_ref().map(PrivateKey::public),
        port: state.listen_port,
        peers: state.peers.into_iter().map(peer).collect(),
        info: None,
        names: Arc::default(),
        times: Times::new(),
    }
}

fn absent(error: &ClientError) -> Absent {
    let ClientError::Io(error) = error else {
        return Absent::Silent;
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied => Absent::Forbidden,
        io::ErrorKind::NotFound
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Absent::Gone,
        _ => Absent::Silent,
    }
}

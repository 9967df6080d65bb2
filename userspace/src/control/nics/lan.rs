//! LAN interfaces: TCP connections from behind the gateway into a tunnel are
//! told what fits before the kernel sees them.

use std::collections::{BTreeMap, HashMap};

use nix::net::if_::if_nametoindex;
use ringtun_common::mss::Limits;

use super::owner::{Nic, Owner};
use super::report::LanReport;
use super::{State, foreign};
use crate::bpf::{BpfError, Counts, LanProgram, Link, Mode};
use crate::control::names::InterfaceName;
use crate::net::netns::Namespace;
use crate::tunnel::allowed_ips::Prefix;

/// A LAN interface that carries the program. Dropping it takes the program off.
#[derive(Debug)]
struct Port {
    name: InterfaceName,
    mode: Mode,
    // Held for their Drop.
    _link: Link,
    _owner: Owner,
}

/// The LAN interfaces of this process.
#[derive(Debug, Default)]
pub struct Lan {
    program: Option<LanProgram>,
    ports: BTreeMap<u32, Port>,
    /// Why an interface does not carry the program.
    refused: BTreeMap<InterfaceName, String>,
    /// What the program's maps hold.
    prefixes: HashMap<Prefix, Limits>,
}

impl Lan {
    /// Whether any of these interfaces is there and not looked at.
    pub fn is_missing(&self, names: &[InterfaceName]) -> bool {
        names.iter().any(|name| {
            !self.refused.contains_key(name)
                && if_nametoindex(name.as_str()).is_ok_and(|index| !self.ports.contains_key(&index))
        })
    }

    /// Takes the loaded program; it stays for all interfaces.
    pub fn set_program(&mut self, program: LanProgram) {
        self.program = Some(program);
    }

    /// Whether the program is loaded.
    pub fn has_program(&self) -> bool {
        self.program.is_some()
    }

    /// The program could not be loaded.
    pub fn refuse_all(&mut self, names: &[InterfaceName], error: &BpfError) {
        for name in names {
            self.refuse(name, error.to_string());
        }
    }

    fn refuse(&mut self, name: &InterfaceName, why: String) {
        tracing::warn!(interface = %name, %why, "its TCP connections are clamped in the tunnel only");
        self.refused.insert(name.clone(), why);
    }

    /// What stood in the way may have gone.
    pub fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Attaches the program to those of the interfaces that are there.
    pub fn attach(
        &mut self,
        names: &[InterfaceName],
        directory: &std::path::Path,
        namespace: &Namespace,
        devices: &[InterfaceName],
    ) {
        for name in names {
            let Ok(index) = if_nametoindex(name.as_str()) else {
                continue;
            };
            if self.ports.contains_key(&index) || self.refused.contains_key(name) {
                continue;
            }
            let nic = Nic {
                namespace,
                ifindex: index,
                name: name.as_str(),
            };
            let attached = Owner::claim(directory, &nic, devices)
                .map_err(|error| error.to_string())
                .and_then(|owner| Ok((self.put(index, name)?, owner)));
            match attached {
                Ok((link, owner)) => {
                    tracing::info!(interface = %name, mode = %link.mode(), "XDP clamps the MSS of what comes in here");
                    let port = Port {
                        name: name.clone(),
                        mode: link.mode(),
                        _link: link,
                        _owner: owner,
                    };
                    self.ports.insert(index, port);
                }
                Err(why) => self.refuse(name, why),
            }
        }
    }

    fn put(&self, index: u32, name: &InterfaceName) -> Result<Link, String> {
        let program = self.program.as_ref().ok_or("the program is not loaded")?;
        let native = program.attach(index, Mode::Native);
        let attached = match native {
            Err(BpfError::Attach { .. }) => program.attach(index, Mode::Generic),
            other => other,
        };
        attached.map_err(|error| match error {
            BpfError::Busy { .. } => {
                format!("{name} carries another XDP program ({})", foreign(index))
            }
            error => error.to_string(),
        })
    }

    /// The interface is gone, and the program with it.
    pub fn forget(&mut self, index: u32) {
        self.ports.remove(&index);
    }

    /// Makes the maps hold these networks.
    pub fn sync(&mut self, wanted: HashMap<Prefix, Limits>) {
        let Some(program) = &mut self.program else {
            return;
        };
        self.prefixes.retain(|prefix, _| {
            if wanted.contains_key(prefix) {
                return true;
            }
            if let Err(error) = program.remove(prefix.addr(), prefix.len()) {
                tracing::warn!(%error, %prefix, "a network stays in the LAN program's map");
            }
            false
        });
        for (prefix, limits) in wanted {
            if self.prefixes.get(&prefix) == Some(&limits) {
                continue;
            }
            match program.insert(prefix.addr(), prefix.len(), limits) {
                Ok(()) => {
                    self.prefixes.insert(prefix, limits);
                }
                Err(error) => {
                    // The tunnel clamps them all the same.
                    tracing::warn!(%error, %prefix, "a network is not in the LAN program's map");
                    return;
                }
            }
        }
    }

    /// What `show` tells of these interfaces.
    pub fn report(&self, names: &[InterfaceName]) -> Vec<LanReport> {
        let absent = names.iter().filter(|name| {
            !self.refused.contains_key(name) && !self.ports.values().any(|port| port.name == **name)
        });
        let absent = absent.map(|name| LanReport {
            name: name.to_string(),
            xdp: "none".to_owned(),
            refused: Some("there is no such interface yet".to_owned()),
        });
        let attached = self.ports.values().map(|port| LanReport {
            name: port.name.to_string(),
            xdp: port.mode.to_string(),
            refused: None,
        });
        let refused = self.refused.iter().map(|(name, why)| LanReport {
            name: name.to_string(),
            xdp: "none".to_owned(),
            refused: Some(why.clone()),
        });
        attached.chain(refused).chain(absent).collect()
    }

    /// What the program counted.
    pub fn counts(&self) -> Option<Counts> {
        let counts = self.program.as_ref()?.counts();
        counts
            .inspect_err(|error| tracing::warn!(%error, "the LAN program's counters"))
            .ok()
    }
}

impl State {
    /// Networks inside the tunnels that are up, and what a segment into them
    /// may be. Where two devices have the same, the smaller counts.
    pub fn inside(&self) -> HashMap<Prefix, Limits> {
        let mut all: HashMap<Prefix, Limits> = HashMap::new();
        for member in self.members.iter().filter(|member| member.port != 0) {
            let Some(limits) = member.tunnel.mss_limits() else {
                continue;
            };
            let snapshot = member.tunnel.shared.snapshot();
            for (prefix, _) in snapshot.allowed_ips.iter() {
                all.entry(prefix)
                    .and_modify(|known| *known = known.min(limits))
                    .or_insert(limits);
            }
        }
        all
    }
}

/// Loads the program on another thread: the verifier can take a second.
pub async fn load() -> Result<LanProgram, BpfError> {
    let loaded = tokio::task::spawn_blocking(LanProgram::load).await;
    // It can fail to be waited for only by a panic, which goes on here.
    loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

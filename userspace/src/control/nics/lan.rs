//! LAN interfaces: TCP connections from behind the gateway into a tunnel are
//! told what fits before the kernel sees them; and where that was asked for, other
//! packets go past it.

use std::collections::{BTreeMap, HashMap};

use nix::net::if_::if_nametoindex;
use ringtun_common::lan::Inside;

use super::card::{self, Attach, Card};
use super::owner::{Nic, Owner};
use super::report::{CardReport, LanReport};
use super::{Nics, foreign};
use crate::bpf::{BpfError, CardProgram as _, Counts, LanProgram, Link, Mode};
use crate::control::names::InterfaceName;
use crate::datapath::taps::Side;
use crate::tunnel::allowed_ips::Prefix;

/// A LAN interface that carries the program. Dropping it takes the program off.
#[derive(Debug)]
struct Port {
    name: InterfaceName,
    how: How,
}

#[derive(Debug)]
enum How {
    /// Connections are clamped.
    Clamp {
        mode: Mode,
        /// Why packets do not go past the kernel, if they are to.
        why: Option<String>,
        // Held for their Drop.
        _link: Link,
        _owner: Owner,
    },
    /// Packets go past the kernel, too.
    Forward(Box<Card>),
}

/// The LAN interfaces of this process.
#[derive(Debug, Default)]
pub struct Lan {
    program: Option<LanProgram>,
    ports: BTreeMap<u32, Port>,
    /// Why an interface does not carry the program.
    refused: BTreeMap<InterfaceName, String>,
    /// What the program's maps hold.
    prefixes: HashMap<Prefix, Inside>,
    /// The kernel did not take the program, which it thinks about for seconds: it is
    /// not asked again.
    is_not_loadable: bool,
    /// Why the program clamps nothing, although it is loaded.
    not_clamping: Option<String>,
}

impl Lan {
    /// The program could not be loaded.
    fn refuse_all(&mut self, names: &[InterfaceName], error: &BpfError) {
        self.is_not_loadable = true;
        for name in names {
            self.refuse(name, error.to_string());
        }
    }

    fn refuse(&mut self, name: &InterfaceName, why: String) {
        tracing::warn!(event = "lan_refused", interface = %name, %why, "its TCP connections are clamped in the tunnel only");
        self.refused.insert(name.clone(), why);
    }

    /// What stood in the way may have gone.
    pub fn forget_refusals(&mut self) {
        if !self.is_not_loadable {
            self.refused.clear();
        }
    }

    /// One of these interfaces that is there and not looked at.
    fn missing(&self, names: &[InterfaceName]) -> Option<(InterfaceName, u32)> {
        let unknown = names.iter().filter(|name| !self.refused.contains_key(name));
        let there = |name: &InterfaceName| if_nametoindex(name.as_str()).ok();
        unknown
            .filter_map(|name| Some((name.clone(), there(name)?)))
            .find(|(_, index)| !self.ports.contains_key(index))
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

    /// The cards by which packets go past the kernel.
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        self.ports.values().filter_map(|port| match &port.how {
            How::Forward(card) => Some(&**card),
            How::Clamp { .. } => None,
        })
    }

    /// Whether packets go past the kernel by this card.
    pub fn forwards(&self, ifindex: u32) -> bool {
        let how = self.ports.get(&ifindex).map(|port| &port.how);
        matches!(how, Some(How::Forward(_)))
    }

    /// The card has this hardware address and MTU. Whether it has to be attached anew.
    pub fn heard_of(&mut self, link: &crate::net::netlink::Link) -> bool {
        let (Some(program), Some(port)) = (&mut self.program, self.ports.get_mut(&link.index))
        else {
            return false;
        };
        let How::Forward(card) = &mut port.how else {
            return false;
        };
        if let Some(mac) = link.mac
            && let Err(error) = card.set_mac(program, mac.0)
        {
            tracing::warn!(event = "card_address_stale", card = %link.name, %error, "its new hardware address is not followed");
        }
        card.has_failed() || card.is_outgrown(link.mtu)
    }

    /// Makes the maps hold these networks.
    pub fn sync(&mut self, wanted: HashMap<Prefix, Inside>) {
        let Some(program) = &mut self.program else {
            return;
        };
        self.prefixes.retain(|prefix, _| {
            if wanted.contains_key(prefix) {
                return true;
            }
            if let Err(error) = program.remove(prefix.addr(), prefix.len()) {
                tracing::warn!(event = "lan_prefix_stays", %error, %prefix, "a network stays in the LAN program's map");
            }
            false
        });
        for (prefix, inside) in wanted {
            if self.prefixes.get(&prefix) == Some(&inside) {
                continue;
            }
            match program.insert(prefix.addr(), prefix.len(), inside) {
                Ok(()) => {
                    self.prefixes.insert(prefix, inside);
                }
                Err(error) => {
                    // The tunnel clamps them all the same.
                    tracing::warn!(event = "lan_prefix_missing", %error, %prefix, "a network is not in the LAN program's map");
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
        let none = |name: &InterfaceName, why: &str| LanReport {
            name: name.to_string(),
            xdp: "none".to_owned(),
            refused: Some(why.to_owned()),
            ..LanReport::default()
        };
        let absent = absent.map(|name| {
            let is_there = if_nametoindex(name.as_str()).is_ok();
            let why = if is_there {
                "the kernel is looking at its program"
            } else {
                "there is no such interface yet"
            };
            none(name, why)
        });
        let attached = self.ports.values().map(|port| LanReport {
            not_clamping: self.not_clamping.clone(),
            ..port.report()
        });
        let refused = self.refused.iter().map(|(name, why)| none(name, why));
        attached.chain(refused).chain(absent).collect()
    }

    /// What the program counted.
    pub fn counts(&self) -> Option<Counts> {
        let counts = self.program.as_ref()?.counts();
        counts
            .inspect_err(|error| tracing::warn!(event = "lan_counters_unread", %error, "the LAN program's counters"))
            .ok()
    }
}

impl Port {
    fn report(&self) -> LanReport {
        let name = self.name.to_string();
        match &self.how {
            How::Clamp { mode, why, .. } => LanReport {
                name,
                xdp: mode.to_string(),
                not_forwarding: why.clone(),
                ..LanReport::default()
            },
            How::Forward(card) => LanReport {
                name,
                xdp: card.mode.to_string(),
                forwarding: Some(CardReport::of(card)),
                ..LanReport::default()
            },
        }
    }
}

impl Nics {
    /// Attaches the program to LAN interfaces that came, and tells it what is
    /// inside the tunnels.
    pub(super) async fn tend_lan(&self) {
        let names = &self.options.lan;
        loop {
            let Some((name, index)) = self.lan.borrow().missing(names) else {
                break;
            };
            if self.lan.borrow().program.is_none() {
                match load().await {
                    Ok(program) => {
                        if let Some(error) = program.not_clamping() {
                            let why = summary(error);
                            tracing::warn!(event = "lan_not_clamping", %why, "TCP connections are clamped in the tunnel only");
                            self.lan.borrow_mut().not_clamping = Some(why);
                        }
                        self.lan.borrow_mut().program = Some(program);
                    }
                    Err(error) => return self.lan.borrow_mut().refuse_all(names, &error),
                }
                self.inside_changed.set(true);
            }
            match self.attach_lan(&name, index).await {
                Ok(how) => {
                    let port = Port { name, how };
                    self.lan.borrow_mut().ports.insert(index, port);
                    self.forwarding_changed();
                }
                Err(why) => self.lan.borrow_mut().refuse(&name, why),
            }
        }
        if self.inside_changed.replace(false) {
            let inside = self.inside();
            self.lan.borrow_mut().sync(inside);
        }
    }

    async fn attach_lan(&self, name: &InterfaceName, index: u32) -> Result<How, String> {
        let claim = || {
            let nic = Nic {
                namespace: &self.namespace,
                ifindex: index,
                name: name.as_str(),
            };
            let devices = self.state.borrow().names();
            let claimed = Owner::claim(&self.options.nics_directory, &nic, &devices);
            claimed.map_err(|error| error.to_string())
        };
        let mut why = None;
        if self.options.fast_forward {
            match self.attach_card(index, claim()?).await {
                Ok(card) => {
                    tracing::info!(
                        event = "lan_forwarding", interface = %name, mode = %card.mode, transfer = %card.transfer,
                        queues = card.queues.len(), "packets go past the kernel's stack"
                    );
                    return Ok(How::Forward(Box::new(card)));
                }
                Err(refusal) => {
                    tracing::warn!(event = "lan_not_forwarding", interface = %name, %refusal, "packets go by the kernel's stack");
                    why = Some(refusal);
                }
            }
        }
        let owner = claim()?;
        let link = self.lan.borrow().put(index, name)?;
        tracing::info!(event = "lan_clamping", interface = %name, mode = %link.mode(), "XDP clamps the MSS of what comes in here");
        Ok(How::Clamp {
            mode: link.mode(),
            why,
            _link: link,
            _owner: owner,
        })
    }

    async fn attach_card(&self, index: u32, owner: Owner) -> Result<Card, String> {
        let link = self.tables.link(index).await;
        let link = link.map_err(|error| error.to_string())?;
        let link = link.ok_or("it is gone")?;
        let attach = Attach {
            link: &link,
            asked: true,
            options: &self.options,
            plane: &self.plane,
            first_socket: card::first_free_place(self.lan.borrow().cards()),
            side: Side::Inner,
        };
        let driver = attach.judge().map_err(|refusal| refusal.to_string())?;
        let program = self.lan.borrow_mut().program.take();
        let mut program = program.ok_or("the program is not loaded")?;
        let attached = attach.attach(&mut program, driver, owner).await;
        self.lan.borrow_mut().program = Some(program);
        attached.map_err(|refusal| refusal.to_string())
    }

    /// Takes the program off a LAN interface. It may be attached anew.
    pub(super) async fn detach_lan(&self, index: u32) {
        let Some(port) = self.lan.borrow_mut().ports.remove(&index) else {
            return;
        };
        let How::Forward(card) = port.how else {
            return;
        };
        self.forwarding_changed();
        let program = self.lan.borrow_mut().program.take();
        if let Some(mut program) = program {
            card.detach(&mut program, &self.plane).await;
            self.lan.borrow_mut().program = Some(program);
        }
    }

    /// Packets go by the kernel's stack from now on.
    pub(super) async fn stop_forwarding(&self) {
        let cards: Vec<u32> = self.lan.borrow().cards().map(Card::ifindex).collect();
        for index in cards {
            self.detach_lan(index).await;
        }
    }
}

/// What went wrong, without what the verifier said line by line.
fn summary(error: &BpfError) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first
        .split(" Verifier output")
        .next()
        .unwrap_or(first)
        .to_owned()
}

/// Loads the program on another thread: the verifier can take a second.
async fn load() -> Result<LanProgram, BpfError> {
    let loaded = tokio::task::spawn_blocking(LanProgram::load).await;
    // It can fail to be waited for only by a panic, which goes on here.
    loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

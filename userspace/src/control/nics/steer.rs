//! Tunnels of others on the cards that carry the WAN program: which go to which
//! CPUs, and the cards that carry it for that alone.

use std::collections::BTreeMap;

use nix::net::if_::if_nametoindex;
use ringtun_common::tables::Counter;
use serde::{Deserialize, Serialize};

use super::card::Card;
use super::{Nics, State};
use crate::bpf::WanProgram;
use crate::bpf::steer::QUEUE_SIZE;
use crate::control::names::InterfaceName;
use crate::control::options::Steer;

/// A group of tunnels, and the CPUs that see to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SteerReport {
    /// `esp`, `natt-esp`, `gre`, `wireguard`, `openvpn`.
    pub group: String,
    /// The CPUs.
    pub cpus: Vec<u32>,
    /// Why they stay where they arrive.
    pub refused: Option<String>,
}

/// Tells the program. What it refuses stays where it arrives, which is no reason
/// to do without the rest; returns why, by the place in the list.
pub fn apply(program: &mut WanProgram, steers: &[Steer]) -> BTreeMap<usize, String> {
    let mut refused = BTreeMap::new();
    for (at, steer) in steers.iter().enumerate() {
        let group = steer.group.label();
        match program.steer(steer.group, &steer.cpus, QUEUE_SIZE) {
            Ok(()) => {
                tracing::info!(event = "steering", group, cpus = ?steer.cpus, "tunnels of others are steered")
            }
            Err(error) => {
                tracing::warn!(event = "steering_refused", group, %error, "tunnels of others are not steered");
                refused.insert(at, error.to_string());
            }
        }
    }
    refused
}

/// Whether the card carries the program whoever uses it.
pub fn is_asked_for(names: &[InterfaceName], name: &str) -> bool {
    names.iter().any(|wanted| wanted.as_str() == name)
}

impl Nics {
    /// Has the interfaces looked at that carry the program without any peer.
    pub(super) fn want_wan(&self) {
        let mut state = self.state.borrow_mut();
        if state.broken.is_some() {
            return;
        }
        for name in &self.options.wan {
            if let Ok(index) = if_nametoindex(name.as_str())
                && !state.cards.contains_key(&index)
            {
                state.wanted.insert(index);
            }
        }
    }

    /// What is steered, or would be on a card with the program.
    pub fn steering(&self) -> Vec<SteerReport> {
        let state = self.state.borrow();
        let report = |(at, steer): (usize, &Steer)| SteerReport {
            group: steer.group.label().to_owned(),
            cpus: steer.cpus.clone(),
            refused: state.not_steered(at),
        };
        self.options.steer.iter().enumerate().map(report).collect()
    }

    /// What was steered to each CPU that is named; none while there is no program.
    pub fn steered(&self) -> BTreeMap<u32, Counter> {
        let state = self.state.borrow();
        let Some(program) = &state.program else {
            return BTreeMap::new();
        };
        let cpus = self.options.steer.iter().flat_map(|steer| &steer.cpus);
        let counted = cpus.map(|cpu| Ok((*cpu, program.steered_to(*cpu)?)));
        // A CPU that the machine has not has no counter.
        counted
            .filter_map(|one: Result<_, crate::bpf::BpfError>| one.ok())
            .collect()
    }
}

impl State {
    fn not_steered(&self, at: usize) -> Option<String> {
        if let Some(why) = self.not_steered.get(&at) {
            return Some(why.clone());
        }
        let card = self.attached().map(Card::ifindex).next();
        card.is_none().then(|| {
            "no interface carries the XDP program: `--wan INTERFACE` puts it there".to_owned()
        })
    }
}

//! The control side of one tunnel device: configuration, handshakes, timers.
//!
//! Sans-IO: calls go in with the time, [`Output`]s come out, and
//! [`Device::poll_timeout`] says when to call again. Packets never come here;
//! workers report through [`PeerCell`] stamps and signals.
//!
//! * `config`: peers, keys, AllowedIPs, link state.
//! * `handshake`: initiations, and the commits of the [`Gate`].
//! * `expiry`: signals of workers and timers.

mod config;
mod expiry;
mod handshake;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;

pub use config::AddPeer;

use super::allowed_ips::AllowedIps;
use super::cell::{Notifier, PeerCell, PeerId, Signal};
use super::gate::Gate;
use super::identity::Identity;
use super::output::{Output, PeerEvent};
use super::peer::Peer;
use super::snapshot::{Shared, Snapshot};
use super::time::BootTime;
use super::timers::{REKEY_TIMEOUT_JITTER, TimerReason, Timers};
use crate::crypto::PublicKey;

/// One tunnel device; owned by the control thread, the only place where peers
/// are changed.
pub struct Device {
    shared: Arc<Shared>,
    notifier: Arc<dyn Notifier>,
    identity: Option<Arc<Identity>>,
    generation: u64,
    up: bool,
    peers: BTreeMap<PeerId, Peer>,
    ids: HashMap<PublicKey, PeerId>,
    next_id: u64,
    // What the next snapshot will be; shared with the last one until changed.
    allowed_ips: AllowedIps<Arc<PeerCell>>,
    cells: Arc<HashMap<PublicKey, Arc<PeerCell>>>,
    timers: Timers,
    outputs: VecDeque<Output>,
    jitter: Jitter,
}

impl Device {
    /// A device without key and peers, down. `notifier` is called when a
    /// worker has a signal for [`Self::handle_signal`]. `rng` gives the
    /// secrets of the cookie checker and the seed of the timers' jitter.
    #[must_use]
    pub fn new(now: BootTime, rng: &mut impl CryptoRng, notifier: Arc<dyn Notifier>) -> Self {
        Self {
            shared: Arc::new(Shared::new(Gate::new(now, rng))),
            notifier,
            identity: None,
            generation: 0,
            up: false,
            peers: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 0,
            allowed_ips: AllowedIps::default(),
            cells: Arc::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            jitter: Jitter(rng.next_u64()),
        }
    }

    /// What workers and handshake threads use.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Makes the configuration visible to all threads; once per operation,
    /// however many peers it changed.
    pub fn publish(&mut self) {
        self.allowed_ips.settle();
        self.shared.publish(Snapshot {
            identity: self.identity.clone(),
            allowed_ips: self.allowed_ips.clone(),
            peers: Arc::clone(&self.cells),
            generation: self.generation,
        });
    }

    /// When [`Self::handle_timeout`] is next to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(BootTime, TimerReason)> {
        self.timers.next()
    }

    /// What to do next. Call until None after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn event(&mut self, cell: &Arc<PeerCell>, event: PeerEvent) {
        self.outputs.push_back(Output::Event {
            cell: Arc::clone(cell),
            event,
        });
    }

    /// Drops what is staged for a peer.
    fn purge_staged(&mut self, cell: &Arc<PeerCell>) {
        let packets = cell.take_staged();
        if !packets.is_empty() {
            self.outputs.push_back(Output::Purged {
                cell: Arc::clone(cell),
                packets,
            });
        }
    }

    /// Forgets sessions and handshakes of a peer, and what they waited for.
    fn forget_sessions(&mut self, id: PeerId) {
        for reason in TimerReason::ALL {
            if reason != TimerReason::PersistentKeepalive {
                self.timers.cancel(id, reason);
            }
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.pending = None;
        peer.attempts = 0;
        peer.last_handshake_message = None;
        peer.responded = None;
        peer.cell.keypairs.clear();
        for signal in Signal::ALL {
            peer.cell.lower(signal);
        }
        peer.cell.activity.reset();
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("identity", &self.identity)
            .field("up", &self.up)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

/// SplitMix64. Jitter only keeps peers from acting in step; it is no secret.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    /// At least zero, below [`REKEY_TIMEOUT_JITTER`], in milliseconds.
    fn draw(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let range = REKEY_TIMEOUT_JITTER.as_millis() as u64;
        Duration::from_millis((z ^ (z >> 31)) % range)
    }
}

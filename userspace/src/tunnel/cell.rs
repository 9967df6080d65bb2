//! What all threads share of one peer.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use super::activity::Activity;
use super::cookie::CookieJar;
use super::endpoint::EndpointCell;
use super::handshake_keys::HandshakeKeys;
use super::initiation_guard::InitiationGuard;
use super::keypair::Keypair;
use super::slots::KeypairSlots;
use super::staged::StagedQueue;
use super::tai64n::Tai64n;
use super::time::{BootTime, WallTime};
use super::transport::Amount;
use crate::crypto::PublicKey;

/// Names a peer for as long as the device lives; never used again after the
/// peer was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// Tells the control thread that a peer has a signal for it.
///
/// Called by workers: must not block. The control thread answers with
/// `Device::handle_signal`.
pub trait Notifier: Send + Sync {
    /// A signal of this peer was raised that was not raised before.
    fn notify(&self, peer: PeerId);
}

impl<F: Fn(PeerId) + Send + Sync> Notifier for F {
    fn notify(&self, peer: PeerId) {
        self(peer);
    }
}

/// What a worker can want of the control thread. A raised signal stays raised,
/// and costs workers one load, until the control thread wants to hear of the
/// next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Signal {
    /// A packet needs a handshake, or a key is to be renewed.
    Handshake = 1,
    /// The peer used a session that we answered.
    Confirmed = 2,
    /// Data was sent: an answer is awaited.
    Unanswered = 4,
    /// Data was received: an answer is owed.
    Unacknowledged = 8,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 4] = [
        Self::Handshake,
        Self::Confirmed,
        Self::Unanswered,
        Self::Unacknowledged,
    ];
}

/// What all threads share of one peer; everything inside may be read and
/// stamped by any of them without waiting.
pub struct PeerCell {
    id: PeerId,
    public: PublicKey,
    notifier: Arc<dyn Notifier>,
    /// Where the peer is.
    pub endpoint: EndpointCell,
    /// Packets that wait for a handshake.
    pub staged: StagedQueue,
    /// When the peer was last heard and spoken to.
    pub activity: Activity,
    pub(super) keypairs: KeypairSlots,
    pub(super) cookies: Mutex<CookieJar>,
    pub(super) initiations: InitiationGuard,
    pub(super) keys: ArcSwapOption<HandshakeKeys>,
    /// The timestamp of the last initiation sent.
    timestamp: Mutex<Tai64n>,
    signals: AtomicU32,
    attachment: OnceLock<Box<dyn Any + Send + Sync>>,
    removed: AtomicBool,
    tx_bytes: AtomicU64,
    rx_bytes: AtomicU64,
    tx_packets: AtomicU64,
    rx_packets: AtomicU64,
    /// Nanoseconds since 1970 of the last completed handshake; 0: none yet.
    last_handshake: AtomicU64,
}

impl PeerCell {
    pub(super) fn new(id: PeerId, public: PublicKey, notifier: Arc<dyn Notifier>) -> Self {
        Self {
            id,
            public,
            notifier,
            endpoint: EndpointCell::default(),
            staged: StagedQueue::default(),
            activity: Activity::default(),
            keypairs: KeypairSlots::default(),
            cookies: Mutex::default(),
            initiations: InitiationGuard::default(),
            keys: ArcSwapOption::empty(),
            timestamp: Mutex::new(Tai64n::ZERO),
            signals: AtomicU32::new(0),
            attachment: OnceLock::new(),
            removed: AtomicBool::new(false),
            tx_bytes: AtomicU64::new(0),
            rx_bytes: AtomicU64::new(0),
            tx_packets: AtomicU64::new(0),
            rx_packets: AtomicU64::new(0),
            last_handshake: AtomicU64::new(0),
        }
    }

    /// Names the peer towards the control thread.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Who the peer is.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The keypair to send with, if there is one. It may have expired:
    /// [`Keypair::reserve`] tells.
    #[must_use]
    pub fn current(&self) -> Guard<Option<Arc<Keypair>>> {
        self.keypairs.current()
    }

    /// Keeps a packet until a handshake is complete. Returns the packet that
    /// had to go for it, oldest first, to be counted as
    /// [`StagedOverflow`](crate::drops::DropReason::StagedOverflow).
    ///
    /// Afterwards the caller asks for a handshake with
    /// [`Self::want_handshake`]; if one completes in between, the packets are
    /// flushed all the same.
    #[must_use = "the packet returned is dropped and counted"]
    pub fn stage(&self, packet: Box<[u8]>) -> Option<Box<[u8]>> {
        self.staged.push(packet)
    }

    /// Takes all packets that wait.
    #[must_use]
    pub fn take_staged(&self) -> VecDeque<Box<[u8]>> {
        self.staged.take()
    }

    /// A packet is to be sent and there is no key for it.
    pub fn want_handshake(&self, now: BootTime) {
        self.activity.wanted(now);
        self.signal(Signal::Handshake);
    }

    /// Raises a signal; tells the control thread if it was not raised.
    pub fn signal(&self, signal: Signal) {
        let bit = signal as u32;
        // The order against the stamps matters: see `lower`.
        if self.signals.load(SeqCst) & bit != 0 {
            return;
        }
        if self.signals.fetch_or(bit, SeqCst) & bit == 0 {
            self.notifier.notify(self.id);
        }
    }

    /// Whether a signal is raised.
    #[must_use]
    pub fn is_raised(&self, signal: Signal) -> bool {
        self.signals.load(SeqCst) & signal as u32 != 0
    }

    /// The control thread wants to hear of the next one. It looks at the
    /// stamps *after* this: a worker stamps before it signals, so either the
    /// stamp is seen here or the worker sees the signal lowered.
    pub(super) fn lower(&self, signal: Signal) {
        self.signals.fetch_and(!(signal as u32), SeqCst);
    }

    /// Bytes sent to the peer, in authenticated messages without IP and UDP
    /// headers.
    #[must_use]
    pub fn tx_bytes(&self) -> u64 {
        self.tx_bytes.load(Relaxed)
    }

    /// Bytes received from the peer, likewise.
    #[must_use]
    pub fn rx_bytes(&self) -> u64 {
        self.rx_bytes.load(Relaxed)
    }

    /// Data packets sent to the peer, keepalives among them.
    #[must_use]
    pub fn tx_packets(&self) -> u64 {
        self.tx_packets.load(Relaxed)
    }

    /// Data packets received from the peer, likewise.
    #[must_use]
    pub fn rx_packets(&self) -> u64 {
        self.rx_packets.load(Relaxed)
    }

    pub(super) fn add_tx_data(&self, outer: Amount) {
        self.tx_packets.fetch_add(outer.packets, Relaxed);
        self.add_tx(outer.bytes);
    }

    pub(super) fn add_rx_data(&self, outer: Amount) {
        self.rx_packets.fetch_add(outer.packets, Relaxed);
        self.add_rx(outer.bytes);
    }

    pub(super) fn add_tx(&self, bytes: u64) {
        self.tx_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_rx(&self, bytes: u64) {
        self.rx_bytes.fetch_add(bytes, Relaxed);
    }

    /// When the last handshake completed, by the wall clock.
    #[must_use]
    pub fn last_handshake(&self) -> Option<WallTime> {
        match self.last_handshake.load(Relaxed) {
            0 => None,
            nanos => Some(WallTime {
                secs: nanos / 1_000_000_000,
                nanos: (nanos % 1_000_000_000) as u32,
            }),
        }
    }

    pub(super) fn set_last_handshake(&self, wall: WallTime) {
        let nanos = wall
            .secs
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(wall.nanos));
        self.last_handshake.store(nanos.max(1), Relaxed);
    }

    /// The timestamp for the next initiation: greater than all before, also
    /// when the wall clock was set back.
    pub(super) fn next_timestamp(&self, wall: WallTime) -> Tai64n {
        let mut last = self
            .timestamp
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Tai64n::next(*last, wall);
        *last
    }

    pub(super) fn cookie_jar(&self) -> MutexGuard<'_, CookieJar> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the data path keeps with the peer (its ordering lane); made by the
    /// first who asks. This module does not look at it.
    ///
    /// # Panics
    /// If another type was attached before.
    pub fn attachment<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> &T {
        self.attachment
            .get_or_init(|| Box::new(make()))
            .downcast_ref()
            .expect("one type of attachment per process")
    }

    /// Whether the peer was removed from the device.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Acquire)
    }

    pub(super) fn set_removed(&self) {
        self.removed.store(true, Release);
    }
}

impl std::fmt::Debug for PeerCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerCell({}, {})", self.id.0, self.public)
    }
}

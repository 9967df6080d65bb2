//! The keys of one session, used by any thread through `&self`.

use std::ops::Range;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::cell::PeerCell;
use super::indices::{IndexTable, Reservation};
use super::messages::{DATA_HEADER_LEN, DataHeader, KEEPALIVE_LEN};
use super::noise::SessionKeys;
use super::replay::{REJECT_AFTER_MESSAGES, ReplayWindow};
use super::snapshot::Entry;
use super::time::BootTime;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::{DataKey, PublicKey};
use crate::drops::DropReason;

/// A key is not used, either way, once it is this old (paper section 6.1).
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// The initiator starts a new handshake when it sends with a key this old.
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Either side starts one when it has sent this many messages.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;

/// Sessions that either side initiated are taken for crossing ones when they
/// came to be less than this apart: two retransmission intervals.
const CROSSING: Duration = Duration::from_secs(10);

/// Which side of the handshake we were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We sent the initiation, and renew the session.
    Initiator,
    /// We sent the response, and wait for the first data packet.
    Responder,
}

/// Why a packet cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is 180 s old: stage the packet and ask for a handshake.
    #[error("the key has expired")]
    Expired,
    /// The nonces are used up: stage the packet and ask for a handshake.
    #[error("the key has no nonce left")]
    NonceLimit,
}

impl From<SealError> for DropReason {
    fn from(e: SealError) -> Self {
        match e {
            SealError::Expired => Self::KeyExpired,
            SealError::NonceLimit => Self::NonceLimit,
        }
    }
}

/// The keys of one session with one peer.
#[derive(Debug)]
pub struct Keypair {
    /// Weak: the peer's cell holds its keypairs.
    peer: Weak<PeerCell>,
    role: Role,
    /// Whether the side with the greater public key initiated it.
    by_greater: bool,
    local_index: u32,
    remote_index: u32,
    created: BootTime,
    send: DataKey,
    receive: DataKey,
    /// On cache lines of its own: every worker that seals writes it, and reads the
    /// key beside it for each packet.
    next_counter: CachePadded<AtomicU64>,
    replay: Mutex<ReplayWindow>,
    /// Responder: whether the initiator proved, by a data packet, that it has
    /// the keys. Before that nothing may be sent.
    confirmed: AtomicBool,
    /// Keeps `local_index` ours until the keypair is given up.
    reservation: Mutex<Option<Reservation<Entry>>>,
}

/// A data message that authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its counter, for [`ReplayGuard::accept`].
    pub counter: u64,
    /// Length of the plaintext, at `packet[16..16 + len]`; 0: a keepalive.
    pub len: usize,
}

/// The replay window of a keypair, locked for a batch.
#[must_use]
pub struct ReplayGuard<'a>(MutexGuard<'a, ReplayWindow>);

impl ReplayGuard<'_> {
    /// Whether the packet of this counter is new; at most once true for each.
    #[must_use]
    pub fn accept(&mut self, counter: u64) -> bool {
        self.0.accept(counter)
    }
}

impl Keypair {
    /// A session as a handshake left it. `ours` is our own public key,
    /// `created` when the keys were derived here.
    #[must_use]
    pub fn new(
        peer: &Arc<PeerCell>,
        ours: &PublicKey,
        role: Role,
        keys: SessionKeys,
        created: BootTime,
    ) -> Self {
        Self {
            peer: Arc::downgrade(peer),
            role,
            by_greater: (role == Role::Initiator) == (ours > peer.public()),
            local_index: keys.local_index,
            remote_index: keys.remote_index,
            created,
            send: keys.send,
            receive: keys.receive,
            next_counter: CachePadded::new(AtomicU64::new(0)),
            replay: Mutex::new(ReplayWindow::new()),
            confirmed: AtomicBool::new(role == Role::Initiator),
            reservation: Mutex::new(None),
        }
    }

    /// The peer, unless it was removed.
    #[must_use]
    pub fn peer(&self) -> Option<Arc<PeerCell>> {
        self.peer.upgrade()
    }

    /// Which side of the handshake we were.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The index that the peer's messages carry.
    #[must_use]
    pub const fn local_index(&self) -> u32 {
        self.local_index
    }

    /// The index that our messages carry.
    #[must_use]
    pub const fn remote_index(&self) -> u32 {
        self.remote_index
    }

    /// When the keys were derived.
    #[must_use]
    pub const fn created(&self) -> BootTime {
        self.created
    }

    /// Whether both sides are known to have the keys.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Acquire)
    }

    /// Whether the key may no longer be used because of its age.
    #[must_use]
    pub fn is_expired(&self, now: BootTime) -> bool {
        now.since(self.created) >= REJECT_AFTER_TIME
    }

    /// Whether a packet can be sealed now.
    #[must_use]
    pub fn can_send(&self, now: BootTime) -> bool {
        !self.is_expired(now) && self.next_counter.load(Relaxed) < REJECT_AFTER_MESSAGES
    }

    /// Whether, having sent with it, a new handshake is due: the initiator
    /// after 120 s, either side after 2^60 messages.
    #[must_use]
    pub fn needs_rekey_after_sending(&self, now: BootTime) -> bool {
        self.next_counter.load(Relaxed) > REKEY_AFTER_MESSAGES
            || (self.role == Role::Initiator && now.since(self.created) >= REKEY_AFTER_TIME)
    }

    /// Takes `n` counters; the first is returned.
    ///
    /// # Errors
    /// None is taken: the key has expired, or fewer than `n` counters are left
    /// below 2^64 − 2^13 − 1. A counter is never handed out twice.
    pub fn reserve(&self, now: BootTime, n: u64) -> Result<u64, SealError> {
        if self.is_expired(now) {
            return Err(SealError::Expired);
        }
        self.next_counter
            .fetch_update(Relaxed, Relaxed, |next| {
                next.checked_add(n)
                    .filter(|end| *end <= REJECT_AFTER_MESSAGES)
            })
            .map_err(|_| SealError::NonceLimit)
    }

    /// Takes back the last of the counters that a caller reserved and did not
    /// use; false, and they are lost, if others were reserved behind them.
    ///
    /// No counter from `next_counter` on is in anybody's hands. So if that is
    /// where these end, nobody has one behind them (or gave it back before), and
    /// once they are given back nobody has them either. Whoever gives back what it
    /// used has a nonce used twice: [`Flow`](crate::datapath::flow::Flow) does it
    /// for those who seal.
    pub fn give_back(&self, unused: Range<u64>) -> bool {
        self.next_counter
            .compare_exchange(unused.end, unused.start, Relaxed, Relaxed)
            .is_ok()
    }

    /// Seals one packet in place under a counter from [`Self::reserve`].
    ///
    /// ```text
    /// packet  [ header 16 ][ plaintext, zero-padded ][ tag 16 ]
    /// ```
    ///
    /// Header and tag are written here.
    ///
    /// # Panics
    /// If `packet` is shorter than 32 bytes.
    pub fn seal(&self, counter: u64, packet: &mut [u8]) {
        let (header, body) = packet
            .split_first_chunk_mut::<DATA_HEADER_LEN>()
            .expect("room for the header");
        let (text, tag) = body
            .split_last_chunk_mut::<TAG_LEN>()
            .expect("room for the tag");
        *header = DataHeader {
            receiver: self.remote_index,
            counter,
        }
        .to_bytes();
        *tag = self.send.seal_in_place(counter, text);
    }

    /// Opens a data message in place, on any thread and in any order; whether
    /// it was received before is judged later, at [`Self::admit`].
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if it is too short, [`DropReason::KeyExpired`]
    /// past the key's age or message limit, [`DropReason::DataAuth`].
    pub fn open(&self, now: BootTime, packet: &mut [u8]) -> Result<Opened, DropReason> {
        let header = DataHeader::read(packet).ok_or(DropReason::Malformed)?;
        if self.is_expired(now) || header.counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::KeyExpired);
        }
        self.receive
            .open_in_place(header.counter, &mut packet[DATA_HEADER_LEN..])
            .map_err(|_| DropReason::DataAuth)?;
        Ok(Opened {
            counter: header.counter,
            len: packet.len() - KEEPALIVE_LEN,
        })
    }

    /// Locks the replay window for a batch of packets that authenticated, in
    /// the order in which they are to be delivered.
    pub fn admit(&self) -> ReplayGuard<'_> {
        ReplayGuard(self.replay.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counters handed out so far, and not given back.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.next_counter.load(Relaxed)
    }

    /// Skips counters, as if `next` messages had been sent. For tests of the
    /// message limits; it only ever moves forward, so no nonce is used twice.
    #[doc(hidden)]
    pub fn skip_to(&self, next: u64) {
        self.next_counter.fetch_max(next, Relaxed);
    }

    pub(super) fn set_confirmed(&self) {
        self.confirmed.store(true, Release);
    }

    /// Whether the side with the greater public key initiated it.
    pub(super) fn by_greater(&self) -> bool {
        self.by_greater
    }

    /// Whether both sessions come of initiations that crossed: by different
    /// sides, at about the same time.
    pub(super) fn crossed(&self, other: &Self) -> bool {
        let apart = (self.created - other.created).max(other.created - self.created);
        self.role != other.role && apart < CROSSING
    }

    /// Ties the receiver index to the life of the keypair.
    pub(super) fn hold(&self, reservation: Reservation<Entry>) {
        *self.slot() = Some(reservation);
    }

    /// Makes the receiver index stand for this keypair: data can be received.
    pub(super) fn enlist(self: &Arc<Self>, indices: &IndexTable<Entry>) {
        if let Some(reservation) = &*self.slot() {
            indices.set(reservation, Entry::Session(Arc::clone(self)));
        }
    }

    /// Takes the keypair out of the index table: nothing more is received
    /// with it. The keys are overwritten when the last user lets go.
    pub(super) fn retire(&self) {
        let reservation = self.slot().take();
        drop(reservation);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Reservation<Entry>>> {
        self.reservation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length of `len` bytes of inner packet with padding: the next multiple of
/// 16, but not past `mtu` (0: unknown). For a super-packet cut into segments,
/// ask for each segment.
///
/// A packet longer than the MTU (it was lowered meanwhile) is padded as its
/// part beyond whole MTUs would be, as Linux does.
#[must_use]
pub const fn padded_len(len: usize, mtu: usize) -> usize {
    if mtu == 0 {
        return len.next_multiple_of(16);
    }
    let last = if len > mtu { len % mtu } else { len };
    let padded = last.next_multiple_of(16);
    len - last + if padded < mtu { padded } else { mtu }
}

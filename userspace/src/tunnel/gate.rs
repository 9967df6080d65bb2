//! The door for handshake messages: everything that can be judged and computed
//! on a handshake thread, without changing a peer.
//!
//! ```text
//! message ─▶ shape ─▶ MAC1 ─▶ under load: MAC2? ─no─▶ cookie reply
//!                                  │ yes: rate limit of the source
//!                                  ▼
//!     initiation: who? known? authentic? new? ─▶ response made ─▶ Commit::Responded
//!     response: to which initiation of ours?  ─▶ keys derived  ─▶ Commit::Established
//!     cookie reply: opens?                                     ─▶ Commit::Cookie
//! ```
//!
//! The control thread applies the commit (`Device::handle_commit`), which is
//! cheap. Whatever does not authenticate leaves no trace.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::cell::PeerCell;
use super::cookie::{Cookie, CookieChecker, check_mac1};
use super::endpoint::Endpoint;
use super::handshake_keys::HandshakeKeys;
use super::initiation::PendingInitiation;
use super::keypair::{Keypair, Role};
use super::load::LoadGauge;
use super::messages::{COOKIE_REPLY_LEN, CookieReply, Initiation, Message, RESPONSE_LEN, Response};
use super::noise::OpenedInitiation;
use super::ratelimit::RateLimiter;
use super::snapshot::{Entry, Shared};
use super::tai64n::Tai64n;
use super::time::BootTime;
use crate::drops::DropReason;

/// Judges handshake messages; shared by all handshake threads.
pub struct Gate {
    /// Whether messages arrive faster than they are answered.
    pub load: LoadGauge,
    cookies: CookieChecker,
    limiter: RateLimiter,
}

/// What is to be done about a handshake message.
#[derive(Debug)]
pub enum GateOutcome {
    /// Nothing; count the reason.
    Drop(DropReason),
    /// Send this to where the message came from, and count
    /// [`DropReason::CookieRequired`].
    CookieReply([u8; COOKIE_REPLY_LEN]),
    /// Hand this to the control thread.
    Commit(Commit),
}

/// The result of an authentic handshake message, to be applied by the control
/// thread.
#[derive(Debug)]
pub enum Commit {
    /// An initiation was answered: the response is to be sent.
    Responded(Responded),
    /// Our initiation was answered: there is a session.
    Established(Established),
    /// The peer wants its cookie in our next initiation.
    Cookie(GivenCookie),
}

/// An initiation was answered.
#[derive(Debug)]
pub struct Responded {
    pub(super) cell: Arc<PeerCell>,
    pub(super) keys: Arc<HandshakeKeys>,
    pub(super) keypair: Arc<Keypair>,
    pub(super) response: Box<[u8; RESPONSE_LEN]>,
    pub(super) timestamp: Tai64n,
    pub(super) from: Endpoint,
}

/// Our initiation was answered.
#[derive(Debug)]
pub struct Established {
    pub(super) pending: Arc<PendingInitiation>,
    pub(super) keys: Arc<HandshakeKeys>,
    pub(super) keypair: Arc<Keypair>,
    pub(super) from: Endpoint,
}

/// A cookie for our next handshake message.
#[derive(Debug)]
pub struct GivenCookie {
    pub(super) cell: Arc<PeerCell>,
    pub(super) cookie: Cookie,
}

impl Commit {
    /// The peer it is about.
    #[must_use]
    pub fn peer(&self) -> &Arc<PeerCell> {
        match self {
            Self::Responded(c) => &c.cell,
            Self::Established(c) => &c.pending.cell,
            Self::Cookie(c) => &c.cell,
        }
    }
}

impl Gate {
    pub(super) fn new(now: BootTime, rng: &mut impl CryptoRng) -> Self {
        Self {
            load: LoadGauge::default(),
            cookies: CookieChecker::new(now, rng),
            limiter: RateLimiter::new(rng),
        }
    }

    /// Judges one datagram of type 1, 2 or 3 that came from `from`.
    /// `under_load`: see [`LoadGauge`]. Keys are drawn from `rng`; `nonces` is for
    /// the nonces of cookies only, and may keep a state from which they can be
    /// computed again.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is the caller's own")]
    pub fn process(
        &self,
        shared: &Shared,
        now: BootTime,
        under_load: bool,
        from: &Endpoint,
        datagram: &[u8],
        nonces: &mut impl CryptoRng,
        rng: &mut impl CryptoRng,
    ) -> GateOutcome {
        let verdict = self.judge(shared, now, under_load, from, datagram, nonces, rng);
        verdict.unwrap_or_else(GateOutcome::Drop)
    }

    #[expect(clippy::too_many_arguments, reason = "those of `process`")]
    fn judge(
        &self,
        shared: &Shared,
        now: BootTime,
        under_load: bool,
        from: &Endpoint,
        datagram: &[u8],
        nonces: &mut impl CryptoRng,
        rng: &mut impl CryptoRng,
    ) -> Result<GateOutcome, DropReason> {
        let message = Message::parse(datagram)?;
        if let Message::CookieReply(reply) = message {
            return cookie_reply(shared, &reply).map(GateOutcome::Commit);
        }
        let snapshot = shared.snapshot();
        let identity = snapshot.identity.as_ref().ok_or(DropReason::NoIdentity)?;
        if !check_mac1(identity, datagram) {
            return Err(DropReason::BadMac1);
        }
        if under_load {
            if !self.cookies.check_mac2(now, from.addr, datagram, rng) {
                return self
                    .cookies
                    .reply(now, identity, from.addr, datagram, nonces, rng)
                    .map(GateOutcome::CookieReply)
                    .ok_or(DropReason::Malformed);
            }
            if !self.limiter.allow(now, from.addr.ip()) {
                return Err(DropReason::RateLimited);
            }
        }
        let commit = match message {
            Message::Initiation(initiation) => {
                respond(shared, now, from, initiation, rng).map(Commit::Responded)
            }
            Message::Response(response) => {
                establish(shared, now, from, &response).map(Commit::Established)
            }
            Message::CookieReply(_) | Message::Data(_) => Err(DropReason::Malformed),
        };
        commit.map(GateOutcome::Commit)
    }
}

fn respond(
    shared: &Shared,
    now: BootTime,
    from: &Endpoint,
    message: Initiation<'_>,
    rng: &mut impl CryptoRng,
) -> Result<Responded, DropReason> {
    let snapshot = shared.snapshot();
    let identity = snapshot.identity.as_ref().ok_or(DropReason::NoIdentity)?;
    let opened = OpenedInitiation::read(identity, message)?;
    let cell = snapshot
        .peers
        .get(opened.peer())
        .ok_or(DropReason::UnknownPeer)?;
    let keys = current_keys(cell, snapshot.generation)?;
    let peer = keys.get().map_err(|_| DropReason::LowOrderKey)?;
    let received = opened.authenticate(peer)?;
    let timestamp = received.timestamp();
    cell.initiations.admit(now, timestamp)?;

    let reservation = shared
        .indices
        .reserve(rng)
        .ok_or(DropReason::IndicesExhausted)?;
    let (mut response, session) = received.respond(peer, reservation.index(), rng)?;
    cell.cookie_jar().stamp(now, peer, &mut response);
    let keypair = Keypair::new(cell, identity.public(), Role::Responder, session, now);
    keypair.hold(reservation);
    Ok(Responded {
        cell: Arc::clone(cell),
        keypair: Arc::new(keypair),
        response: Box::new(response),
        timestamp,
        from: *from,
        keys,
    })
}

fn establish(
    shared: &Shared,
    now: BootTime,
    from: &Endpoint,
    response: &Response<'_>,
) -> Result<Established, DropReason> {
    let Some(Entry::Initiation(pending)) = shared.indices.lookup(response.receiver()) else {
        return Err(DropReason::UnexpectedReply);
    };
    // The preshared key of now, not that of when the initiation was sent: it
    // is the response that depends on it.
    let keys = current_keys(&pending.cell, shared.snapshot().generation)?;
    let peer = keys.get().map_err(|_| DropReason::LowOrderKey)?;
    let session = pending.sent.accept(keys.identity(), peer, response)?;
    let ours = keys.identity().public();
    let keypair = Keypair::new(&pending.cell, ours, Role::Initiator, session, now);
    Ok(Established {
        pending,
        keypair: Arc::new(keypair),
        from: *from,
        keys,
    })
}

fn cookie_reply(shared: &Shared, reply: &CookieReply<'_>) -> Result<Commit, DropReason> {
    // It answers an initiation, or a response that made a session.
    let cell = match shared.indices.lookup(reply.receiver()) {
        Some(Entry::Initiation(pending)) => Arc::clone(&pending.cell),
        Some(Entry::Session(keypair)) => keypair.peer().ok_or(DropReason::UnexpectedReply)?,
        None => return Err(DropReason::UnexpectedReply),
    };
    let keys = current_keys(&cell, shared.snapshot().generation)?;
    let peer = keys.get().map_err(|_| DropReason::LowOrderKey)?;
    let mac1 = cell
        .cookie_jar()
        .awaiting()
        .copied()
        .ok_or(DropReason::UnexpectedReply)?;
    let cookie = Cookie::open(peer, &mac1, reply)?;
    Ok(Commit::Cookie(GivenCookie { cell, cookie }))
}

/// The peer's keys, if they are of the identity that the snapshot has.
fn current_keys(cell: &PeerCell, generation: u64) -> Result<Arc<HandshakeKeys>, DropReason> {
    let keys = cell.keys.load_full().ok_or(DropReason::NoIdentity)?;
    if keys.generation() == generation {
        Ok(keys)
    } else {
        Err(DropReason::HandshakeSuperseded)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

//! Handshakes: starting them, and applying what the gate found.

use std::sync::Arc;

use super::super::cell::{PeerId, Signal};
use super::super::endpoint::Endpoint;
use super::super::gate::{Commit, Established, GivenCookie, Responded};
use super::super::handshake_keys::HandshakeKeys;
use super::super::initiation::{InitiationDone, InitiationJob, PendingInitiation};
use super::super::keypair::{REJECT_AFTER_TIME, Role};
use super::super::messages::{INITIATION_LEN, RESPONSE_LEN};
use super::super::output::{HandshakeBytes, Output, PeerEvent};
use super::super::peer::Peer;
use super::super::snapshot::Entry;
use super::super::time::{BootTime, Now};
use super::super::timers::{REKEY_TIMEOUT, TimerReason, ZERO_KEYS_AFTER};
use super::Device;
use crate::drops::DropReason;

impl Device {
    /// Sends an initiation, unless a handshake message was sent less than 5 s
    /// ago: then later, if it is still wanted.
    ///
    /// `retry`: the retransmission timer asks, not a packet or keepalive.
    pub(super) fn initiate(&mut self, now: Now, id: PeerId, retry: bool) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !retry {
            peer.attempts = 0;
        }
        let keys = peer.cell.keys.load_full();
        let (true, Some(keys), Some(_)) = (self.up, keys, peer.cell.endpoint.get()) else {
            // Nothing can be sent; the next packet may ask again.
            peer.cell.lower(Signal::Handshake);
            return;
        };
        if let Some(last) = peer.last_handshake_message
            && now.boot.since(last) < REKEY_TIMEOUT
        {
            if !self.timers.is_set(id, TimerReason::Retransmit) {
                self.timers
                    .set(id, TimerReason::Deferred, last + REKEY_TIMEOUT);
            }
            return;
        }
        peer.last_handshake_message = Some(now.boot);
        let job = InitiationJob {
            cell: Arc::clone(&peer.cell),
            keys,
            indices: self.shared.indices.clone(),
            timestamp: peer.cell.next_timestamp(now.wall),
            created: now.boot,
        };
        self.outputs.push_back(Output::Initiate(job));
        self.timers.cancel(id, TimerReason::Deferred);
        self.arm_retransmit(now.boot, id);
    }

    fn arm_retransmit(&mut self, now: BootTime, id: PeerId) {
        let at = now + REKEY_TIMEOUT + self.jitter.draw();
        self.timers.set(id, TimerReason::Retransmit, at);
    }

    /// An initiation was made: send it.
    ///
    /// # Errors
    /// It was made for nothing: the peer or the identity is gone, the peer was
    /// answered meanwhile ([`DropReason::HandshakeSuperseded`]), the peer's key
    /// is a low-order point, or no index is left.
    pub fn handle_initiated(&mut self, now: Now, done: InitiationDone) -> Result<(), DropReason> {
        let id = done.cell.id();
        let superseded = DropReason::HandshakeSuperseded;
        let peer = self.peers.get_mut(&id).ok_or(superseded)?;
        let answered_since = peer.responded.is_some_and(|(at, _)| at >= done.created);
        if !self.up || done.generation != self.generation || answered_since {
            return Err(superseded);
        }
        let made = done.made?;
        let to = peer.cell.endpoint.get().ok_or(DropReason::NoEndpoint)?;
        let pending = Arc::new(PendingInitiation {
            cell: Arc::clone(&peer.cell),
            sent: made.sent,
        });
        self.shared
            .indices
            .set(&made.reservation, Entry::Initiation(Arc::clone(&pending)));
        peer.pending = Some((pending, made.reservation));
        peer.last_handshake_message = Some(now.boot);
        peer.cell.activity.sent(now.boot, false);
        peer.cell.add_tx(INITIATION_LEN as u64);
        let cell = Arc::clone(&peer.cell);
        let attempt = peer.attempts;
        self.outputs.push_back(Output::Send {
            cell: Arc::clone(&cell),
            to,
            bytes: HandshakeBytes::Initiation(made.message),
        });
        self.arm_retransmit(now.boot, id);
        self.event(&cell, PeerEvent::InitiationSent { attempt });
        Ok(())
    }

    /// Applies the result of an authentic handshake message.
    ///
    /// # Errors
    /// [`DropReason::HandshakeSuperseded`]: the device is down, the peer or
    /// its keys changed while the handshake was computed, or a later message
    /// was applied before.
    pub fn handle_commit(&mut self, now: Now, commit: Commit) -> Result<(), DropReason> {
        match commit {
            Commit::Responded(c) => self.responded(now, c),
            Commit::Established(c) => self.established(now, c),
            Commit::Cookie(c) => self.cookie_given(now, c),
        }
    }

    fn responded(&mut self, now: Now, c: Responded) -> Result<(), DropReason> {
        let id = c.cell.id();
        let peer = self.committed(id, &c.keys)?;
        if peer.responded.is_some_and(|(_, last)| c.timestamp <= last) {
            return Err(DropReason::HandshakeSuperseded);
        }
        peer.responded = Some((now.boot, c.timestamp));
        peer.last_handshake_message = Some(now.boot);
        self.heard(now.boot, id, &c.from, INITIATION_LEN);

        c.keypair.enlist(&self.shared.indices);
        c.cell.keypairs.install(c.keypair);
        let zero = now.boot + ZERO_KEYS_AFTER;
        self.timers.set(id, TimerReason::ZeroKeys, zero);
        c.cell.activity.sent(now.boot, false);
        c.cell.add_tx(RESPONSE_LEN as u64);
        self.outputs.push_back(Output::Send {
            cell: Arc::clone(&c.cell),
            to: c.from,
            bytes: HandshakeBytes::Response(c.response),
        });
        self.event(&c.cell, PeerEvent::ResponseSent);
        Ok(())
    }

    fn established(&mut self, now: Now, c: Established) -> Result<(), DropReason> {
        let cell = Arc::clone(&c.pending.cell);
        let id = cell.id();
        let peer = self.committed(id, &c.keys)?;
        // Another response to the same initiation, or one to an older one.
        let (_, reservation) = peer
            .pending
            .take_if(|(pending, _)| Arc::ptr_eq(pending, &c.pending))
            .ok_or(DropReason::HandshakeSuperseded)?;
        self.heard(now.boot, id, &c.from, RESPONSE_LEN);

        c.keypair.hold(reservation);
        c.keypair.enlist(&self.shared.indices);
        cell.keypairs.install(c.keypair);
        let zero = now.boot + ZERO_KEYS_AFTER;
        self.timers.set(id, TimerReason::ZeroKeys, zero);
        self.handshake_complete(now, id, Role::Initiator);
        self.outputs.push_back(Output::Flush {
            cell,
            keepalive: true,
        });
        Ok(())
    }

    fn cookie_given(&mut self, now: Now, c: GivenCookie) -> Result<(), DropReason> {
        if !self.peers.contains_key(&c.cell.id()) {
            return Err(DropReason::HandshakeSuperseded);
        }
        // Not authenticated by the peer's private key: no roaming, no stamps.
        c.cell.cookie_jar().store(now.boot, c.cookie);
        self.event(&c.cell, PeerEvent::CookieReceived);
        Ok(())
    }

    /// The peer of a commit, if it is still what the commit was made for.
    fn committed(
        &mut self,
        id: PeerId,
        keys: &Arc<HandshakeKeys>,
    ) -> Result<&mut Peer, DropReason> {
        let superseded = DropReason::HandshakeSuperseded;
        if !self.up {
            return Err(superseded);
        }
        let peer = self.peers.get_mut(&id).ok_or(superseded)?;
        let same = peer
            .cell
            .keys
            .load()
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, keys));
        if same { Ok(peer) } else { Err(superseded) }
    }

    /// An authentic handshake message came from there.
    fn heard(&mut self, now: BootTime, id: PeerId, from: &Endpoint, bytes: usize) {
        let Some(cell) = self.peers.get(&id).map(|p| Arc::clone(&p.cell)) else {
            return;
        };
        cell.add_rx(bytes as u64);
        cell.activity.received(now, false);
        if cell.endpoint.roam(from) {
            self.event(&cell, PeerEvent::Roamed { to: from.addr });
        }
    }

    /// Both sides have the keys of a new session.
    pub(super) fn handshake_complete(&mut self, now: Now, id: PeerId, role: Role) {
        self.timers.cancel(id, TimerReason::Retransmit);
        self.timers.cancel(id, TimerReason::Deferred);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.attempts = 0;
        let before = peer.last_session.replace(now.boot);
        let cell = Arc::clone(&peer.cell);
        cell.set_last_handshake(now.wall);
        cell.lower(Signal::Handshake);
        self.event(&cell, PeerEvent::HandshakeComplete { role });
        if before.is_some_and(|before| now.boot.since(before) < REJECT_AFTER_TIME) {
            self.event(&cell, PeerEvent::Rekeyed);
        }
    }
}

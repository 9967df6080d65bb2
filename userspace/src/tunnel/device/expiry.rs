//! Signals of workers, and timers that expire.
//!
//! Timers are lazy: workers only stamp, and a timer that expires looks at the
//! stamps to see whether it still has a reason, and if not yet, when.

use std::sync::Arc;
use std::time::Duration;

use super::super::cell::{PeerCell, PeerId, Signal};
use super::super::keypair::Role;
use super::super::output::{Output, PeerEvent};
use super::super::time::{BootTime, Now};
use super::super::timers::{
    KEEPALIVE_TIMEOUT, MAX_HANDSHAKE_ATTEMPTS, NEW_HANDSHAKE_TIMEOUT, TimerReason, ZERO_KEYS_AFTER,
};
use super::Device;

impl Device {
    /// A worker raised a signal of this peer.
    pub fn handle_signal(&mut self, now: Now, id: PeerId) {
        let Some(cell) = self.cell(id) else { return };
        if !self.up {
            for signal in Signal::ALL {
                cell.lower(signal);
            }
            return;
        }
        if cell.is_raised(Signal::Confirmed) {
            cell.lower(Signal::Confirmed);
            self.handshake_complete(now, id, Role::Responder);
            self.flush_staged(&cell);
        }
        if cell.is_raised(Signal::Unanswered) {
            self.await_answer(&cell);
        }
        if cell.is_raised(Signal::Unacknowledged) {
            self.owe_answer(&cell);
        }
        if cell.is_raised(Signal::Handshake) {
            self.handshake_wanted(now, &cell);
        }
    }

    /// Runs every timer that has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((id, reason)) = self.timers.pop_due(now.boot) {
            let Some(cell) = self.cell(id) else { continue };
            match reason {
                TimerReason::Retransmit => self.retransmit(now, &cell),
                TimerReason::Deferred => self.handshake_wanted(now, &cell),
                TimerReason::NewHandshake => self.new_handshake(now, &cell),
                TimerReason::PassiveKeepalive => self.passive_keepalive(now, &cell),
                TimerReason::PersistentKeepalive => self.persistent_keepalive(now, &cell),
                TimerReason::ZeroKeys => self.zero_keys(&cell),
            }
        }
    }

    fn cell(&self, id: PeerId) -> Option<Arc<PeerCell>> {
        self.peers.get(&id).map(|p| Arc::clone(&p.cell))
    }

    fn flush_staged(&mut self, cell: &Arc<PeerCell>) {
        if !cell.staged.is_empty() {
            self.outputs.push_back(Output::Flush {
                cell: Arc::clone(cell),
                keepalive: false,
            });
        }
    }

    fn handshake_wanted(&mut self, now: Now, cell: &Arc<PeerCell>) {
        if self.timers.is_set(cell.id(), TimerReason::Retransmit) {
            return; // under way; the signal stays raised until it ends
        }
        let (usable, fresh) = match &*cell.current() {
            Some(k) => (k.can_send(now.boot), !k.needs_rekey_after_sending(now.boot)),
            None => (false, false),
        };
        if usable && fresh {
            // It was wanted before the session that there is now.
            cell.lower(Signal::Handshake);
            self.flush_staged(cell);
        } else {
            self.initiate(now, cell.id(), false);
        }
    }

    /// Sends what is staged, or a keepalive, or an initiation if there is no
    /// key for either.
    pub(super) fn send_keepalive(&mut self, now: BootTime, id: PeerId) {
        let Some(cell) = self.cell(id) else { return };
        let usable = cell.current().as_ref().is_some_and(|k| k.can_send(now));
        if usable {
            self.outputs.push_back(Output::Flush {
                cell,
                keepalive: true,
            });
        } else {
            cell.want_handshake(now);
        }
    }

    fn retransmit(&mut self, now: Now, cell: &Arc<PeerCell>) {
        let id = cell.id();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        // A packet came for the peer since the last initiation: go on as if
        // this handshake were a new one, as Linux does.
        if cell.activity.last_wanted() > peer.last_handshake_message {
            peer.attempts = 0;
        }
        if peer.attempts > MAX_HANDSHAKE_ATTEMPTS {
            self.timers.cancel(id, TimerReason::PassiveKeepalive);
            // The signal goes with its timer, or no later packet would arm it.
            cell.lower(Signal::Unacknowledged);
            cell.activity.stop_owing();
            // Lowered first: a packet staged after this asks again.
            cell.lower(Signal::Handshake);
            self.purge_staged(cell);
            if !self.timers.is_set(id, TimerReason::ZeroKeys) {
                let at = now.boot + ZERO_KEYS_AFTER;
                self.timers.set(id, TimerReason::ZeroKeys, at);
            }
            self.event(cell, PeerEvent::HandshakeGaveUp);
            return;
        }
        peer.attempts += 1;
        // It may be our source address that keeps answers from arriving.
        cell.endpoint.clear_source();
        self.initiate(now, id, true);
    }

    fn await_answer(&mut self, cell: &Arc<PeerCell>) {
        if self.timers.is_set(cell.id(), TimerReason::NewHandshake) {
            return;
        }
        match cell.activity.unanswered_since() {
            Some(since) => {
                let at = since + NEW_HANDSHAKE_TIMEOUT + self.jitter.draw();
                self.timers.set(cell.id(), TimerReason::NewHandshake, at);
            }
            None => {
                cell.lower(Signal::Unanswered);
                if cell.activity.unanswered_since().is_some() {
                    cell.signal(Signal::Unanswered);
                }
            }
        }
    }

    fn new_handshake(&mut self, now: Now, cell: &Arc<PeerCell>) {
        let due = cell
            .activity
            .unanswered_since()
            .is_some_and(|since| now.boot.since(since) >= NEW_HANDSHAKE_TIMEOUT);
        if !due {
            self.await_answer(cell);
            return;
        }
        // In this order: see `PeerCell::lower`.
        cell.lower(Signal::Unanswered);
        cell.activity.stop_awaiting();
        cell.endpoint.clear_source();
        self.event(cell, PeerEvent::StoppedAnswering);
        self.initiate(now, cell.id(), false);
    }

    fn owe_answer(&mut self, cell: &Arc<PeerCell>) {
        if self.timers.is_set(cell.id(), TimerReason::PassiveKeepalive) {
            return;
        }
        match cell.activity.unacknowledged_since() {
            Some(since) => {
                let at = since + KEEPALIVE_TIMEOUT;
                self.timers
                    .set(cell.id(), TimerReason::PassiveKeepalive, at);
            }
            None => {
                cell.lower(Signal::Unacknowledged);
                if cell.activity.unacknowledged_since().is_some() {
                    cell.signal(Signal::Unacknowledged);
                }
            }
        }
    }

    fn passive_keepalive(&mut self, now: Now, cell: &Arc<PeerCell>) {
        let due = cell
            .activity
            .unacknowledged_since()
            .is_some_and(|since| now.boot.since(since) >= KEEPALIVE_TIMEOUT);
        if !due {
            self.owe_answer(cell);
            return;
        }
        cell.lower(Signal::Unacknowledged);
        cell.activity.stop_owing();
        self.send_keepalive(now.boot, cell.id());
    }

    fn persistent_keepalive(&mut self, now: Now, cell: &Arc<PeerCell>) {
        let id = cell.id();
        let Some(seconds) = self.peers.get(&id).map(|p| p.keepalive) else {
            return;
        };
        if seconds == 0 {
            return;
        }
        let interval = Duration::from_secs(seconds.into());
        // Anything sent or received in between put it off.
        let due = cell.activity.last().map_or(now.boot, |at| at + interval);
        if due > now.boot {
            self.timers.set(id, TimerReason::PersistentKeepalive, due);
            return;
        }
        self.timers
            .set(id, TimerReason::PersistentKeepalive, now.boot + interval);
        self.send_keepalive(now.boot, id);
    }

    fn zero_keys(&mut self, cell: &Arc<PeerCell>) {
        if let Some(peer) = self.peers.get_mut(&cell.id()) {
            peer.pending = None;
        }
        if cell.keypairs.clear() {
            self.event(cell, PeerEvent::KeysZeroed);
        }
    }
}

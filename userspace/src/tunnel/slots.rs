//! The up to three keypairs of a peer: previous, current and next.
//!
//! `next` is a session that we answered and the peer has not used yet;
//! `current` is the one to send with; `previous` still receives.
//!
//! # When both sides initiate at once
//!
//! Both initiations are answered, and both own initiations stay under way (a
//! peer that forgets its own, as Linux does, then ends with exactly one
//! session). If both sessions complete, the ends may first send with different
//! ones, which works, as each receives with both. They agree on the one that
//! the side with the *greater* public key initiated, so that exactly one side
//! renews it: whoever sends with the other one changes as soon as the peer is
//! seen to use it. Being seen in use is what makes that safe: a peer that has
//! lost a session (a restart) is never sent anything under it for this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use super::keypair::{Keypair, Role};

type Slot = Option<Arc<Keypair>>;

/// A peer's keypairs. Reading the current one takes no lock.
#[derive(Debug, Default)]
pub struct KeypairSlots {
    current: ArcSwapOption<Keypair>,
    /// Also held while `current` changes.
    others: Mutex<Others>,
}

#[derive(Debug, Default)]
struct Others {
    next: Slot,
    previous: Slot,
}

impl KeypairSlots {
    /// The keypair to send with; it may have expired.
    #[must_use]
    pub fn current(&self) -> Guard<Option<Arc<Keypair>>> {
        self.current.load()
    }

    /// Adds the session of a completed handshake: as initiator it becomes
    /// `current`, as responder `next`.
    pub(super) fn install(&self, keypair: Arc<Keypair>) {
        let mut others = self.lock();
        match keypair.role() {
            // Nothing may be sent with it yet; the previous session goes, so
            // that a peer never has more than three.
            Role::Responder => {
                put(&mut others.next, Some(keypair));
                put(&mut others.previous, None);
            }
            Role::Initiator => {
                let unused = others.next.take_if(|next| !next.crossed(&keypair));
                let old = self.current.swap(Some(keypair));
                if unused.is_some() {
                    // We answered, and the peer never used it: what it may
                    // have sent with it can still be received.
                    put(&mut others.previous, unused);
                    retire(old);
                } else {
                    put(&mut others.previous, old);
                }
            }
        }
    }

    /// The peer sent with `keypair`, which is not the current one. If it was
    /// the next one, it is confirmed and becomes current. If it is the
    /// previous one, of two that crossed, and prevails, they change places.
    /// Returns whether it was confirmed: at most once true per keypair.
    pub(super) fn used(&self, keypair: &Arc<Keypair>) -> bool {
        let mut others = self.lock();
        if is(others.next.as_ref(), keypair) {
            keypair.set_confirmed();
            let confirmed = others.next.take();
            let old = self.current.swap(confirmed);
            put(&mut others.previous, old);
            return true;
        }
        let crossed = self
            .current()
            .as_ref()
            .is_some_and(|current| keypair.crossed(current));
        if crossed && keypair.by_greater() && is(others.previous.as_ref(), keypair) {
            others.previous = self.current.swap(others.previous.take());
        }
        false
    }

    /// Forgets all keys; false if there were none.
    pub(super) fn clear(&self) -> bool {
        let mut others = self.lock();
        let current = self.current.swap(None);
        let any = current.is_some() || others.next.is_some() || others.previous.is_some();
        retire(current);
        put(&mut others.next, None);
        put(&mut others.previous, None);
        any
    }

    fn lock(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(slot: Option<&Arc<Keypair>>, keypair: &Arc<Keypair>) -> bool {
    slot.is_some_and(|k| Arc::ptr_eq(k, keypair))
}

fn put(slot: &mut Slot, keypair: Slot) {
    retire(std::mem::replace(slot, keypair));
}

fn retire(keypair: Slot) {
    if let Some(keypair) = keypair {
        keypair.retire();
    }
}

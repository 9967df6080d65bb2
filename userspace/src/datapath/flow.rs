//! What a worker sends to one peer in one batch.
//!
//! All workers that seal for a peer share its counter and its stamps, and a cache
//! line that two of them write travels with each write: 20 to 50 ns. A flow takes
//! counters in blocks and reports once, so that packets which are read one by one
//! pay for a few such writes per batch and not for four each.

use std::ops::Range;
use std::sync::Arc;

use arc_swap::Guard;

use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::keypair::{Keypair, SealError};
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::{self, Amount};

/// Where a peer is and with which key it is spoken to, as of the first packet for
/// it. Reports what was sealed when it is dropped.
pub struct Flow<'a> {
    cell: &'a Arc<PeerCell>,
    to: Endpoint,
    keypair: Guard<Option<Arc<Keypair>>>,
    now: BootTime,
    /// Taken and not used.
    counters: Range<u64>,
    /// Counters used.
    used: u64,
    sealed: Amount,
}

/// Why there is no flow to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody knows where it is.
    NoEndpoint,
    /// A handshake has to come first.
    NoKey,
}

impl<'a> Flow<'a> {
    /// The flow to this peer.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(cell: &'a Arc<PeerCell>, now: BootTime) -> Result<Self, Closed> {
        let to = cell.endpoint.get().ok_or(Closed::NoEndpoint)?;
        let keypair = cell.current();
        if !keypair.as_ref().is_some_and(|k| k.can_send(now)) {
            return Err(Closed::NoKey);
        }
        Ok(Self {
            cell,
            to,
            keypair,
            now,
            counters: 0..0,
            used: 0,
            sealed: Amount::default(),
        })
    }

    /// The peer.
    #[must_use]
    pub const fn cell(&self) -> &'a Arc<PeerCell> {
        self.cell
    }

    /// Where it is.
    #[must_use]
    pub const fn to(&self) -> Endpoint {
        self.to
    }

    /// The key.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        let Some(keypair) = self.keypair.as_deref() else {
            unreachable!("a flow has a key");
        };
        keypair
    }

    /// Takes `n` counters in a row; the first is returned.
    ///
    /// # Errors
    /// As of [`Keypair::reserve`]; none is taken.
    #[inline]
    pub fn counters(&mut self, n: u64) -> Result<u64, SealError> {
        if self.counters.end - self.counters.start < n {
            self.refill(n)?;
        }
        let first = self.counters.start;
        self.counters.start += n;
        self.used += n;
        Ok(first)
    }

    /// At least `n` counters. In advance as many as were used, so that fewer go
    /// unused than are used, and a batch of 16 takes exactly 16 in five steps.
    fn refill(&mut self, n: u64) -> Result<(), SealError> {
        self.give_back();
        let (keypair, block) = (self.keypair(), n.max(self.used));
        let (first, got) = match keypair.reserve(self.now, block) {
            Ok(first) => (first, block),
            Err(_) => (keypair.reserve(self.now, n)?, n),
        };
        self.counters = first..first + got;
        Ok(())
    }

    fn give_back(&mut self) {
        let unused = std::mem::replace(&mut self.counters, 0..0);
        if !unused.is_empty() {
            self.keypair().give_back(unused);
        }
    }

    /// Packets were sealed.
    pub fn sealed(&mut self, amount: Amount) {
        self.sealed.packets += amount.packets;
        self.sealed.bytes += amount.bytes;
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        self.give_back();
        if self.sealed.packets > 0 {
            transport::sent(self.cell, self.keypair(), self.now, self.sealed, true);
        }
    }
}

impl std::fmt::Debug for Flow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flow({:?}, {:?})", self.cell, self.counters)
    }
}

//! Our initiations: the work of making one, and the wait for its response.

use std::sync::Arc;

use rand_core::CryptoRng;

use super::cell::PeerCell;
use super::handshake_keys::HandshakeKeys;
use super::indices::{IndexTable, Reservation};
use super::messages::INITIATION_LEN;
use super::noise::{SentInitiation, initiate};
use super::snapshot::Entry;
use super::tai64n::Tai64n;
use super::time::BootTime;
use crate::drops::DropReason;

/// An initiation of ours that awaits its response.
#[derive(Debug)]
pub struct PendingInitiation {
    pub(super) cell: Arc<PeerCell>,
    pub(super) sent: SentInitiation,
}

/// An initiation to be made: three Diffie-Hellman operations, for a handshake
/// thread. The result goes to `Device::handle_initiated`; if the job is lost,
/// the retransmission timer makes another one.
#[derive(Debug)]
pub struct InitiationJob {
    pub(super) cell: Arc<PeerCell>,
    pub(super) keys: Arc<HandshakeKeys>,
    pub(super) indices: IndexTable<Entry>,
    pub(super) timestamp: Tai64n,
    pub(super) created: BootTime,
}

/// What became of an [`InitiationJob`].
#[derive(Debug)]
pub struct InitiationDone {
    pub(super) cell: Arc<PeerCell>,
    pub(super) generation: u64,
    pub(super) created: BootTime,
    pub(super) made: Result<MadeInitiation, DropReason>,
}

#[derive(Debug)]
pub(super) struct MadeInitiation {
    pub message: Box<[u8; INITIATION_LEN]>,
    pub reservation: Reservation<Entry>,
    pub sent: SentInitiation,
}

impl InitiationJob {
    /// Whom it is for.
    #[must_use]
    pub fn peer(&self) -> &Arc<PeerCell> {
        &self.cell
    }

    /// Makes the initiation, with MAC1, and MAC2 if the peer gave us a cookie.
    #[must_use]
    pub fn run(self, now: BootTime, rng: &mut impl CryptoRng) -> InitiationDone {
        let made = self.make(now, rng);
        InitiationDone {
            generation: self.keys.generation(),
            cell: self.cell,
            created: self.created,
            made,
        }
    }

    fn make(&self, now: BootTime, rng: &mut impl CryptoRng) -> Result<MadeInitiation, DropReason> {
        let peer = self.keys.get().map_err(|_| DropReason::LowOrderKey)?;
        let reservation = self
            .indices
            .reserve(rng)
            .ok_or(DropReason::IndicesExhausted)?;
        let (mut message, sent) = initiate(
            self.keys.identity(),
            peer,
            reservation.index(),
            self.timestamp,
            rng,
        )?;
        self.cell.cookie_jar().stamp(now, peer, &mut message);
        Ok(MadeInitiation {
            message: Box::new(message),
            reservation,
            sent,
        })
    }
}

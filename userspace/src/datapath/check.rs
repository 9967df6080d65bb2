//! The in-order part of what comes in: replay window, roaming and timers, what is
//! inside.

use ringtun_common::mss::Limits;

use super::inbound::Job;
use super::mss;
use super::stats::WorkerStats;
use crate::drops::DropReason;
use crate::tunnel::messages::KEEPALIVE_LEN;
use crate::tunnel::owners::Owners;
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::{self, Amount};

/// The in-order part of a batch.
pub(super) struct Check<'a> {
    pub(super) owners: Owners<'a>,
    pub(super) limits: Option<Limits>,
    pub(super) stats: &'a WorkerStats,
    pub(super) now: BootTime,
}

impl Check<'_> {
    /// Replay window, then roaming and timers, then what is inside. Packets that
    /// fail are counted and go.
    pub(super) fn join(&self, job: &mut Job) {
        let (bytes, packets) = job.frame.parts_mut();
        let mut replayed = 0;
        {
            let mut window = job.keypair.admit();
            packets.retain(|p| {
                let fresh = window.accept(p.counter);
                replayed += u64::from(!fresh);
                fresh
            });
        }
        if replayed > 0 {
            self.stats.drops.add(DropReason::Replay, replayed);
        }
        if packets.is_empty() {
            return;
        }
        let data = packets.iter().any(|p| p.len > 0);
        let bytes_outside: usize = packets.iter().map(|p| p.len + KEEPALIVE_LEN).sum();
        let outer = Amount {
            packets: packets.len() as u64,
            bytes: bytes_outside as u64,
        };
        let (cell, keypair) = (&job.cell, &job.keypair);
        if transport::received(cell, keypair, self.now, &job.from, outer, data) {
            self.stats.roamed.add(1);
        }
        packets.retain_mut(|p| {
            if p.len == 0 {
                return false; // a keepalive
            }
            let inner = &mut bytes[p.at..p.at + p.len];
            match transport::check_inner(&self.owners, cell, inner, job.ecn) {
                Ok(len) => {
                    p.len = len;
                    mss::clamp(&mut inner[..len], self.limits.as_ref(), self.stats);
                    true
                }
                Err(reason) => {
                    self.stats.drops.count(reason);
                    false
                }
            }
        });
    }
}

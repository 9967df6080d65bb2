//! A link in memory that loses, reorders, duplicates, delays and flips.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringtun::tunnel::time::BootTime;

use super::rng::SeededRng;

/// A UDP datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

impl Datagram {
    /// The message type.
    pub fn kind(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }
}

/// How bad the link is; percentages are per datagram.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub loss: u64,
    pub duplicate: u64,
    pub flip: u64,
    pub delay: Duration,
    /// Each datagram is late by up to this, and so overtaken.
    pub jitter: Duration,
}

impl Quality {
    pub const PERFECT: Self = Self {
        loss: 0,
        duplicate: 0,
        flip: 0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
    };
    pub const BAD: Self = Self {
        loss: 15,
        duplicate: 10,
        flip: 5,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(60),
    };
}

pub struct Link {
    pub quality: Quality,
    rng: SeededRng,
    number: u64,
    in_flight: BTreeMap<(BootTime, u64), Datagram>,
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Self {
            quality: Quality::PERFECT,
            rng: SeededRng::new(seed),
            number: 0,
            in_flight: BTreeMap::new(),
        }
    }

    pub fn send(&mut self, now: BootTime, mut datagram: Datagram) {
        let q = self.quality;
        if self.rng.chance(q.loss) {
            return;
        }
        if self.rng.chance(q.duplicate) {
            self.enqueue(now, datagram.clone());
        }
        if self.rng.chance(q.flip) {
            let bit = self.rng.below(datagram.bytes.len() as u64 * 8) as usize;
            datagram.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.enqueue(now, datagram);
    }

    fn enqueue(&mut self, now: BootTime, datagram: Datagram) {
        let late = self.rng.below(self.quality.jitter.as_nanos() as u64 + 1);
        let at = now + self.quality.delay + Duration::from_nanos(late);
        self.number += 1;
        self.in_flight.insert((at, self.number), datagram);
    }

    pub fn next(&self) -> Option<BootTime> {
        self.in_flight.keys().next().map(|(at, _)| *at)
    }

    pub fn pop(&mut self, now: BootTime) -> Option<Datagram> {
        let entry = self.in_flight.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub fn clear(&mut self) {
        self.in_flight.clear();
    }
}

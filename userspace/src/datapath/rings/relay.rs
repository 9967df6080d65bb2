//! Packets on their way to the worker that has a ring for them.
//!
//! A network card with fewer queues than there are workers has a ring for some
//! of them only. The others seal as well, and hand whole runs over: one pointer
//! per run of up to 64 packets, and a wake-up only if the owner sleeps. So do those
//! that opened what has to leave by a LAN ring.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use crossbeam_queue::ArrayQueue;
use mio::Waker;

use crate::datapath::inbound::Job;
use crate::datapath::port::Tunnel;
use crate::datapath::runs::Run;
use crate::drops::DropReason;

/// Runs that may wait for one worker. Their frames are missing in the pool of
/// the one that sealed, so there are fewer than that has.
pub const RELAYED_MAX: usize = 24;

/// A sealed run and the device that it belongs to.
#[derive(Debug)]
pub struct Relayed {
    /// The packets.
    pub run: Run,
    /// Whose.
    pub tunnel: Arc<Tunnel>,
}

/// Opened packets and the device that they belong to.
#[derive(Debug)]
pub struct Opened {
    /// The packets.
    pub job: Job,
    /// Whose.
    pub tunnel: Arc<Tunnel>,
}

impl Opened {
    /// Counts what cannot be delivered.
    pub fn drop_counted(self, reason: DropReason) {
        let packets = self.job.packets().len() as u64;
        self.tunnel.drops.add(reason, packets);
    }
}

/// Wakes a worker, by a system call only if it sleeps.
#[derive(Debug)]
pub struct Doorbell {
    waker: Waker,
    asleep: AtomicBool,
    wakeups: AtomicU64,
}

impl Doorbell {
    /// For the thread that polls `waker`.
    #[must_use]
    pub const fn new(waker: Waker) -> Self {
        Self {
            waker,
            asleep: AtomicBool::new(false),
            wakeups: AtomicU64::new(0),
        }
    }

    /// Times that the thread slept, or was about to, and went on.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Relaxed)
    }

    /// The thread is about to sleep; it looks for work once more after this.
    pub fn sleeps(&self) {
        self.asleep.store(true, SeqCst);
        // The thread alone writes it.
        let wakeups = self.wakeups.load(Relaxed).wrapping_add(1);
        self.wakeups.store(wakeups, Relaxed);
    }

    /// The thread is awake.
    pub fn woke(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// There is work. To be called after it was put where the thread looks.
    ///
    /// # Errors
    /// The eventfd's.
    pub fn ring(&self) -> io::Result<()> {
        if self.asleep.swap(false, SeqCst) {
            self.waker.wake()?;
        }
        Ok(())
    }
}

/// Where others leave runs for a worker.
#[derive(Debug)]
pub struct RelayInbox {
    runs: ArrayQueue<Relayed>,
    opened: ArrayQueue<Opened>,
    bell: Arc<Doorbell>,
}

impl RelayInbox {
    /// For the worker behind this bell.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>) -> Arc<Self> {
        Arc::new(Self {
            runs: ArrayQueue::new(RELAYED_MAX),
            opened: ArrayQueue::new(RELAYED_MAX),
            bell,
        })
    }

    /// Leaves a run.
    ///
    /// # Errors
    /// The run, when as many wait as may.
    #[expect(
        clippy::result_large_err,
        reason = "the run goes back where it came from; a box would be an allocation per run"
    )]
    pub fn push(&self, relayed: Relayed) -> Result<(), Relayed> {
        self.runs.push(relayed)?;
        self.ring();
        Ok(())
    }

    /// Leaves opened packets.
    ///
    /// # Errors
    /// The packets, when as many wait as may.
    pub fn push_opened(&self, opened: Opened) -> Result<(), Opened> {
        self.opened.push(opened)?;
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        if let Err(error) = self.bell.ring() {
            tracing::error!(event = "worker_not_woken", %error, "cannot wake a worker");
        }
    }

    /// The oldest run.
    #[must_use]
    pub fn pop(&self) -> Option<Relayed> {
        self.runs.pop()
    }

    /// The oldest opened packets.
    #[must_use]
    pub fn pop_opened(&self) -> Option<Opened> {
        self.opened.pop()
    }

    /// Whether no run waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether opened packets wait.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }
}

//! Handshake threads: Diffie-Hellman away from data and control.
//!
//! Bounded queues feed them. What we start ourselves comes first; replies to it
//! (responses, cookies) next, so that a flood of initiations does not keep us
//! from finishing our own handshakes; initiations last, those with and those
//! without a MAC2 in turns. A message that finds its queue full is dropped and
//! counted. No peer is changed here: what was computed goes to the control
//! thread as a commit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use crossbeam_queue::{ArrayQueue, SegQueue};

use super::port::{Event, Tunnel};
use super::replies::{self, Replies};
use crate::crypto::hash::MAC_LEN;
use crate::crypto::os_rng;
use crate::drops::{DropCounters, DropReason};
use crate::net::clock;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::gate::GateOutcome;
use crate::tunnel::initiation::InitiationJob;
use crate::tunnel::messages::INITIATION_LEN;

/// Initiations that may wait. The kernel's number; an eighth of it is "under
/// load" (`MAX_QUEUED_INCOMING_HANDSHAKES` in `drivers/net/wireguard`).
pub const INITIATIONS_MAX: usize = 4096;

/// Responses and cookie replies that may wait.
pub const REPLIES_MAX: usize = 1024;

/// Nice value of handshake threads: where CPUs are short, data goes first.
const NICENESS: i32 = 3;

/// How often an idle server looks at its queues during a flood. At 50,000
/// messages a second 25 wait by then, far below the 512 of "under load".
const POLL: Duration = Duration::from_micros(500);

/// How long servers go on polling after the last message under load.
const LOADED: Duration = Duration::from_millis(100);

/// A handshake message as it came in, copied out of its frame.
#[derive(Debug)]
pub struct Incoming {
    /// The device whose socket it came to.
    pub tunnel: Arc<Tunnel>,
    /// Who sent it, and which of our addresses was spoken to.
    pub from: Endpoint,
    bytes: [u8; INITIATION_LEN],
    len: usize,
}

impl Incoming {
    /// Copies a message of type 1–3; `None` if it is longer than the longest.
    #[must_use]
    pub fn new(tunnel: &Arc<Tunnel>, from: Endpoint, message: &[u8]) -> Option<Self> {
        let mut bytes = [0; INITIATION_LEN];
        bytes.get_mut(..message.len())?.copy_from_slice(message);
        Some(Self {
            tunnel: Arc::clone(tunnel),
            from,
            bytes,
            len: message.len(),
        })
    }

    fn message(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// One thread's seat: who to wake, and whether it sleeps.
#[derive(Debug, Default)]
struct Server {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

/// The queues, shared by whoever feeds and whoever serves them.
#[derive(Debug)]
pub struct Queues {
    outgoing: SegQueue<(Arc<Tunnel>, InitiationJob)>,
    replies: ArrayQueue<Incoming>,
    /// Initiations with a MAC2: their sender may have got our cookie.
    proved: ArrayQueue<Incoming>,
    initiations: ArrayQueue<Incoming>,
    servers: Box<[Server]>,
    /// Whose turn it is: initiations with a MAC2, or those without.
    turn: AtomicBool,
    /// Nanoseconds since boot until which the servers poll.
    loaded_until: AtomicU64,
    stop: AtomicBool,
}

impl Queues {
    /// Empty queues for `threads` servers.
    #[must_use]
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            outgoing: SegQueue::new(),
            replies: ArrayQueue::new(REPLIES_MAX),
            proved: ArrayQueue::new(REPLIES_MAX),
            initiations: ArrayQueue::new(INITIATIONS_MAX),
            turn: AtomicBool::new(false),
            loaded_until: AtomicU64::new(0),
            servers: (0..threads).map(|_| Server::default()).collect(),
            stop: AtomicBool::new(false),
        })
    }

    /// Queues a message that came in, or counts it as dropped.
    pub fn receive(&self, incoming: Incoming, drops: &DropCounters) {
        let queue = match incoming.message() {
            initiation if initiation.len() != INITIATION_LEN => &self.replies,
            // Whoever got our cookie does not stand in line behind those who
            // did not. Anybody can make up a MAC2, so that line is no better than
            // the other: the two take turns, and both make "under load".
            initiation if !initiation.ends_with(&[0; MAC_LEN]) => &self.proved,
            _ => &self.initiations,
        };
        if queue.push(incoming).is_err() {
            drops.count(DropReason::HandshakeQueueFull);
        } else {
            self.wake_one();
        }
    }

    /// Queues an initiation of ours. Not bounded here: the core has at most
    /// one under way per peer.
    pub fn initiate(&self, tunnel: &Arc<Tunnel>, job: InitiationJob) {
        self.outgoing.push((Arc::clone(tunnel), job));
        self.wake_one();
    }

    /// Messages waiting: initiations, replies.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (
            self.initiations.len() + self.proved.len(),
            self.replies.len(),
        )
    }

    fn wake_one(&self) {
        // Pairs with the fence in `serve`: either this sees the thread asleep
        // or that sees what was just queued.
        fence(Ordering::SeqCst);
        for server in &self.servers {
            if server.asleep.load(Ordering::Relaxed) && server.asleep.swap(false, Ordering::AcqRel)
            {
                if let Some(thread) = server.thread.get() {
                    thread.unpark();
                }
                return;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
            && self.replies.is_empty()
            && self.proved.is_empty()
            && self.initiations.is_empty()
    }

    fn is_loaded(&self) -> bool {
        clock::boot().as_nanos() < self.loaded_until.load(Ordering::Relaxed)
    }

    fn serve_one(&self, nonces: &mut ChaCha20Rng, replies: &mut Replies) -> bool {
        if let Some((tunnel, job)) = self.outgoing.pop() {
            let done = job.run(clock::boot(), &mut os_rng());
            tunnel.tell(Event::Initiated(done));
        } else if let Some(incoming) = self.replies.pop().or_else(|| self.next_initiation()) {
            self.process(&incoming, nonces, replies);
        } else {
            return false;
        }
        true
    }

    fn next_initiation(&self) -> Option<Incoming> {
        // Two threads may take the same turn; that evens out.
        let proved_first = !self.turn.load(Ordering::Relaxed);
        self.turn.store(proved_first, Ordering::Relaxed);
        let (first, second) = if proved_first {
            (&self.proved, &self.initiations)
        } else {
            (&self.initiations, &self.proved)
        };
        first.pop().or_else(|| second.pop())
    }

    fn process(&self, incoming: &Incoming, nonces: &mut ChaCha20Rng, replies: &mut Replies) {
        let tunnel = &incoming.tunnel;
        let now = clock::boot();
        let gate = &tunnel.shared.gate;
        let (waiting, _) = self.len();
        let under_load = gate.load.under_load(now, waiting, INITIATIONS_MAX);
        if under_load {
            let until = (now + LOADED).as_nanos();
            self.loaded_until.fetch_max(until, Ordering::Relaxed);
        }
        let outcome = gate.process(
            &tunnel.shared,
            now,
            under_load,
            &incoming.from,
            incoming.message(),
            nonces,
            &mut os_rng(),
        );
        match outcome {
            GateOutcome::Drop(reason) => tunnel.drops.count(reason),
            GateOutcome::CookieReply(reply) => {
                tunnel.drops.count(DropReason::CookieRequired);
                replies.push(tunnel, incoming.from, reply);
            }
            GateOutcome::Commit(commit) => tunnel.tell(Event::Commit(commit)),
        }
    }

    fn serve(&self, seat: usize) {
        let server = &self.servers[seat];
        server.thread.get_or_init(thread::current);
        // A system call for each cookie's nonce is a tenth of a flood's cost. For
        // nonces only: what this generator gave can be computed from what it holds.
        let mut nonces = ChaCha20Rng::from_rng(&mut os_rng());
        let mut replies = Replies::default();
        let mut served = 0_usize;
        while !self.stop.load(Ordering::Acquire) {
            if self.serve_one(&mut nonces, &mut replies) {
                served = served.wrapping_add(1);
                if served.is_multiple_of(replies::TOGETHER) {
                    // Not every message has a reply: one must not wait for the
                    // queues to run empty.
                    replies.send();
                }
                continue;
            }
            replies.send();
            if self.is_loaded() {
                // A flood: look again soon instead of being woken for each
                // message, which would cost the workers a system call and the
                // CPU a switch of threads, fifty thousand times a second.
                thread::park_timeout(POLL);
                continue;
            }
            server.asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if self.is_empty() && !self.stop.load(Ordering::Acquire) {
                thread::park();
            }
            server.asleep.store(false, Ordering::Relaxed);
        }
    }
}

/// The threads; joined on drop.
#[derive(Debug)]
pub struct HandshakeThreads {
    queues: Arc<Queues>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl HandshakeThreads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let queues = Queues::new(count);
        let threads = (0..count)
            .map(|i| {
                let queues = Arc::clone(&queues);
                thread::Builder::new()
                    .name(format!("handshake-{i}"))
                    .spawn(move || {
                        crate::net::set_thread_niceness(NICENESS);
                        queues.serve(i);
                    })
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            queues,
            threads: Mutex::new(threads),
        })
    }

    /// The queues that feed these threads.
    #[must_use]
    pub fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }
}

impl Drop for HandshakeThreads {
    fn drop(&mut self) {
        self.queues.stop.store(true, Ordering::Release);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for t in threads {
            t.thread().unpark();
            if t.join().is_err() {
                tracing::error!(
                    event = "handshake_thread_panicked",
                    "a handshake thread panicked"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;

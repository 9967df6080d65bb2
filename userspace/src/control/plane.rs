//! The threads of the process: workers and handshake threads, shared by all
//! its devices.

use std::io;
use std::num::NonZeroUsize;
use std::thread;

use crate::datapath::handshakes::{HandshakeThreads, Queues};
use crate::datapath::team::Team;
use crate::datapath::worker::{Command, Handle};

/// Most workers started unless asked for: beyond that, more queues cost more
/// wake-ups than they bring on one host.
const WORKERS_DEFAULT_MAX: usize = 8;

/// Workers and handshake threads.
#[derive(Debug)]
pub struct Plane {
    // In this order: workers feed the handshake threads and go first.
    workers: Vec<Handle>,
    handshakes: HandshakeThreads,
}

/// As many workers as CPUs, within reason.
#[must_use]
pub fn default_workers() -> usize {
    cpus().min(WORKERS_DEFAULT_MAX)
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Plane {
    /// Starts `workers` workers and a handshake thread per CPU.
    ///
    /// # Errors
    /// When a thread, an epoll or an eventfd cannot be made.
    pub fn start(workers: usize) -> io::Result<Self> {
        let handshakes = HandshakeThreads::start(cpus().min(WORKERS_DEFAULT_MAX))?;
        let team = Team::new(workers);
        let workers = (0..workers)
            .map(|index| Handle::start(index, handshakes.queues().clone(), &team))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            workers,
            handshakes,
        })
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Handle] {
        &self.workers
    }

    /// The workers that are no more, by name: none, as long as the process is well.
    pub fn ended(&self) -> Vec<String> {
        let all = self.workers.iter().enumerate();
        let ended = all.filter(|(_, worker)| worker.has_ended());
        ended.map(|(index, _)| format!("worker-{index}")).collect()
    }

    /// The queues of the handshake threads.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        self.handshakes.queues()
    }

    /// Gives every worker its command.
    pub fn send_all(&self, mut command: impl FnMut(usize) -> Command) {
        for (index, worker) in self.workers.iter().enumerate() {
            worker.send(command(index));
        }
    }
}

//! Control's end of a worker.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_queue::SegQueue;
use mio::{Poll, Waker};
use tokio::sync::oneshot;

use super::Worker;
use super::sources::WAKE;
use crate::datapath::frames::FramePool;
use crate::datapath::handshakes::Queues;
use crate::datapath::inbound::Inbound;
use crate::datapath::outbound::Outbound;
use crate::datapath::port::Port;
use crate::datapath::rings::{Doorbell, RelayInbox, Rings, Way};
use crate::datapath::taps::Side;
use crate::datapath::team::{Membership, Team};
use crate::net::udp::UdpSockets;

/// Frames of one worker: receive batch, send runs and what waits in lanes.
pub const FRAMES: usize = 64;

/// What control asks of a worker.
pub enum Command {
    /// Serve a device from now on.
    Add(Box<Port>),
    /// Stop serving it, close the queue.
    Remove(String),
    /// Use these sockets from now on, or none.
    Sockets(String, Option<Box<UdpSockets>>),
    /// Packets to and from a network card, outside or on the LAN side, can go this
    /// way from now on.
    AddWay(Side, Way),
    /// They no longer do. Tells when the last ring of the card is closed here.
    RemoveWays(u32, oneshot::Sender<()>),
    /// End the thread.
    Stop,
}

/// Control's end of a worker; dropping it ends the thread.
#[derive(Debug)]
pub struct Handle {
    commands: Arc<SegQueue<Command>>,
    bell: Arc<Doorbell>,
    inbox: Arc<RelayInbox>,
    frames: Arc<FramePool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Add(_) => "Add",
            Self::Remove(_) => "Remove",
            Self::Sockets(..) => "Sockets",
            Self::AddWay(..) => "AddWay",
            Self::RemoveWays(..) => "RemoveWays",
            Self::Stop => "Stop",
        })
    }
}

impl Handle {
    /// Starts worker number `index` of a team.
    ///
    /// # Errors
    /// When epoll, an eventfd or a thread cannot be made.
    pub fn start(index: usize, queues: Arc<Queues>, team: &Arc<Team>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Arc::new(Doorbell::new(Waker::new(poll.registry(), WAKE)?));
        let inbox = RelayInbox::new(Arc::clone(&bell));
        let commands = Arc::new(SegQueue::new());
        let frames = FramePool::new(FRAMES);
        let team = Arc::new(Membership::new(team, index, &bell));
        let mut inbound = Inbound::new(Arc::clone(&frames), queues);
        inbound.join(Arc::clone(&team));
        let mut worker = Worker {
            poll,
            commands: Arc::clone(&commands),
            inbound,
            outbound: Outbound::new(Arc::clone(&frames)),
            ports: Vec::new(),
            rings: Rings::default(),
            lan: Rings::default(),
            inbox: Arc::clone(&inbox),
            bell: Arc::clone(&bell),
            team,
            first: 0,
        };
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker.run())?;
        Ok(Self {
            commands,
            bell,
            inbox,
            frames,
            thread: Some(thread),
        })
    }

    /// Gives the worker something to do.
    pub fn send(&self, command: Command) {
        self.commands.push(command);
        if let Err(error) = self.bell.ring() {
            tracing::error!(event = "worker_not_woken", %error, "cannot wake a worker");
        }
    }

    /// Where other workers leave runs for the rings of this one.
    #[must_use]
    pub fn inbox(&self) -> &Arc<RelayInbox> {
        &self.inbox
    }

    /// Whether its thread is no more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Times that the worker went to sleep and woke up.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.bell.wakeups()
    }

    /// The worker's frames: how many there are and how many are in use.
    #[must_use]
    pub fn frames(&self) -> &Arc<FramePool> {
        &self.frames
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(event = "worker_panicked", "a worker panicked");
        }
    }
}

//! A worker: one thread, one TUN queue and one pair of sockets per device.
//!
//! It waits for events only when none of its sources has anything left, and
//! serves them in rounds of bounded size, so that a bulk transfer in one
//! direction or device cannot starve the others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::frames::FramePool;
use super::handshakes::Queues;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::port::{Event, Port};
use crate::drops::DropReason;
use crate::net::clock;
use crate::net::udp::{UdpSocket, UdpSockets};

/// Frames of one worker: receive batch, send runs and what waits in lanes.
pub const FRAMES: usize = 64;

const WAKE: Token = Token(usize::MAX);
const SOURCES: usize = 4;
const TUN: usize = 0;
const V4: usize = 1;
const V6: usize = 2;

/// What control asks of a worker.
pub enum Command {
    /// Serve a device from now on.
    Add(Box<Port>),
    /// Stop serving it, close the queue.
    Remove(String),
    /// Use these sockets from now on, or none.
    Sockets(String, Option<Box<UdpSockets>>),
    /// End the thread.
    Stop,
}

/// Control's end of a worker; dropping it ends the thread.
#[derive(Debug)]
pub struct Handle {
    commands: Arc<SegQueue<Command>>,
    waker: Arc<Waker>,
    frames: Arc<FramePool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Add(_) => "Add",
            Self::Remove(_) => "Remove",
            Self::Sockets(..) => "Sockets",
            Self::Stop => "Stop",
        })
    }
}

impl Handle {
    /// Starts worker number `index`.
    ///
    /// # Errors
    /// When epoll, an eventfd or a thread cannot be made.
    pub fn start(index: usize, queues: Arc<Queues>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let commands = Arc::new(SegQueue::new());
        let frames = FramePool::new(FRAMES);
        let mut worker = Worker {
            poll,
            commands: Arc::clone(&commands),
            inbound: Inbound::new(Arc::clone(&frames), queues),
            outbound: Outbound::new(Arc::clone(&frames)),
            ports: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker.run())?;
        Ok(Self {
            commands,
            waker,
            frames,
            thread: Some(thread),
        })
    }

    /// Gives the worker something to do.
    pub fn send(&self, command: Command) {
        self.commands.push(command);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a worker");
        }
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
            tracing::error!("a worker panicked");
        }
    }
}

struct Worker {
    poll: Poll,
    commands: Arc<SegQueue<Command>>,
    inbound: Inbound,
    outbound: Outbound,
    ports: Vec<Option<Box<Port>>>,
}

impl Worker {
    fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            for at in 0..self.ports.len() {
                self.watch_room(at);
            }
            let busy = self.ports.iter().flatten().any(|p| p.has_work());
            let timeout = busy.then_some(Duration::ZERO);
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "epoll failed, the worker ends");
                return;
            }
            for event in &events {
                if event.token() != WAKE {
                    self.mark(event);
                }
            }
            while let Some(command) = self.commands.pop() {
                if !self.obey(command) {
                    return;
                }
            }
            let now = clock::boot();
            for slot in &mut self.ports {
                let Some(port) = slot else { continue };
                self.inbound.serve(port, now);
                self.outbound.serve(port, now);
                if port.gone {
                    port.tunnel.tell(Event::TunGone);
                    close(self.poll.registry(), port);
                    *slot = None;
                }
            }
        }
    }

    /// Waits for room in the send buffer only while there is none: every packet
    /// that leaves makes room, and would wake the thread.
    fn watch_room(&mut self, at: usize) {
        let Some(Some(port)) = self.ports.get_mut(at) else {
            return;
        };
        if port.blocked == port.awaits_room {
            return;
        }
        port.awaits_room = port.blocked;
        for socket in port.sockets.iter().flat_map(UdpSockets::iter) {
            // Room made since the refusal is an event at once.
            let (token, interest) = registration(at, socket, port.blocked);
            let registry = self.poll.registry();
            if let Err(error) = registry.reregister(&mut SourceFd(&raw(socket)), token, interest) {
                tracing::error!(%error, device = port.tunnel.name, "cannot watch a socket");
            }
        }
    }

    fn mark(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        let Some(Some(port)) = self.ports.get_mut(token / SOURCES) else {
            return;
        };
        let readable = event.is_readable() || event.is_error() || event.is_read_closed();
        match token % SOURCES {
            TUN => port.tun_ready |= readable,
            V4 => port.v4_ready |= readable,
            _ => port.v6_ready |= readable,
        }
        // A writable socket lifts the back-pressure; a writable TUN device is
        // never waited for.
        if token % SOURCES != TUN && event.is_writable() {
            port.blocked = false;
        }
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Add(port) => self.add(port),
            Command::Remove(name) => {
                for slot in &mut self.ports {
                    if let Some(mut port) = slot.take_if(|p| p.tunnel.name == name) {
                        close(self.poll.registry(), &mut port);
                    }
                }
            }
            Command::Sockets(name, sockets) => {
                let at = self
                    .ports
                    .iter()
                    .position(|p| p.as_ref().is_some_and(|p| p.tunnel.name == name));
                if let Some(at) = at {
                    self.swap_sockets(at, sockets.map(|s| *s));
                }
            }
            Command::Stop => return false,
        }
        true
    }

    fn add(&mut self, mut port: Box<Port>) {
        let at = self
            .ports
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.ports.push(None);
                self.ports.len() - 1
            });
        if let Err(error) = self.poll.registry().register(
            &mut SourceFd(&raw(&port.tun)),
            Token(at * SOURCES + TUN),
            Interest::READABLE,
        ) {
            tracing::error!(%error, device = port.tunnel.name, "cannot watch the TUN device");
            port.tunnel.tell(Event::TunGone);
            return;
        }
        port.tun_ready = true;
        let sockets = port.sockets.take();
        self.ports[at] = Some(port);
        self.swap_sockets(at, sockets);
    }

    fn swap_sockets(&mut self, at: usize, sockets: Option<UdpSockets>) {
        let Some(port) = &mut self.ports[at] else {
            return;
        };
        let registry = self.poll.registry();
        if let Some(old) = port.sockets.take() {
            unwatch(registry, &old);
        }
        for socket in sockets.iter().flat_map(UdpSockets::iter) {
            let (token, interest) = registration(at, socket, false);
            if let Err(error) = registry.register(&mut SourceFd(&raw(socket)), token, interest) {
                tracing::error!(%error, device = port.tunnel.name, "cannot watch a socket");
            }
        }
        port.v4_ready = sockets.is_some();
        port.v6_ready = sockets.is_some();
        port.blocked = false;
        port.awaits_room = false;
        port.sockets = sockets;
    }
}

/// How a socket of the port at `at` is watched.
fn registration(at: usize, socket: &UdpSocket, room: bool) -> (Token, Interest) {
    let kind = if socket.is_ipv6() { V6 } else { V4 };
    let interest = if room {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    };
    (Token(at * SOURCES + kind), interest)
}

fn raw(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

fn unwatch(registry: &Registry, sockets: &UdpSockets) {
    for socket in sockets.iter() {
        if let Err(error) = registry.deregister(&mut SourceFd(&raw(socket))) {
            tracing::debug!(%error, "a socket was not watched");
        }
    }
}

fn close(registry: &Registry, port: &mut Port) {
    // Without a socket what is left is counted as dropped, and so is what no
    // device is there for; a frame left in a lane would not come back.
    port.runs.send(None, &port.stats);
    while let Some(mut turn) = port.turns.pop() {
        while let Some(job) = turn.next() {
            let packets = job.packets().len() as u64;
            port.stats.drops.add(DropReason::TunError, packets);
        }
        port.turns.extend(turn.release());
    }
    if let Some(sockets) = &port.sockets {
        unwatch(registry, sockets);
    }
    if let Err(error) = registry.deregister(&mut SourceFd(&raw(&port.tun))) {
        tracing::debug!(%error, "a TUN queue was not watched");
    }
}

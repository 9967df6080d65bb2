//! A worker: one thread, one TUN queue and one pair of sockets per device.
//!
//! It waits for events only when none of its sources has anything left, and
//! serves them in rounds of bounded size, so that a bulk transfer in one
//! direction or device cannot starve the others.
//!
//! * [`handle`]: control's end.
//! * `sources`: what it waits for.

pub mod handle;
mod sources;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::SegQueue;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

pub use handle::{Command, FRAMES, Handle};
use sources::{
    RING, SOURCES, TUN, V4, WAKE, raw, registration, ring_of, ring_token, unwatch, unwatch_ring,
};

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::port::{Event, Port};
use super::rings::{Doorbell, ROOM_EVERY, RelayInbox, Rings, Way, ring};
use super::runs::Blocked;
use super::taps::Side;
use super::team::Membership;
use crate::drops::DropReason;
use crate::net::clock;
use crate::net::udp::UdpSockets;
use crate::tunnel::time::BootTime;
use crate::xsk::RingSizes;

/// Batches from one ring before the other sources get their turn: as many packets
/// as the TUN devices may send meanwhile, or a ring of a few hundred entries
/// overflows during their turn.
const BATCHES_PER_ROUND: usize = 8;

struct Worker {
    poll: Poll,
    commands: Arc<SegQueue<Command>>,
    inbound: Inbound,
    outbound: Outbound,
    ports: Vec<Option<Box<Port>>>,
    rings: Rings,
    /// Rings of the LAN side.
    lan: Rings,
    inbox: Arc<RelayInbox>,
    bell: Arc<Doorbell>,
    team: Arc<Membership>,
    /// Whose turn comes first in the next round; see [`Self::take_turns`].
    first: usize,
}

impl Worker {
    fn run(&mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            for at in 0..self.ports.len() {
                self.watch_room(at);
            }
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(event = "worker_ended", %error, "epoll failed, the worker ends");
                return;
            }
            self.bell.woke();
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(token) if token >= RING => {
                        let (ifindex, queue) = ring_of(token);
                        for rings in [&mut self.rings, &mut self.lan] {
                            if let Some(ring) = rings.ring(ifindex, queue) {
                                ring.mark_ready();
                            }
                        }
                    }
                    _ => self.mark(event),
                }
            }
            while let Some(command) = self.commands.pop() {
                if !self.obey(command) {
                    return;
                }
            }
            let now = clock::boot();
            for ring in self.rings.own() {
                for _ in 0..BATCHES_PER_ROUND {
                    if !ring.is_ready() {
                        break;
                    }
                    self.inbound
                        .serve_ring(ring, &mut self.ports, &mut self.lan, now);
                }
            }
            self.inbound.help(&mut self.ports, &mut self.lan, now);
            self.inbound
                .serve_opened(&self.inbox, &mut self.ports, &mut self.lan, now);
            self.take_turns(now);
            self.serve_lan(now);
            self.rings.kick(now);
            for ring in self.rings.own().chain(self.lan.own()) {
                if let Some(error) = ring.take_failure() {
                    let (ifindex, queue) = (ring.ifindex(), ring.queue());
                    tracing::warn!(event = "xsk_ring_ended", %error, ifindex, queue, "an AF_XDP ring ended, its packets go by the kernel");
                }
            }
        }
    }

    /// Serves the ports, and what other workers handed over. Whoever comes first
    /// finds the room that there is in a ring, so that whoever found some comes
    /// last the next time.
    fn take_turns(&mut self, now: BootTime) {
        let shares = self.ports.len() + 1;
        let mut found_room = None;
        for share in 0..shares {
            let share = (self.first + share) % shares;
            let before = self.rings.sent();
            match share.checked_sub(1) {
                None => self.rings.serve_inbox(&self.inbox, &mut self.ports, now),
                Some(port) => self.serve_port(port, now),
            }
            if found_room.is_none() && self.rings.sent() != before {
                found_room = Some(share);
            }
        }
        if let Some(share) = found_room {
            self.first = share + 1;
        }
    }

    /// Seals what came by the LAN side's rings, as long as there is room outside.
    fn serve_lan(&mut self, now: BootTime) {
        for ring in self.lan.own() {
            for _ in 0..BATCHES_PER_ROUND {
                let (ports, rings) = (&mut self.ports, &mut self.rings);
                if !ring.is_ready() || !self.outbound.serve_lan(ring, ports, rings, now) {
                    break;
                }
            }
        }
    }

    fn serve_port(&mut self, at: usize, now: BootTime) {
        let slot = &mut self.ports[at];
        let Some(port) = slot else { return };
        self.inbound.serve(port, &mut self.lan, now);
        self.outbound.serve(port, &mut self.rings, now);
        if port.gone {
            port.tunnel.tell(Event::TunGone);
            close(self.poll.registry(), port);
            *slot = None;
        }
    }

    /// How long there is nothing to do without an event; none: for ever.
    fn timeout(&mut self) -> Option<Duration> {
        let mut ports = self.ports.iter().flatten();
        let busy = self.rings.is_ready()
            || (self.lan.is_ready() && !ports.clone().any(|port| port.holds_clients()))
            || ports.any(|port| port.has_work());
        self.team.set_free(!busy);
        if busy {
            return Some(Duration::ZERO);
        }
        self.bell.sleeps();
        // Whoever left work before the bell was set did not ring it. What is behind
        // a run that is stuck waits as long as that does.
        let relayed = !self.inbox.is_empty() && !self.rings.is_stuck();
        let relayed = relayed || self.inbox.has_opened();
        if relayed || !self.commands.is_empty() || !self.team.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = clock::boot();
        self.rings.settle(now);
        self.lan.settle(now);
        let mut ports = self.ports.iter().flatten();
        let full = ports.any(|port| port.blocked == Blocked::Ring);
        let room = full.then_some(ROOM_EVERY);
        let rings = [self.rings.timeout(now), self.lan.timeout(now)];
        rings.into_iter().flatten().chain(room).min()
    }

    /// Waits for room in the send buffer only while there is none: every packet
    /// that leaves makes room, and would wake the thread.
    fn watch_room(&mut self, at: usize) {
        let Some(Some(port)) = self.ports.get_mut(at) else {
            return;
        };
        let blocked = port.blocked == Blocked::Socket;
        if blocked == port.awaits_room {
            return;
        }
        port.awaits_room = blocked;
        for socket in port.sockets.iter().flat_map(UdpSockets::iter) {
            // Room made since the refusal is an event at once.
            let (token, interest) = registration(at, socket, blocked);
            let registry = self.poll.registry();
            if let Err(error) = registry.reregister(&mut SourceFd(&raw(socket)), token, interest) {
                tracing::error!(event = "socket_not_watched", %error, device = port.tunnel.name, "cannot watch a socket");
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
        if token % SOURCES != TUN && event.is_writable() && port.blocked == Blocked::Socket {
            port.blocked = Blocked::No;
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
            Command::AddWay(side, way) => self.add_way(side, way),
            Command::RemoveWays(ifindex, closed) => {
                self.remove_ways(ifindex);
                // Nobody waits for it when control ends.
                let _ = closed.send(());
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
            tracing::error!(event = "tun_not_watched", %error, device = port.tunnel.name, "cannot watch the TUN device");
            port.tunnel.tell(Event::TunGone);
            return;
        }
        port.tun_ready = true;
        let sockets = port.sockets.take();
        self.ports[at] = Some(port);
        self.swap_sockets(at, sockets);
    }

    fn add_way(&mut self, side: Side, mut way: Way) {
        let token = match &mut way {
            Way::Own(ring) => {
                ring.mark_ready();
                ring_token(ring.ifindex(), ring.queue())
            }
            Way::Relay { .. } => WAKE,
        };
        let rings = match side {
            Side::Outer => &mut self.rings,
            Side::Inner => &mut self.lan,
        };
        if let Some(fd) = rings.add(way) {
            let registry = self.poll.registry();
            let mut source = SourceFd(&fd);
            if let Err(error) = registry.register(&mut source, token, Interest::READABLE) {
                tracing::error!(event = "xsk_not_watched", %error, "cannot watch an AF_XDP socket");
            }
        }
    }

    /// Closes the rings of a network card, once what they received is served.
    fn remove_ways(&mut self, ifindex: u32) {
        let now = clock::boot();
        for way in self.rings.remove(ifindex) {
            let Way::Own(mut ring) = way else { continue };
            ring.mark_ready();
            // As many rounds as a full ring takes; what comes in meanwhile is lost.
            for _ in 0..RING_ROUNDS {
                if !ring.is_ready() {
                    break;
                }
                self.inbound
                    .serve_ring(&mut ring, &mut self.ports, &mut self.lan, now);
            }
            ring.kick(now);
            unwatch_ring(self.poll.registry(), &ring);
        }
        for way in self.lan.remove(ifindex) {
            let Way::Own(mut ring) = way else { continue };
            ring.mark_ready();
            for _ in 0..RING_ROUNDS {
                if !ring.is_ready() {
                    break;
                }
                let (ports, rings) = (&mut self.ports, &mut self.rings);
                if !self.outbound.serve_lan(&mut ring, ports, rings, now) {
                    ring.discard(now);
                }
            }
            ring.kick(now);
            unwatch_ring(self.poll.registry(), &ring);
        }
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
                tracing::error!(event = "socket_not_watched", %error, device = port.tunnel.name, "cannot watch a socket");
            }
        }
        port.v4_ready = sockets.is_some();
        port.v6_ready = sockets.is_some();
        port.blocked = Blocked::No;
        port.awaits_room = false;
        port.sockets = sockets;
    }
}

/// Rounds that empty the longest receive ring.
const RING_ROUNDS: usize = RingSizes::MAX as usize / ring::BATCH;

fn close(registry: &Registry, port: &mut Port) {
    // Without a socket what is left is counted as dropped, and so is what no
    // device is there for; a frame left in a lane would not come back.
    port.runs.drop_counted(&port.stats);
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
        tracing::debug!(event = "tun_unwatch_failed", %error, "a TUN queue was not watched");
    }
}

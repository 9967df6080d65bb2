//! Hosts, the link between them and the clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringtun::drops::DropReason;
use ringtun::tunnel::allowed_ips::Prefix;
use ringtun::tunnel::cell::PeerCell;
use ringtun::tunnel::keypair::{Keypair, Role};
use ringtun::tunnel::output::PeerEvent;
use ringtun::tunnel::time::BootTime;

use super::host::Host;
use super::link::{Datagram, Link};
use super::packet;

/// A datagram that a host sent, whatever the link did with it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: BootTime,
    pub host: usize,
    pub datagram: Datagram,
}

type Filter = Box<dyn FnMut(&Datagram) -> bool>;

pub struct World {
    pub now: BootTime,
    pub hosts: Vec<Host>,
    pub link: Link,
    pub log: Vec<Sent>,
    /// Whether the link carries a datagram at all.
    pub filter: Filter,
}

pub const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub const fn ms(m: u64) -> Duration {
    Duration::from_millis(m)
}

pub fn outer(i: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, i as u8 + 1], 51820))
}

pub fn inner4(i: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, i as u8 + 1])
}

pub fn inner6(i: usize) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, i as u16 + 1])
}

impl World {
    /// Hosts that do not know each other.
    pub fn strangers(n: usize, seed: u64) -> Self {
        // Not zero: a clock that begins at zero hides what "never" does.
        Self::strangers_at(BootTime::from_nanos(1_000_000_000_000), n, seed)
    }

    /// The same at another time: that of the machine, where threads look at its
    /// clock.
    pub fn strangers_at(now: BootTime, n: usize, seed: u64) -> Self {
        let hosts = (0..n).map(|i| Host::new(seed * 100 + i as u64, outer(i), now));
        Self {
            now,
            hosts: hosts.collect(),
            link: Link::new(seed),
            log: Vec::new(),
            filter: Box::new(|_| true),
        }
    }

    /// Two hosts that are each other's peers and know where the other is.
    pub fn pair(seed: u64) -> Self {
        Self::mesh(2, seed)
    }

    /// Hosts that are all each other's peers.
    pub fn mesh(n: usize, seed: u64) -> Self {
        let mut world = Self::strangers(n, seed);
        for a in 0..n {
            for b in (0..n).filter(|b| *b != a) {
                world.introduce(a, b);
            }
        }
        world
    }

    /// Like [`Self::pair`], where host 0 has the greater public key.
    pub fn pair_with_greater_first(seed: u64) -> Self {
        let seed = (seed * 1000..).find(|s| {
            let w = Self::strangers(2, *s);
            w.hosts[0].public > w.hosts[1].public
        });
        Self::pair(seed.unwrap())
    }

    /// Makes `b` a peer of `a`.
    pub fn introduce(&mut self, a: usize, b: usize) {
        let (public, addr) = (self.hosts[b].public, self.hosts[b].addr);
        let now = self.now;
        let device = &mut self.hosts[a].device;
        device.add_peer(public);
        device.add_allowed_ip(&public, Prefix::host(inner4(b)));
        device.add_allowed_ip(&public, Prefix::host(inner6(b)));
        device.set_endpoint(now, &public, addr);
        device.publish();
    }

    /// What `a` shares of its peer `b`.
    pub fn cell(&self, a: usize, b: usize) -> Arc<PeerCell> {
        self.hosts[a].cell(&self.hosts[b].public)
    }

    pub fn current(&self, a: usize, b: usize) -> Option<Arc<Keypair>> {
        self.cell(a, b).current().clone()
    }

    pub fn role(&self, a: usize, b: usize) -> Option<Role> {
        self.current(a, b).map(|k| k.role())
    }

    /// Both ends send with the two halves of one session.
    pub fn agree(&self, a: usize, b: usize) -> bool {
        match (self.current(a, b), self.current(b, a)) {
            (Some(x), Some(y)) => {
                x.local_index() == y.remote_index()
                    && y.local_index() == x.remote_index()
                    && x.role() != y.role()
            }
            _ => false,
        }
    }

    /// `a` sends a packet to `b` with this payload.
    pub fn send(&mut self, a: usize, b: usize, payload: &[u8]) {
        self.send_packet(a, &packet::ip(inner4(a), inner4(b), 0, payload));
    }

    pub fn send_packet(&mut self, a: usize, packet: &[u8]) {
        let mut out = Vec::new();
        self.hosts[a].route(self.now, packet, &mut out);
        self.settle(a, out);
    }

    /// Lets host `a` react to a change of its configuration.
    pub fn settle(&mut self, a: usize, mut out: Vec<Datagram>) {
        self.hosts[a].drive(self.now, &mut out);
        for datagram in out {
            self.log.push(Sent {
                at: self.now,
                host: a,
                datagram: datagram.clone(),
            });
            if (self.filter)(&datagram) {
                self.link.send(self.now, datagram);
            }
        }
    }

    /// Host `a` gets this datagram now.
    pub fn deliver(&mut self, a: usize, datagram: &Datagram) -> Result<(), DropReason> {
        let mut out = Vec::new();
        let result = self.hosts[a].receive(self.now, datagram, &mut out);
        self.settle(a, out);
        result
    }

    /// Runs until `until`, event by event.
    pub fn run_until(&mut self, until: BootTime) {
        loop {
            let timers = self.hosts.iter().filter_map(|h| h.device.poll_timeout());
            let next = timers.map(|(at, _)| at).chain(self.link.next()).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    pub fn run(&mut self, d: Duration) {
        self.run_until(self.now + d);
    }

    /// The clock jumps; what was due meanwhile is done afterwards.
    pub fn jump(&mut self, d: Duration) {
        self.now = self.now + d;
        self.step();
    }

    fn step(&mut self) {
        while let Some(datagram) = self.link.pop(self.now) {
            if let Some(a) = self.hosts.iter().position(|h| h.addr == datagram.to) {
                // Refusals are counted by the host.
                let _ = self.deliver(a, &datagram);
            }
        }
        for a in 0..self.hosts.len() {
            let now = self.hosts[a].now(self.now);
            self.hosts[a].device.handle_timeout(now);
            self.settle(a, Vec::new());
        }
    }

    /// A handshake from `a` to `b`, complete at both ends.
    pub fn connect(&mut self, a: usize, b: usize) {
        self.send(a, b, b"first");
        self.run(ms(100));
        assert!(self.agree(a, b), "the handshake completes");
        assert_eq!(self.role(a, b), Some(Role::Initiator));
    }

    /// Both ends can send to each other now.
    pub fn assert_connected(&mut self, a: usize, b: usize) {
        let before = [self.hosts[b].delivered.len(), self.hosts[a].delivered.len()];
        self.send(a, b, b"there");
        self.run(ms(200));
        self.send(b, a, b"and back");
        self.run(ms(200));
        assert!(self.hosts[b].delivered.len() > before[0], "{a} to {b}");
        assert!(self.hosts[a].delivered.len() > before[1], "{b} to {a}");
    }

    /// The last datagram of a type that `host` sent.
    pub fn last(&self, host: usize, kind: u8) -> Datagram {
        let mut sent = self.log.iter().rev();
        sent.find(|s| s.host == host && s.datagram.kind() == kind)
            .map(|s| s.datagram.clone())
            .expect("such a message was sent")
    }

    /// When `host` sent messages of a type.
    pub fn times(&self, host: usize, kind: u8) -> Vec<BootTime> {
        let sent = self.log.iter();
        sent.filter(|s| s.host == host && s.datagram.kind() == kind)
            .map(|s| s.at)
            .collect()
    }

    pub fn count(&self, host: usize, kind: u8) -> usize {
        self.times(host, kind).len()
    }

    /// Keepalives that `host` sent.
    pub fn keepalives(&self, host: usize) -> Vec<BootTime> {
        let sent = self.log.iter();
        sent.filter(|s| s.host == host && s.datagram.kind() == 4 && s.datagram.bytes.len() == 32)
            .map(|s| s.at)
            .collect()
    }

    pub fn happened(&self, host: usize, event: PeerEvent) -> usize {
        let events = self.hosts[host].events.iter();
        events.filter(|(_, e)| *e == event).count()
    }

    /// Payloads that `host` got out of the tunnel.
    pub fn payloads(&self, host: usize) -> Vec<Vec<u8>> {
        let delivered = self.hosts[host].delivered.iter();
        delivered.map(|p| packet::payload(p).to_vec()).collect()
    }
}

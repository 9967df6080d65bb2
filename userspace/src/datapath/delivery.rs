//! The last step inwards: opened packets to the TUN device, or past the kernel's
//! stack to a network card of the LAN side.

use std::net::IpAddr;
use std::sync::Arc;

use super::forward::{self, Asked, Destinations, NextHop};
use super::inbound::Job;
use super::port::{DELIVERY_MAX, Port, Tunnel};
use super::rings::{Opened, Rings};
use super::stats::WorkerStats;
use super::taps::{Direction, Link, Side, Size, Who};
use crate::drops::DropReason;
use crate::net::tun;
use crate::tunnel::time::BootTime;

/// A worker's scratch.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Packets for the TUN device.
    places: Vec<Place>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            places: Vec::with_capacity(DELIVERY_MAX),
        }
    }
}

/// Where a packet to deliver lies: its job, first byte, length.
#[derive(Clone, Copy, Debug)]
struct Place {
    job: usize,
    at: usize,
    len: usize,
}

impl Delivery {
    /// Delivers these jobs here, or lets a worker do it that has rings of all cards
    /// of the LAN side.
    pub(super) fn deliver(
        &mut self,
        jobs: &mut Vec<Job>,
        port: &mut Port,
        lan: &mut Rings,
        now: BootTime,
    ) {
        let elsewhere = lan.elsewhere().filter(|_| port.tunnel.forwarding.is_on());
        let Some(inbox) = elsewhere else {
            return self.write(jobs, port, lan, now);
        };
        for job in jobs.drain(..).filter(|job| job.packets().len() > 0) {
            let tunnel = Arc::clone(&port.tunnel);
            if let Err(back) = inbox.push_opened(Opened { job, tunnel }) {
                back.drop_counted(DropReason::LanFull);
            }
        }
    }

    /// Writes the packets of these jobs to the TUN device, joined where possible, and
    /// by `lan` what may leave that way. The kernel was called for those when this
    /// returns: whoever delivers the peer's next packets comes after.
    pub(super) fn write(&mut self, jobs: &[Job], port: &mut Port, lan: &mut Rings, now: BootTime) {
        self.places.clear();
        for job in jobs {
            tap_inner(&port.tunnel, job);
        }
        if port.tunnel.forwarding.is_on() {
            let tunnel = Arc::clone(&port.tunnel);
            let destinations = tunnel.forwarding.destinations();
            let walk = Walk {
                jobs,
                next: Some((0, 0)),
                last: None,
                tunnel: &tunnel,
                destinations: &destinations,
                asked: &mut port.asked,
                places: &mut self.places,
                now,
            };
            walk.forward(lan, &port.stats);
        } else {
            for (job, content) in jobs.iter().enumerate() {
                let packets = content.frame.packets();
                self.places.extend(packets.iter().map(|p| Place {
                    job,
                    at: p.at,
                    len: p.len,
                }));
            }
        }
        write_tun(jobs, &self.places, port);
    }
}

/// Goes through the packets of some jobs: each to a ring, or to its place among
/// those for the TUN device.
struct Walk<'a> {
    jobs: &'a [Job],
    /// Job and packet to look at next.
    next: Option<(usize, usize)>,
    /// What was found for the last destination: mostly it is that of the next packet.
    last: Option<(IpAddr, Option<&'a NextHop>)>,
    tunnel: &'a Tunnel,
    destinations: &'a Destinations,
    asked: &'a mut Asked,
    places: &'a mut Vec<Place>,
    now: BootTime,
}

impl<'a> Walk<'a> {
    fn forward(mut self, lan: &mut Rings, stats: &WorkerStats) {
        while let Some((hop, packet)) = self.peek(lan) {
            let ifindex = hop.ifindex();
            let Some(ring) = lan.own_of(ifindex) else {
                unreachable!("it agreed to take the packet");
            };
            let mut sent = ring.forward(self.run(hop, packet));
            if sent == 0 {
                // Full: the kernel has not looked at it yet.
                ring.kick(self.now);
                sent = ring.forward(self.run(hop, packet));
            }
            if sent == 0 {
                stats.drops.count(DropReason::LanFull);
                self.step();
                continue;
            }
            stats.inner_rx_packets.add(sent as u64);
            stats.forwarded_rx_packets.add(sent as u64);
        }
        lan.kick(self.now);
    }

    /// The packet that is next, if it leaves by a ring; those before it that do not
    /// get their places.
    fn peek(&mut self, lan: &mut Rings) -> Option<(&'a NextHop, &'a [u8])> {
        loop {
            let (place, packet) = self.packet()?;
            let hop = self.hop(packet).filter(|hop| {
                let ring = lan.own_of(hop.ifindex());
                ring.is_some_and(|ring| ring.is_up(self.now) && ring.forwards(hop, packet.len()))
            });
            if let Some(hop) = hop {
                return Some((hop, packet));
            }
            self.places.push(place);
            self.step();
        }
    }

    /// This packet, and those behind it that leave by the same hop.
    fn run(
        &mut self,
        hop: &'a NextHop,
        first: &'a [u8],
    ) -> impl Iterator<Item = (&'a NextHop, &'a [u8])> {
        let mut first = Some(first);
        std::iter::from_fn(move || {
            if let Some(first) = first.take() {
                self.step();
                return Some((hop, first));
            }
            let (_, packet) = self.packet()?;
            let same = self
                .hop(packet)
                .is_some_and(|other| std::ptr::eq(other, hop));
            (same && packet.len() <= hop.mtu()).then(|| {
                self.step();
                (hop, packet)
            })
        })
    }

    /// The packet that is next.
    fn packet(&self) -> Option<(Place, &'a [u8])> {
        let (mut job, mut at) = self.next?;
        loop {
            let content = self.jobs.get(job)?;
            if let Some(packet) = content.frame.packets().get(at) {
                let place = Place {
                    job,
                    at: packet.at,
                    len: packet.len,
                };
                let bytes = &content.frame.bytes()[packet.at..packet.at + packet.len];
                return Some((place, bytes));
            }
            (job, at) = (job + 1, 0);
        }
    }

    /// Goes on to the one behind it.
    fn step(&mut self) {
        let Some((mut job, mut at)) = self.next else {
            return;
        };
        while let Some(content) = self.jobs.get(job) {
            if at < content.frame.packets().len() {
                self.next = Some((job, at + 1));
                return;
            }
            (job, at) = (job + 1, 0);
        }
        self.next = None;
    }

    /// Where a packet leaves past the kernel's stack; `None` if it does not.
    fn hop(&mut self, packet: &[u8]) -> Option<&'a NextHop> {
        let destination = forward::packet::destination(packet)?;
        if let Some((of, hop)) = self.last
            && of == destination
        {
            return hop;
        }
        let hop = match self.destinations.get(&destination) {
            Some(hop) => hop.as_deref(),
            None => {
                if self.asked.may_ask(destination, self.now) {
                    self.tunnel.ask_for_hop(destination);
                }
                None
            }
        };
        if let Some(hop) = hop {
            hop.mark_used();
        }
        self.last = Some((destination, hop));
        hop
    }
}

/// Copies what is delivered inside.
fn tap_inner(tunnel: &Tunnel, job: &Job) {
    let about = || {
        let size = Size {
            packets: job.packets().len(),
            bytes: job.packets().map(<[u8]>::len).sum(),
        };
        (Link::Ip, size)
    };
    let (side, who) = (Side::Inner, Who::Peer(&job.cell));
    if let Some(mut tap) = tunnel.taps.open(side, Direction::In, who, about) {
        job.packets().for_each(|packet| tap.push(packet));
    }
}

/// Writes these packets of `jobs` to the TUN device, joined where possible.
fn write_tun(jobs: &[Job], places: &[Place], port: &mut Port) {
    let Port {
        coalescer,
        tun,
        stats,
        gone,
        ..
    } = port;
    for batch in places.chunks(DELIVERY_MAX) {
        let packet = |i: usize| {
            let place = &batch[i];
            &jobs[place.job].frame.bytes()[place.at..place.at + place.len]
        };
        coalescer.run(batch.len(), packet, |merged| {
            let packets = merged.packets as u64;
            stats.tun_writes.add(1);
            match tun.write_vectored(merged.slices) {
                Ok(true) => stats.inner_rx_packets.add(packets),
                Ok(false) => stats.drops.add(DropReason::TunFull, packets),
                Err(error) => {
                    *gone |= tun::is_gone(&error);
                    stats.drops.add(DropReason::TunError, packets);
                }
            }
        });
    }
}

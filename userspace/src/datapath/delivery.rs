//! The last step inwards: opened packets to the TUN device, or past the kernel's
//! stack to a network card of the LAN side.

use std::iter::Peekable;
use std::net::IpAddr;
use std::ptr;
use std::sync::Arc;

use super::forward::{self, Asked, Destinations, NextHop};
use super::inbound::Job;
use super::port::{DELIVERY_MAX, Port, Tunnel};
use super::rings::{Opened, Ring, Rings};
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
        let packets = packets(jobs);
        if port.tunnel.forwarding.is_on() {
            let tunnel = Arc::clone(&port.tunnel);
            let destinations = tunnel.forwarding.destinations();
            let walk = Walk {
                packets: packets.peekable(),
                last: None,
                tunnel: &tunnel,
                destinations: &destinations,
                asked: &mut port.asked,
                places: &mut self.places,
                now,
            };
            walk.forward(lan, &port.stats);
        } else {
            self.places.extend(packets.map(|(place, _)| place));
        }
        write_tun(jobs, &self.places, port);
    }
}

/// A packet and where it lies.
type Placed<'a> = (Place, &'a [u8]);

fn packets(jobs: &[Job]) -> impl Iterator<Item = Placed<'_>> {
    jobs.iter().enumerate().flat_map(|(job, content)| {
        let bytes = content.frame.bytes();
        content.frame.packets().iter().map(move |packet| {
            let (at, len) = (packet.at, packet.len);
            (Place { job, at, len }, &bytes[at..at + len])
        })
    })
}

/// Goes through the packets of some jobs: each to a ring, or to its place among
/// those for the TUN device.
struct Walk<'a, I: Iterator<Item = Placed<'a>>> {
    packets: Peekable<I>,
    /// What was found for the last destination: mostly it is that of the next packet.
    last: Option<(IpAddr, Option<&'a NextHop>)>,
    tunnel: &'a Tunnel,
    destinations: &'a Destinations,
    asked: &'a mut Asked,
    places: &'a mut Vec<Place>,
    now: BootTime,
}

impl<'a, I: Iterator<Item = Placed<'a>>> Walk<'a, I> {
    fn forward(mut self, lan: &mut Rings, stats: &WorkerStats) {
        while let Some((place, packet)) = self.packets.peek().copied() {
            let hop = self.hop(packet);
            let ring = hop.and_then(|hop| Some((hop, lan.own_of(hop.ifindex())?)));
            let takes =
                |ring: &Ring, hop| ring.is_up(self.now) && packet.len() <= ring.longest(hop);
            let Some((hop, ring)) = ring.filter(|(hop, ring)| takes(ring, hop)) else {
                self.places.push(place);
                self.packets.next();
                continue;
            };
            let longest = ring.longest(hop);
            let mut sent = ring.forward(self.run(hop, longest));
            if sent == 0 {
                // Full: the kernel has not looked at it yet.
                ring.kick(self.now);
                sent = ring.forward(self.run(hop, longest));
            }
            if sent == 0 {
                stats.drops.count(DropReason::LanFull);
                self.packets.next();
            }
            stats.inner_rx_packets.add(sent as u64);
            stats.forwarded_rx_packets.add(sent as u64);
        }
        lan.kick(self.now);
    }

    /// The packets that come next and leave by this hop.
    fn run(
        &mut self,
        hop: &'a NextHop,
        longest: usize,
    ) -> impl Iterator<Item = (&'a NextHop, &'a [u8])> {
        std::iter::from_fn(move || {
            let (_, packet) = *self.packets.peek()?;
            let same = self.hop(packet).is_some_and(|other| ptr::eq(other, hop));
            (same && packet.len() <= longest).then(|| {
                self.packets.next();
                (hop, packet)
            })
        })
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

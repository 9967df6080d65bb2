//! A network card that carries the XDP program: attaching, and letting go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::foreign;
use super::owner::Owner;
use crate::bpf::{BpfError, CardProgram, Link, Mode};
use crate::control::options::XdpOptions;
use crate::control::plane::Plane;
use crate::crypto::os_rng;
use crate::datapath::rings::{Ring, RingStats, Way, ring};
use crate::datapath::taps::Side;
use crate::datapath::worker::Command;
use crate::net::netlink::{self, Medium};
use crate::net::nic;
use crate::net::outer::Identifications;
use crate::xsk::{Probe, Socket, SocketConfig, Transfer, Umem, UmemConfig, XskError};
use rand_core::Rng as _;
use ringtun_common::tables::{Interface, SOCKETS_MAX};

/// Queues of one card that get rings; the kernel serves the others.
pub const QUEUES_MAX: u32 = 64;
/// Ethernet header and two tags.
const LINK_HEADERS: u32 = 14 + 2 * 4;
/// How often, and at which interval, a queue is tried that another socket has:
/// the kernel closes a socket some time after its descriptor.
const BIND_TRIES: u32 = 50;
const BIND_EVERY: Duration = Duration::from_millis(20);

/// One queue's rings, as control sees them.
#[derive(Debug)]
pub struct Queue {
    /// What its worker counts.
    pub stats: Arc<RingStats>,
    /// What the kernel counts.
    pub probe: Option<Probe>,
}

/// A card that carries the program.
#[derive(Debug)]
pub struct Card {
    /// Its name when it was attached.
    pub name: Arc<str>,
    /// Its driver.
    pub driver: String,
    /// Native or generic.
    pub mode: Mode,
    /// Zero-copy or copy.
    pub transfer: Transfer,
    /// Its queues, by number.
    pub queues: Vec<Queue>,
    /// Bytes of a frame.
    pub frame_size: u32,
    ifindex: u32,
    interface: Interface,
    // Held for their Drop.
    _link: Link,
    _owner: Owner,
}

/// Why a card does not carry the program. The text is for `show` and the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Gone, or no Ethernet.
    #[error("{0} is no Ethernet device")]
    NotEthernet(Arc<str>),
    /// Not worth it unless asked for.
    #[error(
        "{name} ({driver}) has no zero-copy AF_XDP, and then sockets with their offloads are faster; --io xdp takes it all the same"
    )]
    Slower {
        /// The card.
        name: Arc<str>,
        /// Its driver.
        driver: String,
    },
    /// The kernel does not say.
    #[error(
        "this kernel does not tell whether {0} has zero-copy AF_XDP (Linux 6.3 does); --io xdp tries it"
    )]
    Unknown(Arc<str>),
    /// Another process has it.
    #[error(transparent)]
    Owned(#[from] super::owner::ClaimError),
    /// Somebody else's program is there.
    #[error(
        "{name} carries another XDP program ({program}): take it off with `ip link set {name} xdp off`, or stop the program that put it there"
    )]
    Foreign {
        /// The card.
        name: Arc<str>,
        /// Which program.
        program: String,
    },
    /// The program, or attaching it.
    #[error("{name}: {error}")]
    Bpf {
        /// The card.
        name: Arc<str>,
        /// What is wrong.
        error: BpfError,
    },
    /// The sockets.
    #[error("{name}: {error}")]
    Xsk {
        /// The card.
        name: Arc<str>,
        /// What is wrong.
        error: XskError,
    },
    /// As many sockets as the program's map has places.
    #[error("{0}: there are AF_XDP sockets for {SOCKETS_MAX} queues already")]
    NoPlace(Arc<str>),
}

/// Bytes of the frames for a device of this MTU: the smallest that hold what it
/// sends, if any do. Longer packets pass to the kernel.
#[must_use]
pub const fn frame_size(mtu: u32) -> u32 {
    if mtu + LINK_HEADERS <= 2048 - crate::xsk::RX_HEADROOM {
        2048
    } else {
        4096
    }
}

/// The first of enough free places for any card among the sockets of a program that
/// these carry.
pub fn first_free_place<'a>(cards: impl Iterator<Item = &'a Card>) -> u32 {
    let mut taken: Vec<_> = cards.map(Card::places).collect();
    taken.sort_by_key(|places| places.start);
    let mut free = 0;
    for places in taken {
        if places.start.saturating_sub(free) >= QUEUES_MAX {
            break;
        }
        free = places.end;
    }
    free.min(SOCKETS_MAX)
}

/// What attaching takes.
pub struct Attach<'a> {
    /// The card.
    pub link: &'a netlink::Link,
    /// A device asked for XDP; else only zero-copy is worth it.
    pub asked: bool,
    /// The options of the command line.
    pub options: &'a XdpOptions,
    /// The workers.
    pub plane: &'a Plane,
    /// First free place among the program's sockets.
    pub first_socket: u32,
    /// Where its packets come from: peers, or clients.
    pub side: Side,
}

impl Attach<'_> {
    /// Whether the card is worth it; its driver's name if so.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self) -> Result<String, Refusal> {
        let name = Arc::clone(&self.link.name);
        if self.link.medium != Medium::Ethernet || self.link.mac.is_none() {
            return Err(Refusal::NotEthernet(name));
        }
        let driver = nic::driver(&name).unwrap_or_else(|_| "unknown driver".to_owned());
        if self.asked {
            return Ok(driver);
        }
        match nic::xdp_features(self.link.index) {
            Ok(Some(features)) if features.xsk_zerocopy => Ok(driver),
            Ok(Some(_)) => Err(Refusal::Slower { name, driver }),
            Ok(None) | Err(_) => Err(Refusal::Unknown(name)),
        }
    }

    /// Attaches the program and opens the rings; the workers have them when
    /// this returns, and packets come once the interface is in the map.
    ///
    /// # Errors
    /// Why not; nothing is left behind then.
    pub async fn attach(
        self,
        program: &mut impl CardProgram,
        driver: String,
        owner: Owner,
    ) -> Result<Card, Refusal> {
        let (name, ifindex) = (Arc::clone(&self.link.name), self.link.index);
        let channels = nic::channels(&name).map_or(1, |channels| channels.rx);
        let queues = channels.clamp(1, QUEUES_MAX);
        if self.first_socket + queues > SOCKETS_MAX {
            return Err(Refusal::NoPlace(name));
        }
        match self.side {
            Side::Outer => tracing::info!(
                event = "card_attaching", card = %name, %driver, queues,
                "attaching the XDP program: the link may go down for a moment; from now on nftables, tc and tcpdump of this host do not see the WireGuard data of this card (`ringtun io NAME udp` takes it off)"
            ),
            Side::Inner => tracing::info!(
                event = "lan_card_attaching", card = %name, %driver, queues,
                "attaching the XDP program: the link may go down for a moment; from now on nftables, tc, tcpdump and rp_filter of this host do not see what goes between this card and the tunnels, but for how TCP connections begin"
            ),
        }
        let link = self.put(program)?;
        let frame_size = frame_size(self.link.mtu);
        let mut rings = Vec::new();
        for queue in 0..queues {
            let opened = self.open(queue, frame_size).await;
            rings.push(opened.map_err(|error| Refusal::Xsk {
                name: Arc::clone(&name),
                error,
            })?);
        }
        let bpf = |error| Refusal::Bpf {
            name: Arc::clone(&name),
            error,
        };
        for (queue, (_, socket)) in rings.iter().enumerate() {
            if let Some(fd) = socket.fd() {
                let place = self.first_socket + queue as u32;
                program.cards().set_socket(place, fd).map_err(bpf)?;
            }
        }
        let transfer = rings[0].1.transfer();
        if let Some(why) = rings[0].1.why_copy() {
            tracing::debug!(event = "zero_copy_missing", card = %name, %why, "no zero-copy");
        }
        let frame_max = rings[0].0.rx_room() as u32;
        let card = Card {
            interface: Interface {
                mac: self.link.mac.unwrap_or_default().0,
                reserved: [0; 2],
                frame_max,
                first_socket: self.first_socket,
                sockets: queues,
            },
            queues: self.hand_out(rings),
            name: Arc::clone(&name),
            driver,
            mode: link.mode(),
            transfer,
            frame_size,
            ifindex,
            _link: link,
            _owner: owner,
        };
        let known = program.cards().set_interface(ifindex, card.interface);
        if let Err(error) = known.map_err(bpf) {
            card.detach(program, self.plane).await;
            return Err(error);
        }
        Ok(card)
    }

    /// Native if the driver can, else generic.
    fn put(&self, program: &impl CardProgram) -> Result<Link, Refusal> {
        let (name, ifindex) = (&self.link.name, self.link.index);
        let refuse = |error| match error {
            BpfError::Busy { .. } => Refusal::Foreign {
                name: Arc::clone(name),
                program: foreign(ifindex),
            },
            error => Refusal::Bpf {
                name: Arc::clone(name),
                error,
            },
        };
        let modes: &[Mode] = if self.options.generic {
            &[Mode::Generic]
        } else {
            &[Mode::Native, Mode::Generic]
        };
        let mut last = None;
        for mode in modes {
            match program.attach(ifindex, *mode) {
                Ok(link) => {
                    if *mode == Mode::Generic {
                        tracing::warn!(event = "xdp_generic", card = %name, "XDP runs in generic mode, after the kernel made its own buffers: slower than --io udp on most machines");
                    }
                    return Ok(link);
                }
                Err(error @ BpfError::Attach { .. }) => last = Some(error),
                Err(error) => return Err(refuse(error)),
            }
        }
        Err(refuse(last.unwrap_or(BpfError::NotEmbedded)))
    }

    async fn open(&self, queue: u32, frame_size: u32) -> Result<(Umem, Socket), XskError> {
        let sizes = self.options.rings;
        let config = SocketConfig {
            rings: sizes,
            transfer: None,
            prefill: sizes.fill,
            busy_poll: self.options.busy_poll,
        };
        let mut tries = 0;
        loop {
            let mut umem = Umem::new(UmemConfig {
                frames: ring::frames_for(&sizes),
                frame_size,
                ..UmemConfig::default()
            })?;
            match Socket::bind(&mut umem, self.link.index, queue, &config) {
                Ok(socket) => return Ok((umem, socket)),
                Err(XskError::Busy { .. }) if tries < BIND_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(BIND_EVERY).await;
        }
    }

    /// Gives each ring to its worker, and to workers without one the way to one
    /// that has.
    fn hand_out(&self, rings: Vec<(Umem, Socket)>) -> Vec<Queue> {
        let workers = self.plane.workers();
        let ifindex = self.link.index;
        let queues = rings.len();
        let mut own = vec![false; workers.len()];
        let mut list = Vec::with_capacity(queues);
        let start = os_rng().next_u32() as u16;
        for (queue, (umem, socket)) in rings.into_iter().enumerate() {
            let stats: Arc<RingStats> = Arc::default();
            let probe = socket.probe();
            let ids = Identifications::new(queue as u16, queues as u16, start);
            let ring = Ring::new(
                ifindex,
                queue as u32,
                (umem, socket),
                &self.options.rings,
                ids,
                Arc::clone(&stats),
            );
            let worker = queue % workers.len();
            own[worker] = true;
            workers[worker].send(Command::AddWay(self.side, Way::Own(Box::new(ring))));
            list.push(Queue { stats, probe });
        }
        let owners: Vec<usize> = (0..workers.len()).filter(|at| own[*at]).collect();
        for (at, worker) in workers.iter().enumerate().filter(|(at, _)| !own[*at]) {
            let to = Arc::clone(workers[owners[at % owners.len()]].inbox());
            worker.send(Command::AddWay(self.side, Way::Relay { ifindex, to }));
        }
        list
    }
}

impl Card {
    /// Index of the interface.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Places among the program's sockets.
    #[must_use]
    pub fn places(&self) -> std::ops::Range<u32> {
        self.interface.first_socket..self.interface.first_socket + self.interface.sockets
    }

    /// The card has another hardware address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mac(
        &mut self,
        program: &mut impl CardProgram,
        mac: [u8; 6],
    ) -> Result<(), BpfError> {
        if self.interface.mac == mac {
            return Ok(());
        }
        self.interface.mac = mac;
        program.cards().set_interface(self.ifindex, self.interface)
    }

    /// Whether a worker gave up one of its rings.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let mut queues = self.queues.iter();
        queues.any(|queue| queue.stats.failed.get() != 0)
    }

    /// Whether it has another number of queues now than when it was attached,
    /// or needs longer frames.
    #[must_use]
    pub fn is_outgrown(&self, mtu: u32) -> bool {
        let channels = nic::channels(&self.name).map_or(1, |channels| channels.rx);
        let queues = channels.clamp(1, QUEUES_MAX) as usize;
        queues != self.queues.len() || frame_size(mtu) != self.frame_size
    }

    /// Takes the program off and closes the rings; what they hold is served
    /// first. When this returns, another process can have the card.
    pub async fn detach(self, program: &mut impl CardProgram, plane: &Plane) {
        let places = self.places();
        // The device may be gone, and its entries with it.
        let mut failed = program.cards().remove_interface(self.ifindex).err();
        for place in places {
            failed = failed.or(program.cards().remove_socket(place).err());
        }
        if let Some(error) = failed {
            tracing::debug!(event = "card_not_cleared", card = %self.name, %error, "taking the card off the maps");
        }
        let closed: Vec<_> = plane
            .workers()
            .iter()
            .map(|worker| {
                let (done, closed) = oneshot::channel();
                worker.send(Command::RemoveWays(self.ifindex, done));
                closed
            })
            .collect();
        for closed in closed {
            // An error says that the worker ended, and its rings with it.
            let _ = closed.await;
        }
        tracing::info!(event = "card_detached", card = %self.name, "the XDP program is off");
    }
}

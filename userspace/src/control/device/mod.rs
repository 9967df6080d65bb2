//! A device of this process: the protocol core, its TUN device, its sockets.
//!
//! Everything here runs on the control thread. [`Device`] is shared by the
//! tasks that serve it (UAPI, events, timer, link) through a `RefCell`; no
//! borrow is held across an await.

mod events;
mod metrics;
mod serve;
mod target;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;

pub use events::HandshakeCounters;
pub use serve::{Ended, serve};

use super::names::InterfaceName;
use super::nics::Nics;
use super::options::IoMode;
use super::plane::Plane;
use crate::crypto::os_rng;
use crate::datapath::mss::MssClamp;
use crate::datapath::port::{Event, Port, Tunnel};
use crate::datapath::worker::Command;
use crate::net::clock;
use crate::net::tun::{Tun, TunError};
use crate::net::udp::{self, BindError, UdpSockets};
use crate::tunnel::cell::{PeerCell, PeerId};
use crate::tunnel::device::Device as Core;
use crate::tunnel::endpoint::Endpoint;

/// The MTU that a new device gets: Ethernet's 1500 less 80 for IPv6, UDP and
/// WireGuard, what Linux gives its own.
pub const MTU_DEFAULT: u32 = 1420;

/// Why a device could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The TUN device could not be made.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The sockets could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel refused something else.
    #[error("{action}: {source}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A device as the control thread has it.
pub struct Device {
    pub(super) name: InterfaceName,
    pub(super) core: Core,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) tun: Tun,
    pub(super) plane: Rc<Plane>,
    pub(super) nics: Rc<Nics>,
    /// What was asked for; 0 leaves it to the kernel.
    pub(super) listen_port: u16,
    pub(super) fwmark: u32,
    /// Handles to every worker's sockets while the device is up.
    pub(super) sockets: Vec<UdpSockets>,
    pub(super) up: bool,
    pub(super) handshakes: HandshakeCounters,
    /// Address of the metrics endpoint, once it listens.
    pub(super) metrics: Option<SocketAddr>,
    /// Rings when the timer or the outputs may have changed.
    pub(super) changed: Rc<tokio::sync::Notify>,
}

/// What reaches the control thread from the device's other threads.
pub struct Inbox {
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) signals: mpsc::UnboundedReceiver<PeerId>,
}

impl Device {
    /// Makes the TUN device and gives its queues to the workers. The device is
    /// down, without a key or peers.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing is left behind then.
    pub fn create(
        name: InterfaceName,
        plane: &Rc<Plane>,
        nics: &Rc<Nics>,
        (mss, io): (MssClamp, IoMode),
    ) -> Result<(Self, Inbox), DeviceError> {
        let workers = plane.workers().len();
        let mut tun = Tun::create(name.as_str(), workers)?;
        tun.set_mtu(MTU_DEFAULT).map_err(|source| DeviceError::Io {
            action: "cannot set the MTU of the new device",
            source,
        })?;
        // Unbounded, yet bounded: a peer has at most one message per signal
        // under way, since only raising it sends one.
        let (signal, signals) = mpsc::unbounded_channel();
        let notify = move |peer: PeerId| {
            // Fails only when the control thread is gone, with all its devices.
            let _ = signal.send(peer);
        };
        let core = Core::new(clock::boot(), &mut os_rng(), Arc::new(notify));
        let (tunnel, events) = Tunnel::new(
            name.as_str(),
            core.shared(),
            MTU_DEFAULT as usize,
            mss,
            workers,
        );
        let udp_offload = tun.has_udp_offload();
        for (index, queue) in tun.take_queues().into_iter().enumerate() {
            let port = Port::new(&tunnel, index, queue, udp_offload);
            plane.workers()[index].send(Command::Add(Box::new(port)));
        }
        nics.join(&tunnel, io);
        let device = Self {
            name,
            core,
            tunnel,
            tun,
            plane: Rc::clone(plane),
            nics: Rc::clone(nics),
            listen_port: 0,
            fwmark: 0,
            sockets: Vec::new(),
            up: false,
            handshakes: HandshakeCounters::default(),
            metrics: None,
            changed: Rc::default(),
        };
        Ok((device, Inbox { events, signals }))
    }

    /// The name it was created with.
    #[must_use]
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// What all threads share of it.
    #[must_use]
    pub fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// The port in use; while down, the one asked for.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.sockets
            .first()
            .map_or(self.listen_port, UdpSockets::port)
    }

    /// Follows the TUN device: sockets are open while it is up, as in Linux.
    ///
    /// # Errors
    /// The port is taken; the device then stays without sockets.
    pub fn set_up(&mut self, up: bool) -> Result<(), DeviceError> {
        if self.up == up {
            return Ok(());
        }
        self.up = up;
        let bound = if up {
            self.bind(self.listen_port)
        } else {
            self.unbind();
            Ok(())
        };
        self.core.set_up(clock::boot(), up);
        self.pump();
        bound
    }

    /// Follows the TUN device's MTU.
    pub fn set_mtu(&self, mtu: u32) {
        self.tunnel.mtu.store(mtu as usize, Relaxed);
        self.nics.inside_changed();
    }

    /// Opens sockets on `port` and hands them out, in place of those in use.
    fn bind(&mut self, port: u16) -> Result<(), DeviceError> {
        let sockets = UdpSockets::bind(port, self.plane.workers().len(), self.fwmark)?;
        let clone = |s: &UdpSockets| {
            s.try_clone().map_err(|source| DeviceError::Io {
                action: "cannot share the sockets",
                source,
            })
        };
        let kept = sockets.iter().map(clone).collect::<Result<Vec<_>, _>>()?;
        let first = match sockets.first() {
            Some(first) => Some((clone(first)?, clone(first)?)),
            None => None,
        };
        self.listen_port = kept.first().map_or(port, UdpSockets::port);
        self.sockets = kept;
        self.tunnel.set_sockets(first);
        let mut sockets = sockets.into_iter();
        let name = self.tunnel.name.clone();
        self.plane
            .send_all(|_| Command::Sockets(name.clone(), sockets.next().map(Box::new)));
        self.tell_nics();
        self.want_exits();
        Ok(())
    }

    /// Has network cards looked at before the first packet is sent.
    pub(super) fn want_exits(&self) {
        let snapshot = self.tunnel.shared.snapshot();
        self.nics.want_early(&self.tunnel, snapshot.peers.values());
    }

    fn unbind(&mut self) {
        self.sockets.clear();
        self.tunnel.set_sockets(None);
        let name = self.tunnel.name.clone();
        self.plane
            .send_all(|_| Command::Sockets(name.clone(), None));
        self.tell_nics();
    }

    /// What the way of the device's packets depends on.
    pub(super) fn tell_nics(&self) {
        let port = self.sockets.first().map_or(0, UdpSockets::port);
        self.tunnel.port.store(port, Relaxed);
        // In another namespace its index is somebody else's there.
        let here = self.tun.namespace().is_ok_and(|ns| self.nics.is_in(&ns));
        let index = if here {
            self.tun.current_index().unwrap_or(0)
        } else {
            0
        };
        self.nics.configure(&self.tunnel, port, self.fwmark, index);
    }

    /// Changes the port; at once if the device is up.
    ///
    /// # Errors
    /// The port is taken; the old one stays in use.
    pub(super) fn set_listen_port(&mut self, port: u16) -> Result<(), DeviceError> {
        if !self.up {
            self.listen_port = port;
        } else if self.sockets.is_empty() || port != self.port() {
            // Bound before the old ones close: a taken port changes nothing. None
            // are open if the port was taken when the device came up.
            self.bind(port)?;
        }
        Ok(())
    }

    /// Changes the mark of what the sockets send.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN`.
    pub(super) fn set_fwmark(&mut self, mark: u32) -> Result<(), DeviceError> {
        for sockets in &self.sockets {
            sockets.set_fwmark(mark)?;
        }
        self.fwmark = mark;
        // Another mark may mean another way out: as in Linux, no peer is answered
        // from where it was before.
        for cell in self.tunnel.shared.snapshot().peers.values() {
            cell.endpoint.clear_source();
        }
        self.tell_nics();
        Ok(())
    }
}

impl Device {
    /// A local address is gone: no peer is answered from it any more.
    pub(super) fn forget_address(&self, addr: IpAddr) {
        for cell in self.tunnel.shared.snapshot().peers.values() {
            cell.endpoint.clear_source_if(|source| source.addr == addr);
        }
    }

    /// The peers that are answered from a pinned address, and the mark that
    /// decides on their routes.
    pub(super) fn pinned_sources(&self) -> (Vec<(Arc<PeerCell>, Endpoint, udp::Source)>, u32) {
        let snapshot = self.tunnel.shared.snapshot();
        let pinned = snapshot.peers.values().filter_map(|cell| {
            let endpoint = cell.endpoint.get()?;
            let source = endpoint.source?;
            let source = udp::Source {
                addr: source.addr,
                ifindex: source.ifindex,
            };
            Some((Arc::clone(cell), endpoint, source))
        });
        (pinned.collect(), self.fwmark)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unbind();
        self.nics.leave(&self.tunnel);
        let name = self.tunnel.name.clone();
        self.plane.send_all(|_| Command::Remove(name.clone()));
    }
}

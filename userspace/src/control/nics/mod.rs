//! Network cards: which carry the XDP program, and which peers' packets leave
//! by their rings.
//!
//! One [`Nics`] per process, on the control thread:
//!
//! ```text
//! worker: no exit known ─▶ device ─▶ want ─▶ Hops ─▶ hop ─▶ Exit of the peer
//!                                                     └─▶ its card, if it has none:
//!                                                         judge ─ attach ─ rings ─▶ workers
//! netlink ─▶ addresses × ports ─▶ the program's map of what is ours
//! ```
//!
//! The sockets are always there. Whatever goes wrong here is told in
//! [`report`], and the packets go by them.
//!
//! * [`card`]: a card that carries the program.
//! * [`flows`]: which peers use which flow.
//! * [`lan`]: the other side: interfaces with clients.
//! * `beyond`: where packets out of the tunnels go there, past the kernel's stack.
//! * `attaching`, `following`: the work, as routes, links and devices change.
//! * `notices`: what the program logs.
//! * `state`: what is known, and what follows.
//! * [`owner`]: whose a card is, among processes.
//! * [`steer`]: tunnels of others, spread over CPUs.
//! * [`report`]: what `show` and metrics tell of all this.

mod attaching;
mod beyond;
pub mod card;
pub mod flows;
mod following;
pub mod lan;
mod notices;
pub mod owner;
pub mod report;
mod state;
pub mod steer;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use beyond::Beyond;
use lan::Lan;
use state::{Entry, Member, State};

use super::options::{IoMode, XdpOptions};
use super::plane::Plane;
use crate::bpf::FollowedNotices;
use crate::datapath::path::Path;
use crate::datapath::port::Tunnel;
use crate::net::hops::Hops;
use crate::net::netlink::Tables;
use crate::net::netns::Namespace;
use crate::net::nic;
use crate::tunnel::cell::PeerCell;

/// Peers that get a card before they send anything.
const EARLY_MAX: usize = 16;

/// The network cards of this process and namespace.
#[derive(Debug)]
pub struct Nics {
    hops: Hops,
    tables: Tables,
    namespace: Namespace,
    plane: Rc<Plane>,
    options: XdpOptions,
    state: RefCell<State>,
    /// The LAN interfaces.
    lan: RefCell<Lan>,
    /// Destinations on the LAN side.
    beyond: RefCell<Beyond>,
    /// What the program logs, once it is loaded.
    notices: RefCell<Option<FollowedNotices>>,
    /// What is inside the tunnels may have changed since the LAN side was told.
    inside_changed: Cell<bool>,
    /// There may be a card to attach or to let go.
    changed: Notify,
}

impl Nics {
    /// For the calling thread's namespace; within a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn open(plane: &Rc<Plane>, options: XdpOptions) -> io::Result<Self> {
        Ok(Self {
            hops: Hops::open()?,
            tables: Tables::open()?,
            namespace: Namespace::current()?,
            plane: Rc::clone(plane),
            options,
            state: RefCell::default(),
            lan: RefCell::default(),
            beyond: RefCell::default(),
            notices: RefCell::default(),
            inside_changed: Cell::new(false),
            changed: Notify::new(),
        })
    }

    /// Whether it is about this namespace.
    #[must_use]
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        self.namespace == *namespace
    }

    /// A device is there, without a port yet.
    pub fn join(&self, tunnel: &Arc<Tunnel>, mode: IoMode) {
        self.state.borrow_mut().members.push(Member {
            tunnel: Arc::clone(tunnel),
            mode,
            port: 0,
            mark: 0,
            tun: 0,
        });
    }

    /// The device is gone.
    pub fn leave(&self, tunnel: &Arc<Tunnel>) {
        self.forget_flows(tunnel);
        self.forget_beyond(tunnel);
        let mut state = self.state.borrow_mut();
        state.members.retain(|m| !Arc::ptr_eq(&m.tunnel, tunnel));
        state.sync();
        drop(state);
        self.inside_changed();
    }

    /// What the way of its packets depends on has changed. Port 0: it is down.
    pub fn configure(&self, tunnel: &Arc<Tunnel>, port: u16, mark: u32, tun: u32) {
        self.change(tunnel, |member| {
            (member.port, member.mark, member.tun) = (port, mark, tun);
        });
        self.forget_beyond(tunnel);
        self.forwarding_changed();
        self.inside_changed();
    }

    /// What is inside the tunnels, or how large its packets may be, has changed.
    pub fn inside_changed(&self) {
        self.inside_changed.set(true);
        self.changed.notify_one();
    }

    /// Its packets go another way from now on.
    pub fn set_mode(&self, tunnel: &Arc<Tunnel>, mode: IoMode) {
        self.change(tunnel, |member| member.mode = mode);
    }

    fn change(&self, tunnel: &Arc<Tunnel>, change: impl FnOnce(&mut Member)) {
        let cells = self.forget_flows(tunnel);
        {
            let mut state = self.state.borrow_mut();
            if let Some(member) = state.member(tunnel) {
                change(member);
            }
            state
                .cards
                .retain(|_, entry| matches!(entry, Entry::Attached(_)));
            state.sync();
        }
        // Those that were in use are asked for at once: a card may have to be
        // attached, or let go.
        for cell in cells {
            self.want(tunnel, &cell);
        }
        self.changed.notify_one();
    }

    /// Forgets what is known of the ways of its packets.
    fn forget_flows(&self, tunnel: &Arc<Tunnel>) -> Vec<Arc<PeerCell>> {
        let mut all = Vec::new();
        for (flow, cells) in self.state.borrow_mut().flows.remove_of(tunnel) {
            self.hops.forget(&flow);
            for cell in cells {
                Path::of(&cell).set_exit(None);
                all.push(cell);
            }
        }
        all
    }

    /// Finds out how this peer's packets leave, and keeps that true.
    pub fn want(&self, tunnel: &Arc<Tunnel>, cell: &Arc<PeerCell>) {
        let Some(endpoint) = cell.endpoint.get() else {
            return;
        };
        let mut state = self.state.borrow_mut();
        let Some(member) = state.member(tunnel) else {
            return;
        };
        if member.mode == IoMode::Udp || member.port == 0 {
            return;
        }
        let flow = member.flow(&endpoint);
        state.flows.add(flow, tunnel, cell);
        let answer = self.hops.wanted(&flow);
        if state.answered(&flow, &answer) {
            self.changed.notify_one();
        }
    }

    /// Has cards attached for some peers before they send anything.
    pub fn want_early<'a>(
        &self,
        tunnel: &Arc<Tunnel>,
        cells: impl Iterator<Item = &'a Arc<PeerCell>>,
    ) {
        let unknown = cells.filter(|cell| {
            let endpoint = cell.endpoint.get();
            endpoint.is_some_and(|endpoint| Path::of(cell).exit(&endpoint).is_none())
        });
        for cell in unknown.take(EARLY_MAX) {
            self.want(tunnel, cell);
        }
    }
}

/// Whose program is on the interface, as far as the kernel tells.
fn foreign(ifindex: u32) -> String {
    match nic::xdp_program(ifindex) {
        // The kernel tells names to those with CAP_SYS_ADMIN, which a daemon gives up.
        Ok(Some(program)) if program.name.is_empty() => {
            format!("id {}; `ringtun doctor` tells its name", program.id)
        }
        Ok(Some(program)) => format!("id {}, `{}`", program.id, program.name),
        Ok(None) | Err(_) => "`ip link` shows it".to_owned(),
    }
}

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
//! * [`owner`]: whose a card is, among processes.
//! * [`steer`]: tunnels of others, spread over CPUs.
//! * [`report`]: what `show` and metrics tell of all this.

pub mod card;
pub mod flows;
pub mod lan;
pub mod owner;
pub mod report;
pub mod steer;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringtun_common::packet::mapped;
use ringtun_common::tables::{LocalEndpoint, SOCKETS_MAX};
use tokio::sync::Notify;

use card::{Attach, Card, Refusal};
use flows::{Flows, Use};
use lan::Lan;
use owner::{Nic, Owner};

use super::names::InterfaceName;
use super::options::{IoMode, XdpOptions};
use super::plane::Plane;
use crate::bpf::{BpfError, WanProgram};
use crate::datapath::path::{Exit, Path};
use crate::datapath::port::Tunnel;
use crate::net::clock;
use crate::net::hops::{Hops, NoHop};
use crate::net::netlink::{Link, NetEvent, NetEvents, Tables};
use crate::net::netns::Namespace;
use crate::net::nic;
use crate::net::outer::{Flow, Hop, Template};
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::time::BootTime;
use crate::xsk::Transfer;

/// How often flows are looked through: those in use are wanted again, which
/// keeps their neighbours fresh.
const UPKEEP: Duration = Duration::from_secs(10);
/// A card that was refused is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(30);
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
    /// What is inside the tunnels may have changed since the LAN side was told.
    inside_changed: Cell<bool>,
    /// There may be a card to attach or to let go.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    program: Option<WanProgram>,
    cards: BTreeMap<u32, Entry>,
    /// Cards that a flow leads to and that were not looked at yet.
    wanted: BTreeSet<u32>,
    flows: Flows,
    members: Vec<Member>,
    /// Addresses of this host.
    locals: HashSet<IpAddr>,
    /// What the program's map holds.
    endpoints: HashSet<LocalEndpoint>,
    /// A card is being attached or let go.
    busy: bool,
    /// Why tunnels of others are not steered, by place in the options.
    not_steered: BTreeMap<usize, String>,
    /// Why nothing works at all.
    broken: Option<String>,
}

#[derive(Debug)]
enum Entry {
    Attached(Box<Card>),
    Refused {
        name: Arc<str>,
        why: String,
        at: BootTime,
    },
}

/// A device, and what its packets' way depends on.
#[derive(Debug)]
struct Member {
    tunnel: Arc<Tunnel>,
    mode: IoMode,
    port: u16,
    mark: u32,
    /// Index of the TUN device in this namespace; 0 if it is in another.
    tun: u32,
}

impl Member {
    fn flow(&self, endpoint: &Endpoint) -> Flow {
        Flow {
            to: endpoint.addr,
            source: flows::source(endpoint),
            port: self.port,
            mark: self.mark,
            tunnel: self.tun,
        }
    }

    /// Whether it may use that card.
    fn uses(&self, card: &Card) -> bool {
        match self.mode {
            IoMode::Udp => false,
            IoMode::Xdp => true,
            IoMode::Auto => card.transfer == Transfer::ZeroCopy,
        }
    }
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

    /// Does the work, until netlink breaks: then all packets go by the sockets,
    /// and this never returns.
    pub async fn serve(&self) {
        let Err(error) = self.work().await;
        tracing::error!(%error, "the routes cannot be followed any more; packets go by the sockets");
        {
            let mut state = self.state.borrow_mut();
            state.busy = false;
            state.broken = Some(format!("netlink broke: {error}"));
            state.sync();
        }
        self.detach_all().await;
        std::future::pending().await
    }

    async fn work(&self) -> io::Result<std::convert::Infallible> {
        let mut events = NetEvents::open_all()?;
        self.learn_addresses().await?;
        let mut upkeep = tokio::time::interval(UPKEEP);
        loop {
            self.want_wan();
            self.attach_wanted().await?;
            self.detach_unused().await;
            self.tend_lan().await;
            tokio::select! {
                changes = self.hops.changed() => {
                    let changes = changes?;
                    let mut state = self.state.borrow_mut();
                    for change in changes {
                        state.answered(&change.flow, &change.hop);
                    }
                }
                event = events.next() => self.heard(event?).await?,
                () = self.changed.notified() => {}
                _ = upkeep.tick() => self.upkeep().await?,
            }
        }
    }

    async fn heard(&self, event: NetEvent) -> io::Result<()> {
        match event {
            NetEvent::AddressAdded | NetEvent::AddressRemoved { .. } | NetEvent::Lost => {
                self.learn_addresses().await?;
            }
            NetEvent::Link(link) => self.heard_of(link).await,
            NetEvent::LinkRemoved(index) => {
                self.lan.borrow_mut().forget(index);
                self.detach(index).await;
                self.state.borrow_mut().forget_refusal(index);
            }
            NetEvent::RoutesChanged | NetEvent::Neighbour(..) => {}
        }
        Ok(())
    }

    /// Attaches the program to LAN interfaces that came, and tells it what is
    /// inside the tunnels.
    async fn tend_lan(&self) {
        let names = &self.options.lan;
        if names.is_empty() {
            return;
        }
        if self.lan.borrow().is_missing(names) {
            if !self.lan.borrow().has_program() {
                match lan::load().await {
                    Ok(program) => self.lan.borrow_mut().set_program(program),
                    Err(error) => return self.lan.borrow_mut().refuse_all(names, &error),
                }
                self.inside_changed.set(true);
            }
            let devices = self.state.borrow().names();
            self.lan.borrow_mut().attach(
                names,
                &self.options.nics_directory,
                &self.namespace,
                &devices,
            );
        }
        if self.inside_changed.replace(false) {
            let inside = self.state.borrow().inside();
            self.lan.borrow_mut().sync(inside);
        }
    }

    async fn heard_of(&self, link: Link) {
        let outgrown = {
            let mut state = self.state.borrow_mut();
            let State { program, cards, .. } = &mut *state;
            match (program, cards.get_mut(&link.index)) {
                (Some(program), Some(Entry::Attached(card))) => {
                    if let Some(mac) = link.mac
                        && let Err(error) = card.set_mac(program, mac.0)
                    {
                        tracing::warn!(card = %link.name, %error, "its new hardware address is not followed");
                    }
                    card.is_outgrown(link.mtu)
                }
                (_, Some(Entry::Refused { .. })) => {
                    // What stood in the way may have gone.
                    state.forget_refusal(link.index);
                    false
                }
                _ => false,
            }
        };
        if outgrown {
            // Attached anew at once, by the flows that lead to it.
            self.detach(link.index).await;
        }
    }

    async fn learn_addresses(&self) -> io::Result<()> {
        let locals = self.tables.local_addresses().await?;
        let mut state = self.state.borrow_mut();
        state.locals = locals.into_iter().collect();
        state.sync();
        Ok(())
    }

    async fn upkeep(&self) -> io::Result<()> {
        let flows = self.state.borrow().flows.all();
        for flow in flows {
            let mut state = self.state.borrow_mut();
            match state.flows.look(&flow) {
                Use::Nobody => self.hops.forget(&flow),
                Use::Quiet => {}
                Use::Active => {
                    let answer = self.hops.wanted(&flow);
                    state.answered(&flow, &answer);
                }
            }
        }
        let now = clock::boot();
        let attached: Vec<u32> = {
            let mut state = self.state.borrow_mut();
            state.cards.retain(|_, entry| match entry {
                Entry::Refused { at, .. } => now.since(*at) < TRY_AGAIN,
                Entry::Attached(_) => true,
            });
            state.attached().map(|card| card.ifindex()).collect()
        };
        let failed: Vec<u32> = {
            let state = self.state.borrow();
            let failed = state.attached().filter(|card| card.has_failed());
            failed.map(Card::ifindex).collect()
        };
        for index in failed {
            // The kernel goes on to put packets into a ring that nobody empties.
            self.detach(index).await;
        }
        for index in attached {
            // No event tells of another number of queues.
            if let Some(link) = self.tables.link(index).await? {
                self.heard_of(link).await;
            }
        }
        self.lan.borrow_mut().forget_refusals();
        self.renew();
        Ok(())
    }

    /// Applies all answers anew: a card came or went.
    fn renew(&self) {
        let mut state = self.state.borrow_mut();
        state.sync();
        for flow in state.flows.all() {
            if let Some(answer) = self.hops.get(&flow) {
                state.answered(&flow, &answer);
            }
        }
    }

    async fn attach_wanted(&self) -> io::Result<()> {
        loop {
            // Until it is settled `show` says that it is not.
            self.state.borrow_mut().busy = false;
            let Some(index) = self.state.borrow_mut().take_wanted() else {
                return Ok(());
            };
            if self.state.borrow().cards.contains_key(&index) {
                continue;
            }
            // Gone since.
            let Some(link) = self.tables.link(index).await? else {
                continue;
            };
            let attached = self.attach(&link).await;
            let entry = match attached {
                Ok(card) => {
                    tracing::info!(
                        card = %card.name, mode = %card.mode, transfer = %card.transfer,
                        queues = card.queues.len(), "WireGuard data goes through AF_XDP"
                    );
                    Entry::Attached(Box::new(card))
                }
                Err(refusal) => {
                    let by_choice = matches!(refusal, Refusal::Slower { .. } | Refusal::Unknown(_));
                    if by_choice {
                        tracing::info!("packets go by the sockets: {refusal}");
                    } else {
                        tracing::warn!("packets go by the sockets: {refusal}");
                    }
                    Entry::Refused {
                        name: Arc::clone(&link.name),
                        why: refusal.to_string(),
                        // A choice stands until somebody asks for another.
                        at: if by_choice {
                            BootTime::MAX
                        } else {
                            clock::boot()
                        },
                    }
                }
            };
            self.state.borrow_mut().cards.insert(index, entry);
            self.renew();
        }
    }

    async fn attach(&self, link: &Link) -> Result<Card, Refusal> {
        let (asked, names, first_socket) = {
            let state = self.state.borrow();
            (
                state.members.iter().any(|m| m.mode == IoMode::Xdp)
                    || steer::is_asked_for(&self.options.wan, &link.name),
                state.names(),
                state.first_free_place(),
            )
        };
        let attach = Attach {
            link,
            asked,
            options: &self.options,
            plane: &self.plane,
            first_socket,
        };
        let driver = attach.judge()?;
        let nic = Nic {
            namespace: &self.namespace,
            ifindex: link.index,
            name: &link.name,
        };
        let owner = Owner::claim(&self.options.nics_directory, &nic, &names)?;
        let program = self.take_program().await;
        let mut program = program.map_err(|error| Refusal::Bpf {
            name: Arc::clone(&link.name),
            error,
        })?;
        let card = attach.attach(&mut program, driver, owner).await;
        self.state.borrow_mut().program = Some(program);
        card
    }

    /// The program, loaded with the first card: on another thread, as the
    /// kernel's verifier can take a second, and handshakes are not to wait for it.
    async fn take_program(&self) -> Result<WanProgram, BpfError> {
        if let Some(program) = self.state.borrow_mut().program.take() {
            return Ok(program);
        }
        let started = Instant::now();
        let loaded = tokio::task::spawn_blocking(WanProgram::load).await;
        tracing::debug!(took = ?started.elapsed(), "the XDP program is loaded");
        // It can fail to be waited for only by a panic, which goes on here.
        let loaded = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut program = loaded?;
        let refused = steer::apply(&mut program, &self.options.steer);
        self.state.borrow_mut().not_steered = refused;
        Ok(program)
    }

    /// Lets go of the cards that no device may use any more.
    async fn detach_unused(&self) {
        let unused: Vec<u32> = {
            let state = self.state.borrow();
            state.unused(&self.options.wan).map(Card::ifindex).collect()
        };
        for index in unused {
            self.detach(index).await;
        }
    }

    async fn detach_all(&self) {
        let all: Vec<u32> = self.state.borrow().attached().map(Card::ifindex).collect();
        for index in all {
            self.detach(index).await;
        }
    }

    async fn detach(&self, index: u32) {
        let (card, program) = {
            let mut state = self.state.borrow_mut();
            if !matches!(state.cards.get(&index), Some(Entry::Attached(_))) {
                return;
            }
            let Some(Entry::Attached(card)) = state.cards.remove(&index) else {
                return;
            };
            state.busy = true;
            (card, state.program.take())
        };
        // Before the rings close: what is sent from now on goes by the socket.
        self.renew();
        if let Some(mut program) = program {
            card.detach(&mut program, &self.plane).await;
            let mut state = self.state.borrow_mut();
            state.program = Some(program);
            state.sync();
        }
        self.state.borrow_mut().busy = false;
    }
}

impl State {
    fn member(&mut self, tunnel: &Arc<Tunnel>) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.tunnel, tunnel))
    }

    /// A card to look at; it is being looked at from now on.
    fn take_wanted(&mut self) -> Option<u32> {
        let index = self.wanted.pop_first();
        self.busy |= index.is_some();
        index
    }

    fn names(&self) -> Vec<InterfaceName> {
        let names = self.members.iter().map(|m| m.tunnel.name.parse());
        names.filter_map(Result::ok).collect()
    }

    fn attached(&self) -> impl Iterator<Item = &Card> {
        self.cards.values().filter_map(|entry| match entry {
            Entry::Attached(card) => Some(&**card),
            Entry::Refused { .. } => None,
        })
    }

    /// Cards that no device may use any more; not those of `wan`.
    fn unused(&self, wan: &[InterfaceName]) -> impl Iterator<Item = &Card> {
        self.attached().filter(move |card| {
            let used = |m: &Member| m.port != 0 && m.uses(card);
            !self.members.iter().any(used) && !steer::is_asked_for(wan, &card.name)
        })
    }

    fn forget_refusal(&mut self, index: u32) {
        if matches!(self.cards.get(&index), Some(Entry::Refused { .. })) {
            self.cards.remove(&index);
        }
    }

    /// The first of enough free places for any card.
    fn first_free_place(&self) -> u32 {
        let mut taken: Vec<_> = self.attached().map(Card::places).collect();
        taken.sort_by_key(|places| places.start);
        let mut free = 0;
        for places in taken {
            if places.start.saturating_sub(free) >= card::QUEUES_MAX {
                break;
            }
            free = places.end;
        }
        free.min(SOCKETS_MAX)
    }

    /// Tells the peers of this flow how their packets leave. True if there is a
    /// card to look at first.
    fn answered(&mut self, flow: &Flow, answer: &Result<Hop, NoHop>) -> bool {
        let mut news = false;
        if let Ok(hop) = answer
            && !self.cards.contains_key(&hop.ifindex)
            && self.broken.is_none()
        {
            news = self.wanted.insert(hop.ifindex);
        }
        let card = answer
            .as_ref()
            .ok()
            .and_then(|hop| match self.cards.get(&hop.ifindex) {
                Some(Entry::Attached(card)) => Some((hop, card)),
                _ => None,
            });
        for (tunnel, cell, endpoint) in self.flows.users(flow) {
            let member = self
                .members
                .iter()
                .find(|m| Arc::ptr_eq(&m.tunnel, &tunnel));
            let by_ring = card.filter(|(_, card)| member.is_some_and(|m| m.uses(card)));
            let template = by_ring.map(|(hop, _)| Template::new(hop, flow.port, flow.to.port()));
            Path::of(&cell).set_exit(Some(Exit {
                to: endpoint,
                template,
            }));
        }
        news
    }

    /// Makes the program's map hold the addresses and ports of the devices that
    /// use a card, and tells these devices.
    fn sync(&mut self) {
        let mut wanted = HashSet::new();
        for member in &self.members {
            let may = self.broken.is_none() && member.port != 0 && member.mode != IoMode::Udp;
            // Also while there is no card: workers ask for the way to each peer,
            // and that is how one gets here.
            member.tunnel.use_rings(may);
            if may && self.attached().any(|card| member.uses(card)) {
                let endpoint = |ip: &IpAddr| {
                    let address = match ip {
                        IpAddr::V4(ip) => mapped(ip.octets()),
                        IpAddr::V6(ip) => ip.octets(),
                    };
                    LocalEndpoint::new(address, member.port)
                };
                wanted.extend(self.locals.iter().map(endpoint));
            }
        }
        let Some(program) = &mut self.program else {
            // Nothing is attached, or a card is being attached: it syncs after.
            return;
        };
        // What is ours no more goes first: there is only so much room.
        for gone in self.endpoints.difference(&wanted) {
            if let Err(error) = program.remove_endpoint(*gone) {
                tracing::warn!(%error, "an address stays in the XDP program's map");
            }
        }
        let mut there: HashSet<_> = self.endpoints.intersection(&wanted).copied().collect();
        for new in wanted.difference(&self.endpoints) {
            match program.add_endpoint(*new) {
                Ok(()) => {
                    there.insert(*new);
                }
                Err(error) => {
                    tracing::warn!(%error, "an address is not in the XDP program's map: its packets go by the socket");
                }
            }
        }
        self.endpoints = there;
    }
}

/// Whose program is on the interface, as far as the kernel tells.
fn foreign(ifindex: u32) -> String {
    match nic::xdp_program(ifindex) {
        Ok(Some(program)) => format!("id {}, `{}`", program.id, program.name),
        Ok(None) | Err(_) => "`ip link` shows it".to_owned(),
    }
}

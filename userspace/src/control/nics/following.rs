//! Following routes, addresses and links, and what has to be done from time to time.

use std::io;
use std::time::Duration;

use super::card::Card;
use super::flows::Use;
use super::state::{Entry, State};
use super::{Nics, beyond};
use crate::net::clock;
use crate::net::netlink::{Link, NetEvent, NetEvents};

/// How often flows are looked through: those in use are wanted again, which
/// keeps their neighbours fresh.
const UPKEEP: Duration = Duration::from_secs(10);
/// A card that was refused is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(30);

impl Nics {
    /// Does the work, until netlink breaks: then all packets go by the sockets,
    /// and this never returns.
    pub async fn serve(&self) {
        let Err(error) = self.work().await;
        tracing::error!(event = "routes_lost", %error, "the routes cannot be followed any more; packets go by the sockets");
        {
            let mut state = self.state.borrow_mut();
            state.busy = false;
            state.broken = Some(format!("netlink broke: {error}"));
            state.sync();
        }
        self.detach_all().await;
        self.stop_forwarding().await;
        std::future::pending().await
    }

    pub(super) async fn work(&self) -> io::Result<std::convert::Infallible> {
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
                    for change in changes {
                        if beyond::is_beyond(&change.flow) {
                            self.hop_found(&change.flow, &change.hop);
                        } else {
                            let mut state = self.state.borrow_mut();
                            state.answered(&change.flow, &change.hop);
                        }
                    }
                    self.beyond.borrow_mut().publish();
                }
                event = events.next() => self.heard(event?).await?,
                () = self.changed.notified() => {}
                () = self.notices_told() => {}
                _ = upkeep.tick() => self.upkeep().await?,
            }
        }
    }

    pub(super) async fn heard(&self, event: NetEvent) -> io::Result<()> {
        match event {
            NetEvent::AddressAdded | NetEvent::AddressRemoved { .. } | NetEvent::Lost => {
                self.learn_addresses().await?;
            }
            NetEvent::Link(link) => self.heard_of(link).await,
            NetEvent::LinkRemoved(index) => {
                self.detach_lan(index).await;
                self.detach(index).await;
                self.state.borrow_mut().forget_refusal(index);
            }
            NetEvent::RoutesChanged | NetEvent::Neighbour(..) => {}
        }
        Ok(())
    }

    pub(super) async fn heard_of(&self, link: Link) {
        let renewed = self.lan.borrow_mut().heard_of(&link);
        if renewed {
            self.detach_lan(link.index).await;
        }
        let outgrown = {
            let mut state = self.state.borrow_mut();
            let State { program, cards, .. } = &mut *state;
            match (program, cards.get_mut(&link.index)) {
                (Some(program), Some(Entry::Attached(card))) => {
                    if let Some(mac) = link.mac
                        && let Err(error) = card.set_mac(program, mac.0)
                    {
                        tracing::warn!(event = "card_address_stale", card = %link.name, %error, "its new hardware address is not followed");
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

    pub(super) async fn learn_addresses(&self) -> io::Result<()> {
        let locals = self.tables.local_addresses().await?;
        let mut state = self.state.borrow_mut();
        state.locals = locals.into_iter().collect();
        state.sync();
        Ok(())
    }

    pub(super) async fn upkeep(&self) -> io::Result<()> {
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
        let lan: Vec<u32> = self.lan.borrow().cards().map(Card::ifindex).collect();
        let failed: Vec<u32> = {
            let state = self.state.borrow();
            let failed = state.attached().filter(|card| card.has_failed());
            failed.map(Card::ifindex).collect()
        };
        for index in failed {
            // The kernel goes on to put packets into a ring that nobody empties.
            self.detach(index).await;
        }
        for index in attached.into_iter().chain(lan) {
            // No event tells of another number of queues.
            if let Some(link) = self.tables.link(index).await? {
                self.heard_of(link).await;
            }
        }
        self.lan.borrow_mut().forget_refusals();
        self.tend_beyond();
        self.renew();
        Ok(())
    }

    /// Applies all answers anew: a card came or went.
    pub(super) fn renew(&self) {
        let mut state = self.state.borrow_mut();
        state.sync();
        for flow in state.flows.all() {
            if let Some(answer) = self.hops.get(&flow) {
                state.answered(&flow, &answer);
            }
        }
    }
}

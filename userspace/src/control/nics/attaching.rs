//! Attaching the program to cards, and letting them go.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::card::{self, Attach, Card, Refusal};
use super::owner::{Nic, Owner};
use super::state::Entry;
use super::{Nics, steer};
use crate::bpf::{BpfError, WanProgram};
use crate::control::options::IoMode;
use crate::datapath::taps::Side;
use crate::net::clock;
use crate::net::netlink::Link;
use crate::tunnel::time::BootTime;

impl Nics {
    pub(super) async fn attach_wanted(&self) -> io::Result<()> {
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
                        event = "card_attached", card = %card.name, mode = %card.mode, transfer = %card.transfer,
                        queues = card.queues.len(), "WireGuard data goes through AF_XDP"
                    );
                    Entry::Attached(Box::new(card))
                }
                Err(refusal) => {
                    let by_choice = matches!(refusal, Refusal::Slower { .. } | Refusal::Unknown(_));
                    if by_choice {
                        tracing::info!(
                            event = "card_by_sockets",
                            "packets go by the sockets: {refusal}"
                        );
                    } else {
                        tracing::warn!(
                            event = "card_refused",
                            "packets go by the sockets: {refusal}"
                        );
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

    pub(super) async fn attach(&self, link: &Link) -> Result<Card, Refusal> {
        let (asked, names, first_socket) = {
            let state = self.state.borrow();
            (
                state.members.iter().any(|m| m.mode == IoMode::Xdp)
                    || steer::is_asked_for(&self.options.wan, &link.name),
                state.names(),
                card::first_free_place(state.attached()),
            )
        };
        let attach = Attach {
            link,
            asked,
            options: &self.options,
            plane: &self.plane,
            first_socket,
            side: Side::Outer,
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
    pub(super) async fn take_program(&self) -> Result<WanProgram, BpfError> {
        if let Some(program) = self.state.borrow_mut().program.take() {
            return Ok(program);
        }
        let started = Instant::now();
        let loaded = tokio::task::spawn_blocking(WanProgram::load).await;
        tracing::debug!(event = "xdp_loaded", took = ?started.elapsed(), "the XDP program is loaded");
        // It can fail to be waited for only by a panic, which goes on here.
        let loaded = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut program = loaded?;
        self.follow_notices(&mut program);
        let refused = steer::apply(&mut program, &self.options.steer);
        self.state.borrow_mut().not_steered = refused;
        Ok(program)
    }

    /// Lets go of the cards that no device may use any more.
    pub(super) async fn detach_unused(&self) {
        let unused: Vec<u32> = {
            let state = self.state.borrow();
            state.unused(&self.options.wan).map(Card::ifindex).collect()
        };
        for index in unused {
            self.detach(index).await;
        }
    }

    pub(super) async fn detach_all(&self) {
        let all: Vec<u32> = self.state.borrow().attached().map(Card::ifindex).collect();
        for index in all {
            self.detach(index).await;
        }
    }

    pub(super) async fn detach(&self, index: u32) {
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

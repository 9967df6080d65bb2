//! Initiations answered, and their Diffie-Hellman operations alone.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Error, Result};
use ringtun::crypto::{PrivateKey, os_rng};
use ringtun::tunnel::messages::INITIATION_LEN;
use ringtun::tunnel::time::BootTime;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::pass::Part;
use crate::wireguard::{Client, Gateway, at};

/// Handshakes of one pass.
pub const OF_PASS: usize = 16;
/// Longer than a peer has to wait between two initiations.
const APART: Duration = Duration::from_millis(25);

/// Answers initiations of all clients in turn, each as a handshake thread and control do it.
pub struct Answer {
    gateway: Gateway,
    clients: Vec<Client>,
    now: BootTime,
    /// Whose turn is next.
    next: usize,
    waiting: Vec<(usize, [u8; INITIATION_LEN])>,
    refused: Option<Error>,
}

impl Answer {
    /// The clients have sessions already, so that what is computed once for each peer is there.
    pub fn new(gateway: Gateway, clients: Vec<Client>, now: BootTime) -> Answer {
        Answer {
            gateway,
            clients,
            now,
            next: 0,
            waiting: Vec::with_capacity(OF_PASS),
            refused: None,
        }
    }
}

impl Part for Answer {
    fn prepare(&mut self) -> Result<()> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        for _ in 0..OF_PASS {
            let client = &mut self.clients[self.next];
            let (initiation, _) = client.initiate(self.now, 1)?;
            self.waiting.push((self.next, initiation));
            self.next = (self.next + 1) % self.clients.len();
        }
        Ok(())
    }

    fn run(&mut self) {
        for (client, initiation) in self.waiting.drain(..) {
            self.now = self.now + APART;
            let from = self.clients[client].address;
            match black_box(self.gateway.answer(at(self.now), from, &initiation)) {
                Ok(_) => {}
                Err(error) => self.refused = Some(error),
            }
        }
    }
}

/// What a responder cannot do without: the public half of a new key, and Diffie-Hellman of both its
/// keys with the initiator's new one and of the new one with the initiator's own. What both static
/// keys agree on is known from before.
pub struct Bare {
    ours: StaticSecret,
    new: StaticSecret,
    theirs: PublicKey,
    their_new: PublicKey,
}

impl Bare {
    /// With keys of its own.
    pub fn new() -> Bare {
        let secret = || StaticSecret::from(*PrivateKey::generate(&mut os_rng()).expose());
        Bare {
            ours: secret(),
            new: secret(),
            theirs: PublicKey::from(&secret()),
            their_new: PublicKey::from(&secret()),
        }
    }
}

impl Part for Bare {
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn run(&mut self) {
        for _ in 0..OF_PASS {
            let keys = black_box(&*self);
            black_box(keys.ours.diffie_hellman(&keys.their_new));
            black_box(PublicKey::from(&keys.new));
            black_box(keys.new.diffie_hellman(&keys.their_new));
            black_box(keys.new.diffie_hellman(&keys.theirs));
        }
    }
}

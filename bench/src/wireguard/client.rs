//! The far end of a tunnel: keys and handshakes, nothing that takes memory or time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use ringtun::crypto::aead::TAG_LEN;
use ringtun::crypto::{PresharedKey, PrivateKey, PublicKey, os_rng};
use ringtun::tunnel::cookie::CookieJar;
use ringtun::tunnel::messages::{DATA_HEADER_LEN, DataHeader, INITIATION_LEN, Response};
use ringtun::tunnel::noise::{Identity, PeerKeys, SentInitiation, SessionKeys, initiate};
use ringtun::tunnel::tai64n::Tai64n;
use ringtun::tunnel::time::BootTime;

/// One client of a gateway.
pub struct Client {
    identity: Identity,
    gateway: PeerKeys,
    jar: CookieJar,
    /// Of the last initiation.
    timestamp: Tai64n,
    /// Where it is.
    pub address: SocketAddr,
}

impl Client {
    /// A client with a new key.
    pub fn new(gateway: &PublicKey, address: SocketAddr) -> Result<Client> {
        let identity = Identity::new(PrivateKey::generate(&mut os_rng()));
        Ok(Client {
            gateway: PeerKeys::new(&identity, *gateway, PresharedKey::none())?,
            identity,
            jar: CookieJar::default(),
            timestamp: Tai64n::ZERO,
            address,
        })
    }

    /// Who it is.
    pub fn public(&self) -> &PublicKey {
        self.identity.public()
    }

    /// The next initiation; `index` is where its data shall go.
    pub fn initiate(
        &mut self,
        now: BootTime,
        index: u32,
    ) -> Result<([u8; INITIATION_LEN], SentInitiation)> {
        self.timestamp = self.timestamp.successor();
        let (mut message, sent) = initiate(
            &self.identity,
            &self.gateway,
            index,
            self.timestamp,
            &mut os_rng(),
        )?;
        self.jar.stamp(now, &self.gateway, &mut message);
        Ok((message, sent))
    }

    /// Takes the answer.
    pub fn accept(&self, sent: &SentInitiation, response: &[u8]) -> Result<Session> {
        let response = Response::new(response).context("a response")?;
        Ok(Session {
            keys: sent.accept(&self.identity, &self.gateway, &response)?,
            next: AtomicU64::new(0),
        })
    }
}

/// A session as the client has it; threads may share it.
pub struct Session {
    keys: SessionKeys,
    next: AtomicU64,
}

impl Session {
    /// Takes `n` counters; the first is returned.
    pub fn reserve(&self, n: u64) -> u64 {
        self.next.fetch_add(n, Relaxed)
    }

    /// Seals a packet that has room for header and tag around its text.
    pub fn seal(&self, counter: u64, packet: &mut [u8]) {
        let header = DataHeader {
            receiver: self.keys.remote_index,
            counter,
        };
        packet[..DATA_HEADER_LEN].copy_from_slice(&header.to_bytes());
        let text = DATA_HEADER_LEN..packet.len() - TAG_LEN;
        let tag = self
            .keys
            .send
            .seal_in_place(counter, &mut packet[text.clone()]);
        packet[text.end..].copy_from_slice(&tag);
    }

    /// Opens a packet of the gateway: its counter, and what is inside.
    pub fn open<'a>(&self, packet: &'a mut [u8]) -> Result<(u64, &'a [u8])> {
        let header = DataHeader::read(packet).context("a data packet")?;
        let body = &mut packet[DATA_HEADER_LEN..];
        let text = self.keys.receive.open_in_place(header.counter, body)?;
        Ok((header.counter, text))
    }
}

//! MAC1, MAC2 and cookies: proof of address before Diffie-Hellman when under
//! load (WireGuard paper sections 5.3, 5.4.4 and 5.4.7).
//!
//! Every handshake message ends with MAC1 and MAC2. MAC1 is keyed with the
//! receiver's public key and shows that the sender knows to whom it speaks.
//! Under load the receiver answers a message without a valid MAC2 with a cookie,
//! a MAC over the sender's address and port; the sender's next message carries
//! MAC2 keyed with it.

use super::messages::{COOKIE_REPLY_LEN, CookieReply, MACS_LEN, TYPE_COOKIE_REPLY};
use super::noise::{Identity, NoiseError, PeerKeys};
use super::time::BootTime;
use crate::crypto::aead::{TAG_LEN, XNONCE_LEN, xopen, xseal};
use crate::crypto::hash::{self, HASH_LEN, MAC_LEN};
use crate::crypto::{PublicKey, Secret};
use rand_core::CryptoRng;
use std::net::{IpAddr, SocketAddr};
use std::sync::RwLock;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// A checker changes its secret when it is this old.
pub const SECRET_MAX_AGE: Duration = Duration::from_secs(120);
/// A jar uses a cookie for this long: 5 s less, for the way and for drift.
pub const COOKIE_MAX_AGE: Duration = Duration::from_secs(115);

/// The key of MAC1 on messages to the holder of `public`.
#[must_use]
pub fn mac1_key(public: &PublicKey) -> [u8; HASH_LEN] {
    hash::hash(&[b"mac1----", public.as_bytes()])
}

/// The key that seals the cookies of the holder of `public`.
#[must_use]
pub fn cookie_key(public: &PublicKey) -> [u8; HASH_LEN] {
    hash::hash(&[b"cookie--", public.as_bytes()])
}

/// A handshake message up to MAC1, MAC1, and MAC2.
fn split_macs(message: &[u8]) -> Option<(&[u8], &[u8; MAC_LEN], &[u8; MAC_LEN])> {
    let (rest, mac2) = message.split_last_chunk()?;
    let (body, mac1) = rest.split_last_chunk()?;
    Some((body, mac1, mac2))
}

/// Whether a handshake message carries the MAC1 of messages to `identity`.
#[must_use]
pub fn check_mac1(identity: &Identity, message: &[u8]) -> bool {
    split_macs(message)
        .is_some_and(|(body, mac1, _)| hash::mac(identity.mac1_key(), &[body]).ct_eq(mac1).into())
}

/// The cookies that we give: a secret that rotates, and nothing per source.
/// Shared by all handshake threads.
pub struct CookieChecker {
    secret: RwLock<RotatingSecret>,
}

struct RotatingSecret {
    key: Secret<HASH_LEN>,
    born: BootTime,
}

impl RotatingSecret {
    fn new(now: BootTime, rng: &mut impl CryptoRng) -> Self {
        let mut key = Secret::zeroed();
        rng.fill_bytes(key.expose_mut());
        Self { key, born: now }
    }

    fn is_fresh(&self, now: BootTime) -> bool {
        now.since(self.born) < SECRET_MAX_AGE
    }
}

impl CookieChecker {
    /// A checker with a new secret.
    #[must_use]
    pub fn new(now: BootTime, rng: &mut impl CryptoRng) -> Self {
        Self {
            secret: RwLock::new(RotatingSecret::new(now, rng)),
        }
    }

    /// Whether `message`, received from `from`, carries a MAC2 by the cookie
    /// that `from` would be given now.
    #[must_use]
    pub fn check_mac2(
        &self,
        now: BootTime,
        from: SocketAddr,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Some((body, mac2)) = message.split_last_chunk::<MAC_LEN>() else {
            return false;
        };
        // Who has no cookie sends zeroes. They are not secret, and a flood of
        // them is not worth two hashes each.
        if *mac2 == [0; MAC_LEN] {
            return false;
        }
        let cookie = self.cookie(now, from, rng);
        hash::mac(cookie.expose(), &[body]).ct_eq(mac2).into()
    }

    /// The cookie reply to `message`, a handshake message whose sender's index
    /// is `sender`: 64 bytes, fewer than either handshake message has.
    ///
    /// The nonce is drawn from `nonces`, a new secret, if one is due, from `rng`.
    /// `None` if the message is too short to have a MAC1.
    #[must_use]
    pub fn reply(
        &self,
        now: BootTime,
        identity: &Identity,
        from: SocketAddr,
        message: &[u8],
        nonces: &mut impl CryptoRng,
        rng: &mut impl CryptoRng,
    ) -> Option<[u8; COOKIE_REPLY_LEN]> {
        let (body, mac1, _) = split_macs(message)?;
        let sender: &[u8; 4] = body.get(4..)?.first_chunk()?;
        let cookie = self.cookie(now, from, rng);
        let mut nonce = [0; XNONCE_LEN];
        nonces.fill_bytes(&mut nonce);

        let mut reply = [0; COOKIE_REPLY_LEN];
        reply[..4].copy_from_slice(&TYPE_COOKIE_REPLY);
        reply[4..8].copy_from_slice(sender);
        reply[8..32].copy_from_slice(&nonce);
        let (sealed, tag) = reply[32..].split_at_mut(MAC_LEN);
        sealed.copy_from_slice(cookie.expose());
        tag.copy_from_slice(&xseal(identity.cookie_key(), &nonce, mac1, sealed));
        Some(reply)
    }

    /// The cookie of an address and port: a MAC by the secret of the day.
    fn cookie(&self, now: BootTime, from: SocketAddr, rng: &mut impl CryptoRng) -> Secret<MAC_LEN> {
        if let Some(cookie) = self.fresh_cookie(now, from) {
            return cookie;
        }
        let mut secret = self.secret.write().unwrap_or_else(|e| e.into_inner());
        // Another thread may have been faster.
        if !secret.is_fresh(now) {
            *secret = RotatingSecret::new(now, rng);
        }
        cookie_of(&secret.key, from)
    }

    fn fresh_cookie(&self, now: BootTime, from: SocketAddr) -> Option<Secret<MAC_LEN>> {
        let secret = self.secret.read().unwrap_or_else(|e| e.into_inner());
        secret.is_fresh(now).then(|| cookie_of(&secret.key, from))
    }
}

impl std::fmt::Debug for CookieChecker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieChecker(..)")
    }
}

fn cookie_of(key: &Secret<HASH_LEN>, from: SocketAddr) -> Secret<MAC_LEN> {
    let port = from.port().to_be_bytes();
    // An IPv4 peer on a dual-stack socket is the same peer.
    let mac = match from.ip().to_canonical() {
        IpAddr::V4(ip) => hash::mac(key.expose(), &[&ip.octets(), &port]),
        IpAddr::V6(ip) => hash::mac(key.expose(), &[&ip.octets(), &port]),
    };
    Secret::copy_of(&mac)
}

/// A cookie that a peer gave us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie(Secret<MAC_LEN>);

impl Cookie {
    /// Opens a cookie reply of `peer` to the message that carried `mac1`.
    ///
    /// # Errors
    /// [`NoiseError::Auth`]: it is not by this peer, or not to that message.
    pub fn open(
        peer: &PeerKeys,
        mac1: &[u8; MAC_LEN],
        reply: &CookieReply<'_>,
    ) -> Result<Self, NoiseError> {
        let (cookie, tag) = reply.sealed_cookie().split_at(MAC_LEN);
        let tag: &[u8; TAG_LEN] = tag.try_into().map_err(|_| NoiseError::Auth)?;
        let mut opened = Secret::<MAC_LEN>::zeroed();
        opened.expose_mut().copy_from_slice(cookie);
        xopen(
            peer.cookie_key(),
            reply.nonce(),
            mac1,
            opened.expose_mut(),
            tag,
        )
        .map_err(|_| NoiseError::Auth)?;
        Ok(Self(opened))
    }
}

/// What one peer's handshake messages need: the cookie that it gave us, and the
/// MAC1 of the last message, which a cookie reply must answer.
#[derive(Debug, Default)]
pub struct CookieJar {
    cookie: Option<(Cookie, BootTime)>,
    last_mac1: Option<[u8; MAC_LEN]>,
}

impl CookieJar {
    /// Completes a handshake message to `peer` with MAC1 and, while there is a
    /// cookie of at most 115 s, MAC2.
    pub fn stamp<const N: usize>(&mut self, now: BootTime, peer: &PeerKeys, message: &mut [u8; N]) {
        const { assert!(N > MACS_LEN, "a handshake message ends with two MACs") };
        let (body, macs) = message.split_at_mut(N - MACS_LEN);
        let mac1 = hash::mac(peer.mac1_key(), &[body]);
        macs[..MAC_LEN].copy_from_slice(&mac1);
        self.last_mac1 = Some(mac1);
        let mac2 = match self.fresh(now) {
            Some(cookie) => hash::mac(cookie.0.expose(), &[body, &mac1]),
            None => [0; MAC_LEN],
        };
        macs[MAC_LEN..].copy_from_slice(&mac2);
    }

    /// The MAC1 of the last message, while no cookie reply has answered it.
    #[must_use]
    pub fn awaiting(&self) -> Option<&[u8; MAC_LEN]> {
        self.last_mac1.as_ref()
    }

    /// Takes a cookie reply: opens and stores it. One that does not open
    /// changes nothing.
    ///
    /// # Errors
    /// [`NoiseError::Mismatch`] if no message awaits one, else
    /// [`NoiseError::Auth`].
    pub fn receive(
        &mut self,
        now: BootTime,
        peer: &PeerKeys,
        reply: &CookieReply<'_>,
    ) -> Result<(), NoiseError> {
        let mac1 = self.last_mac1.as_ref().ok_or(NoiseError::Mismatch)?;
        let cookie = Cookie::open(peer, mac1, reply)?;
        self.store(now, cookie);
        Ok(())
    }

    /// Stores a cookie that was opened elsewhere with [`Self::awaiting`]; each
    /// message takes one reply.
    pub fn store(&mut self, now: BootTime, cookie: Cookie) {
        self.cookie = Some((cookie, now));
        self.last_mac1 = None;
    }

    /// The cookie, if it may still be used.
    fn fresh(&mut self, now: BootTime) -> Option<&Cookie> {
        if let Some((_, at)) = &self.cookie
            && now.since(*at) > COOKIE_MAX_AGE
        {
            self.cookie = None;
        }
        self.cookie.as_ref().map(|(cookie, _)| cookie)
    }
}

#[cfg(test)]
mod tests;

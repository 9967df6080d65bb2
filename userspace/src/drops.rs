//! Every packet that ringtun does not deliver is counted under one of these.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a packet was not delivered. The label is the Prometheus label and
        /// the name in `ringtun show`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The label in metrics, `show` and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

drop_reasons! {
    /// No WireGuard message has this type and length.
    Malformed = "malformed",
    /// No private key is set, so nothing can be received or sent.
    NoIdentity = "no-identity",
    /// A handshake message whose MAC1 is not for our public key.
    BadMac1 = "bad-mac1",
    /// Under load, a handshake message without a valid MAC2: answered with a cookie.
    CookieRequired = "cookie-required",
    /// Under load, more initiations per second from this source than allowed.
    RateLimited = "rate-limited",
    /// The queue towards the handshake threads was full.
    HandshakeQueueFull = "handshake-queue-full",
    /// A handshake message that does not authenticate.
    HandshakeAuth = "handshake-auth",
    /// An initiation by a static key that is no peer of ours.
    UnknownPeer = "unknown-peer",
    /// An initiation whose TAI64N timestamp is not greater than the last.
    TimestampReplay = "timestamp-replay",
    /// A peer sent more than 50 initiations in a second.
    InitiationFlood = "initiation-flood",
    /// A response or cookie reply to no initiation that is under way.
    UnexpectedReply = "unexpected-reply",
    /// A Diffie-Hellman result of zero: one of the low-order public keys.
    LowOrderKey = "low-order-key",
    /// The configuration changed while the handshake was computed.
    HandshakeSuperseded = "handshake-superseded",
    /// All 262,144 receiver indices are taken.
    IndicesExhausted = "indices-exhausted",
    /// A data packet for a receiver index that nobody holds.
    UnknownIndex = "unknown-index",
    /// A data packet under a key older than 180 s or past its message limit.
    KeyExpired = "key-expired",
    /// A data packet that does not authenticate.
    DataAuth = "data-auth",
    /// A data packet that was received before, or is older than the window.
    Replay = "replay",
    /// The decrypted packet is neither IPv4 nor IPv6, or shorter than it says.
    InnerMalformed = "inner-malformed",
    /// The inner source address is not among the sender's AllowedIPs.
    SourceNotAllowed = "source-not-allowed",
    /// Congestion was marked outside on a packet that cannot carry the mark (RFC 6040).
    EcnNotCapable = "ecn-not-capable",
    /// The TUN device took no more packets.
    TunFull = "tun-full",
    /// Writing to the TUN device failed.
    TunError = "tun-error",
    /// A LAN network card took no more packets.
    LanFull = "lan-full",
    /// The inner destination is in no peer's AllowedIPs.
    NoPeerForDestination = "no-peer-for-destination",
    /// A packet from the TUN device is neither IPv4 nor IPv6, or shorter than it says.
    OutboundMalformed = "outbound-malformed",
    /// The peer has no endpoint yet.
    NoEndpoint = "no-endpoint",
    /// More than 128 packets waited for the peer's handshake.
    StagedOverflow = "staged-overflow",
    /// Packets that waited for a handshake that was given up, or for a removed peer.
    StagedPurged = "staged-purged",
    /// The key's last nonce was used.
    NonceLimit = "nonce-limit",
    /// The UDP socket's send buffer stayed full.
    SocketFull = "socket-full",
    /// The kernel refused to send (no route, unreachable, too big).
    SocketError = "socket-error",
    /// No free frame was left.
    NoFrame = "no-frame",
    /// Too many batches of one peer were under way.
    LaneFull = "lane-full",
    /// A datagram longer than a frame.
    Oversize = "oversize",
}

/// One counter per [`DropReason`]; each worker and thread owns one set, and
/// whoever reads adds them up.
#[derive(Debug)]
pub struct DropCounters([AtomicU64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl DropCounters {
    /// Counts `n` packets dropped for `reason`.
    pub fn add(&self, reason: DropReason, n: u64) {
        self.0[reason as usize].fetch_add(n, Relaxed);
    }

    /// Counts one packet dropped for `reason`.
    pub fn count(&self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Packets dropped for `reason` so far.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_and_indices_match() {
        let labels: HashSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }
}

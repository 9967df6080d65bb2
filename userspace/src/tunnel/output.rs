//! What the core wants done.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::cell::PeerCell;
use super::endpoint::Endpoint;
use super::initiation::InitiationJob;
use super::keypair::Role;
use super::messages::{INITIATION_LEN, RESPONSE_LEN};

/// The TOS byte of handshake messages: DSCP AF41, as Linux sends them.
pub const HANDSHAKE_TOS: u8 = 0x88;

/// What the control thread is to do for the core.
#[derive(Debug)]
pub enum Output {
    /// Run the job on a handshake thread and hand the result back.
    Initiate(InitiationJob),
    /// Send a handshake message with [`HANDSHAKE_TOS`].
    Send {
        /// The peer it is for.
        cell: Arc<PeerCell>,
        /// Where to, and from where.
        to: Endpoint,
        /// The UDP payload.
        bytes: HandshakeBytes,
    },
    /// Send what is staged, with the current key: it just became usable, or a
    /// keepalive is due.
    Flush {
        /// To whom.
        cell: Arc<PeerCell>,
        /// If nothing is staged, send an empty packet. As the first packet of
        /// a session it tells the responder that it may use it.
        keepalive: bool,
    },
    /// Staged packets were dropped; count them.
    Purged {
        /// For whom they were.
        cell: Arc<PeerCell>,
        /// The packets.
        packets: VecDeque<Box<[u8]>>,
    },
    /// Something worth a log line or a counter.
    Event {
        /// With whom it happened.
        cell: Arc<PeerCell>,
        /// What happened.
        event: PeerEvent,
    },
}

/// A handshake message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeBytes {
    /// Type 1.
    Initiation(Box<[u8; INITIATION_LEN]>),
    /// Type 2.
    Response(Box<[u8; RESPONSE_LEN]>),
}

impl HandshakeBytes {
    /// The UDP payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Initiation(bytes) => &**bytes,
            Self::Response(bytes) => &**bytes,
        }
    }
}

/// What happened with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// An initiation was sent; `attempt` 0 is the first of a series.
    InitiationSent {
        /// Retransmissions so far.
        attempt: u32,
    },
    /// A response was sent.
    ResponseSent,
    /// A session can be used.
    HandshakeComplete {
        /// Which side we were.
        role: Role,
    },
    /// That session took the place of one that was still good.
    Rekeyed,
    /// No response to 20 initiations.
    HandshakeGaveUp,
    /// Data was sent and nothing came back for 15 s.
    StoppedAnswering,
    /// The peer speaks from another address.
    Roamed {
        /// The new one.
        to: SocketAddr,
    },
    /// The peer is under load and wants a cookie first.
    CookieReceived,
    /// No session was made for 540 s; the keys were overwritten.
    KeysZeroed,
}

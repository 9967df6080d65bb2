//! WireGuard's four messages on the wire (paper sections 5.4.2 to 5.4.7).
//!
//! ```text
//! initiation   type 1 | sender 4 | ephemeral 32 | static 32+16 | timestamp 12+16 | mac1 16 | mac2 16    148 B
//! response     type 2 | sender 4 | receiver 4 | ephemeral 32 | empty 0+16 | mac1 16 | mac2 16            92 B
//! cookie reply type 3 | receiver 4 | nonce 24 | cookie 16+16                                             64 B
//! data         type 4 | receiver 4 | counter 8 | packet n+16                                          ≥ 32 B
//! ```
//!
//! The type is one byte and three zero bytes; integers are little endian.

use crate::crypto::aead::{TAG_LEN, XNONCE_LEN};
use crate::crypto::hash::MAC_LEN;
use crate::crypto::{KEY_LEN, PublicKey};
use crate::drops::DropReason;
use crate::tunnel::tai64n::TAI64N_LEN;

/// Bytes of a handshake initiation.
pub const INITIATION_LEN: usize = 148;
/// Bytes of a handshake response.
pub const RESPONSE_LEN: usize = 92;
/// Bytes of a cookie reply.
pub const COOKIE_REPLY_LEN: usize = 64;
/// Bytes in front of the sealed packet of a data message.
pub const DATA_HEADER_LEN: usize = 16;
/// Bytes of a data message without a packet inside: a keepalive.
pub const KEEPALIVE_LEN: usize = DATA_HEADER_LEN + TAG_LEN;
/// Bytes of MAC1 and MAC2 together, the end of both handshake messages.
pub const MACS_LEN: usize = 2 * MAC_LEN;
/// Bytes of a sealed static key.
pub const SEALED_STATIC_LEN: usize = KEY_LEN + TAG_LEN;
/// Bytes of a sealed timestamp.
pub const SEALED_TIMESTAMP_LEN: usize = TAI64N_LEN + TAG_LEN;
/// Bytes of a sealed cookie.
pub const SEALED_COOKIE_LEN: usize = MAC_LEN + TAG_LEN;

/// The first four bytes of an initiation.
pub const TYPE_INITIATION: [u8; 4] = [1, 0, 0, 0];
/// The first four bytes of a response.
pub const TYPE_RESPONSE: [u8; 4] = [2, 0, 0, 0];
/// The first four bytes of a cookie reply.
pub const TYPE_COOKIE_REPLY: [u8; 4] = [3, 0, 0, 0];
/// The first four bytes of a data message.
pub const TYPE_DATA: [u8; 4] = [4, 0, 0, 0];

/// The `N` bytes at `at`; both are constants inside the message's length.
fn field<const N: usize>(message: &[u8], at: usize) -> &[u8; N] {
    message[at..]
        .first_chunk()
        .expect("every field lies inside its message")
}

/// A datagram of the shape of one of the four messages; nothing is verified yet.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Type 1.
    Initiation(Initiation<'a>),
    /// Type 2.
    Response(Response<'a>),
    /// Type 3.
    CookieReply(CookieReply<'a>),
    /// Type 4.
    Data(DataHeader),
}

impl<'a> Message<'a> {
    /// Tells by type, three zero bytes and length what `datagram` is.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if it is none of the four.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let kind = *datagram.first_chunk().ok_or(DropReason::Malformed)?;
        let message = match kind {
            TYPE_INITIATION => Initiation::new(datagram).map(Self::Initiation),
            TYPE_RESPONSE => Response::new(datagram).map(Self::Response),
            TYPE_COOKIE_REPLY => CookieReply::new(datagram).map(Self::CookieReply),
            TYPE_DATA => DataHeader::read(datagram).map(Self::Data),
            _ => None,
        };
        message.ok_or(DropReason::Malformed)
    }
}

macro_rules! message_view {
    ($(#[$doc:meta])* $name:ident, $len:ident, $kind:ident, {
        $($(#[$field_doc:meta])* $field:ident: $n:expr, $at:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a>(&'a [u8; $len]);

        impl<'a> $name<'a> {
            /// A view of `bytes`, if they have the type and length of this message.
            #[must_use]
            pub fn new(bytes: &'a [u8]) -> Option<Self> {
                let bytes: &[u8; $len] = bytes.try_into().ok()?;
                bytes.starts_with(&$kind).then_some(Self(bytes))
            }

            /// The whole message.
            #[must_use]
            pub fn as_bytes(&self) -> &'a [u8; $len] {
                self.0
            }

            $($(#[$field_doc])*
            #[must_use]
            pub fn $field(&self) -> &'a [u8; $n] {
                const { assert!($at + $n <= $len) };
                field(self.0, $at)
            })*
        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

message_view! {
    /// A handshake initiation.
    Initiation, INITIATION_LEN, TYPE_INITIATION, {
        /// The sender's index in wire order; see [`Self::sender`].
        sender_bytes: 4, 4;
        /// The ephemeral public key, unencrypted.
        ephemeral_bytes: KEY_LEN, 8;
        /// The initiator's static public key, sealed.
        sealed_static: SEALED_STATIC_LEN, 40;
        /// The TAI64N timestamp, sealed.
        sealed_timestamp: SEALED_TIMESTAMP_LEN, 88;
        /// MAC by the receiver's public key.
        mac1: MAC_LEN, 116;
        /// MAC by a cookie, or zeros.
        mac2: MAC_LEN, 132;
    }
}

impl Initiation<'_> {
    /// The index by which the initiator wants to be answered.
    #[must_use]
    pub fn sender(&self) -> u32 {
        u32::from_le_bytes(*self.sender_bytes())
    }

    /// The initiator's ephemeral public key.
    #[must_use]
    pub fn ephemeral(&self) -> PublicKey {
        PublicKey::from_bytes(*self.ephemeral_bytes())
    }
}

message_view! {
    /// A handshake response.
    Response, RESPONSE_LEN, TYPE_RESPONSE, {
        /// The sender's index in wire order; see [`Self::sender`].
        sender_bytes: 4, 4;
        /// The receiver's index in wire order; see [`Self::receiver`].
        receiver_bytes: 4, 8;
        /// The ephemeral public key, unencrypted.
        ephemeral_bytes: KEY_LEN, 12;
        /// Nothing, sealed.
        sealed_empty: TAG_LEN, 44;
        /// MAC by the receiver's public key.
        mac1: MAC_LEN, 60;
        /// MAC by a cookie, or zeros.
        mac2: MAC_LEN, 76;
    }
}

impl Response<'_> {
    /// The responder's index for the new session.
    #[must_use]
    pub fn sender(&self) -> u32 {
        u32::from_le_bytes(*self.sender_bytes())
    }

    /// The index of the initiation that this answers.
    #[must_use]
    pub fn receiver(&self) -> u32 {
        u32::from_le_bytes(*self.receiver_bytes())
    }

    /// The responder's ephemeral public key.
    #[must_use]
    pub fn ephemeral(&self) -> PublicKey {
        PublicKey::from_bytes(*self.ephemeral_bytes())
    }
}

message_view! {
    /// A cookie reply.
    CookieReply, COOKIE_REPLY_LEN, TYPE_COOKIE_REPLY, {
        /// The receiver's index in wire order; see [`Self::receiver`].
        receiver_bytes: 4, 4;
        /// The nonce of XChaCha20-Poly1305.
        nonce: XNONCE_LEN, 8;
        /// The cookie, sealed with the MAC1 that it answers as associated data.
        sealed_cookie: SEALED_COOKIE_LEN, 32;
    }
}

impl CookieReply<'_> {
    /// The index of the handshake message that this answers.
    #[must_use]
    pub fn receiver(&self) -> u32 {
        u32::from_le_bytes(*self.receiver_bytes())
    }
}

/// The 16 bytes in front of a sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// The receiver's index of the session.
    pub receiver: u32,
    /// The nonce under the session's key.
    pub counter: u64,
}

impl DataHeader {
    /// Reads the header of a data message of at least [`KEEPALIVE_LEN`] bytes.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        if datagram.len() < KEEPALIVE_LEN || !datagram.starts_with(&TYPE_DATA) {
            return None;
        }
        Some(Self {
            receiver: u32::from_le_bytes(*field(datagram, 4)),
            counter: u64::from_le_bytes(*field(datagram, 8)),
        })
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DATA_HEADER_LEN] {
        let mut bytes = [0; DATA_HEADER_LEN];
        bytes[..4].copy_from_slice(&TYPE_DATA);
        bytes[4..8].copy_from_slice(&self.receiver.to_le_bytes());
        bytes[8..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;

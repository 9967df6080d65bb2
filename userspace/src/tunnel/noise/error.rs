//! Why handshakes fail.

use crate::crypto::LowOrder;
use crate::drops::DropReason;

/// Why a handshake message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A Diffie-Hellman result of zero.
    #[error("a low-order public key")]
    LowOrder,
    /// Something sealed does not open.
    #[error("the message does not authenticate")]
    Auth,
    /// The message is by or for somebody else than the caller says.
    #[error("the message belongs to another handshake")]
    Mismatch,
}

impl From<LowOrder> for NoiseError {
    fn from(_: LowOrder) -> Self {
        Self::LowOrder
    }
}

impl From<NoiseError> for DropReason {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::LowOrder => Self::LowOrderKey,
            NoiseError::Auth => Self::HandshakeAuth,
            NoiseError::Mismatch => Self::UnexpectedReply,
        }
    }
}

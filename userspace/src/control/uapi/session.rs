//! One `set`: turns its lines into operations on the device.

use super::parser::{PeerLine, SetLine};
use super::target::{SetOp, UapiTarget};
use crate::control::errno::Errno;
use crate::crypto::PublicKey;

/// What the lines after a `public_key` are about.
enum Peer {
    /// It exists.
    Existing(PublicKey),
    /// It was made by this `set`, under this `public_key` line.
    Created(PublicKey),
    /// It does not exist, and is made by the next line about it that is
    /// neither `remove` nor `update_only`, or by the end.
    Missing(PublicKey),
    /// Lines about it are checked and then forgotten: it was removed, or it is
    /// missing and only to be updated, or it is the device itself.
    Ignored,
}

/// The state of one `set` between its lines.
pub struct SetSession {
    peer: Peer,
}

impl Default for SetSession {
    fn default() -> Self {
        Self {
            peer: Peer::Ignored,
        }
    }
}

impl SetSession {
    /// Does what one line asks for.
    ///
    /// # Errors
    /// What the device says.
    pub fn line(&mut self, target: &mut impl UapiTarget, line: SetLine) -> Result<(), Errno> {
        match line {
            SetLine::PrivateKey(key) => target.apply(SetOp::PrivateKey(key)),
            SetLine::ListenPort(port) => target.apply(SetOp::ListenPort(port)),
            SetLine::FwMark(mark) => target.apply(SetOp::FwMark(mark)),
            SetLine::ReplacePeers => target.apply(SetOp::RemoveAllPeers),
            SetLine::Peer(key) => {
                self.create_missing(target)?;
                self.peer = if target.public_key() == Some(key) {
                    Peer::Ignored
                } else if target.has_peer(&key) {
                    Peer::Existing(key)
                } else {
                    Peer::Missing(key)
                };
                Ok(())
            }
            SetLine::OfPeer(line) => self.peer_line(target, line),
        }
    }

    /// The operation ends well.
    ///
    /// # Errors
    /// What the device says.
    pub fn end(mut self, target: &mut impl UapiTarget) -> Result<(), Errno> {
        self.create_missing(target)?;
        target.commit()
    }

    fn peer_line(&mut self, target: &mut impl UapiTarget, line: PeerLine) -> Result<(), Errno> {
        match (line, &self.peer) {
            (_, Peer::Ignored) | (PeerLine::ProtocolVersion, _) => Ok(()),
            (PeerLine::UpdateOnly, Peer::Existing(_)) => Ok(()),
            (PeerLine::Remove | PeerLine::UpdateOnly, Peer::Missing(_)) => {
                self.peer = Peer::Ignored;
                Ok(())
            }
            (PeerLine::Remove, Peer::Existing(key) | Peer::Created(key))
            | (PeerLine::UpdateOnly, Peer::Created(key)) => {
                let key = *key;
                self.peer = Peer::Ignored;
                target.apply(SetOp::RemovePeer(key))
            }
            (PeerLine::Change(change), Peer::Existing(key) | Peer::Created(key)) => {
                target.apply(SetOp::ChangePeer(*key, change))
            }
            (PeerLine::Change(change), Peer::Missing(key)) => {
                let key = *key;
                self.create_missing(target)?;
                target.apply(SetOp::ChangePeer(key, change))
            }
        }
    }

    fn create_missing(&mut self, target: &mut impl UapiTarget) -> Result<(), Errno> {
        if let Peer::Missing(key) = self.peer {
            target.apply(SetOp::AddPeer(key))?;
            self.peer = Peer::Created(key);
        }
        Ok(())
    }
}

//! What a device offers to the UAPI.

use std::net::SocketAddr;

use super::info::DeviceInfo;
use super::parser::PeerChange;
use crate::control::capture::{Capture, CaptureRequest};
use crate::control::errno::Errno;
use crate::control::options::IoMode;
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};
use crate::tunnel::allowed_ips::Prefix;
use crate::tunnel::time::WallTime;

/// A device that can be configured and asked. All calls come from the control
/// thread.
pub trait UapiTarget {
    /// The device's own public key, with every operation applied so far.
    fn public_key(&self) -> Option<PublicKey>;

    /// Whether the peer exists, with every operation applied so far.
    fn has_peer(&self, peer: &PublicKey) -> bool;

    /// Makes one change. It need not be visible to workers before [`commit`].
    ///
    /// # Errors
    /// Refuses with the number that the client is told. What was applied
    /// before stays, as it does in other implementations.
    ///
    /// [`commit`]: Self::commit
    fn apply(&mut self, op: SetOp) -> Result<(), Errno>;

    /// Makes all changes since the last call visible: once per `set`, also
    /// after one that was refused in the middle, so that what `get` shows and
    /// what workers use stay the same.
    ///
    /// # Errors
    /// Refuses with the number that the client is told.
    fn commit(&mut self) -> Result<(), Errno>;

    /// Has packets travel another way from now on. No session is lost by it.
    ///
    /// # Errors
    /// Refuses with the number that the client is told.
    fn set_io(&mut self, mode: IoMode) -> Result<(), Errno>;

    /// Begins a capture.
    ///
    /// # Errors
    /// Refuses with the number that the client is told: as many as there may be
    /// are under way ([`Errno::BUSY`]), or there is no such peer
    /// ([`Errno::NOT_FOUND`]).
    fn capture(&mut self, request: &CaptureRequest) -> Result<Capture, Errno>;

    /// The configuration and counters for `get`.
    fn state(&self) -> DeviceState;

    /// What `wg` does not know.
    fn info(&self) -> DeviceInfo;
}

/// One change of a device. A peer that an operation names exists when it is
/// applied, except for [`SetOp::AddPeer`], which makes it, unless another
/// client removed it meanwhile.
#[derive(Debug)]
pub enum SetOp {
    /// Sets or clears the private key; a peer with the same public key goes.
    PrivateKey(Option<PrivateKey>),
    /// Binds to this port; 0 lets the kernel choose.
    ListenPort(u16),
    /// Marks what the sockets send; 0 is off.
    FwMark(u32),
    /// Removes every peer.
    RemoveAllPeers,
    /// Makes a peer, with nothing set.
    AddPeer(PublicKey),
    /// Removes a peer.
    RemovePeer(PublicKey),
    /// Changes a peer.
    ChangePeer(PublicKey, PeerChange),
}

/// A device as `get` shows it.
#[derive(Debug, Default)]
pub struct DeviceState {
    /// The private key.
    pub private_key: Option<PrivateKey>,
    /// The port in use; 0 while there is none.
    pub listen_port: u16,
    /// The mark; 0 is off.
    pub fwmark: u32,
    /// The peers, in any order.
    pub peers: Vec<PeerState>,
}

/// A peer as `get` shows it.
#[derive(Debug)]
pub struct PeerState {
    /// Who it is.
    pub public_key: PublicKey,
    /// The preshared key; all zero is none.
    pub preshared_key: PresharedKey,
    /// Where it was last heard or set to be.
    pub endpoint: Option<SocketAddr>,
    /// Seconds; 0 is off.
    pub keepalive: u16,
    /// Zero while there was none.
    pub last_handshake: WallTime,
    /// Bytes received, outer.
    pub rx_bytes: u64,
    /// Bytes sent, outer.
    pub tx_bytes: u64,
    /// The ranges.
    pub allowed_ips: Vec<Prefix>,
}

impl PeerState {
    /// A peer with nothing set.
    #[must_use]
    pub fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            preshared_key: PresharedKey::none(),
            endpoint: None,
            keepalive: 0,
            last_handshake: WallTime::default(),
            rx_bytes: 0,
            tx_bytes: 0,
            allowed_ips: Vec::new(),
        }
    }
}

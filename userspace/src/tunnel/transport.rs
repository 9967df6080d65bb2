//! What workers do with data packets besides sealing and opening them.
//!
//! ```text
//! open on any thread ─▶ in order: admit ─▶ received ─▶ check_inner ─▶ TUN
//! TUN ─▶ reserve ─▶ seal on any thread ─▶ in order: sent ─▶ socket
//! ```

use std::sync::Arc;
use std::time::Duration;

use ringtun_common::ip::{IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, version};

use super::cell::{PeerCell, Signal};
pub use super::ecn::Ecn;
use super::ecn::set_ecn;
use super::endpoint::Endpoint;
use super::keypair::{Keypair, REJECT_AFTER_TIME, Role};
use super::owners::Owners;
use super::time::BootTime;
use super::timers::{KEEPALIVE_TIMEOUT, REKEY_TIMEOUT};
use crate::drops::DropReason;

/// The initiator renews a key of this age when it receives: there must be time
/// for a keepalive and a handshake before the key dies (paper section 6.2).
pub const REKEY_AFTER_TIME_RECEIVING: Duration = Duration::from_secs(
    REJECT_AFTER_TIME.as_secs() - KEEPALIVE_TIMEOUT.as_secs() - REKEY_TIMEOUT.as_secs(),
);

/// Packets of a batch, and their UDP payloads added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the WireGuard header on.
    pub bytes: u64,
}

impl Amount {
    /// One packet of so many bytes.
    #[must_use]
    pub const fn one(bytes: u64) -> Self {
        Self { packets: 1, bytes }
    }

    /// One more packet.
    pub fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }
}

/// Data packets of one keypair were received: they authenticated and were no
/// replays. Once per batch and keypair, in order, before the packets are
/// looked at.
///
/// Confirms a session that we answered, follows the peer to `from` (where the
/// last packet of the batch came from), stamps and counts, and asks for a
/// rekey that is due. `data`: whether any of them was not a keepalive. Returns whether the peer's address is new.
pub fn received(
    cell: &PeerCell,
    keypair: &Arc<Keypair>,
    now: BootTime,
    from: &Endpoint,
    outer: Amount,
    data: bool,
) -> bool {
    let roamed = cell.endpoint.roam(from);
    cell.add_rx_data(outer);
    if cell.activity.received(now, data) {
        cell.signal(Signal::Unacknowledged);
    }
    if !is_current(cell, keypair) && cell.keypairs.used(keypair) {
        cell.signal(Signal::Confirmed);
    }
    if keypair.role() == Role::Initiator
        && now.since(keypair.created()) >= REKEY_AFTER_TIME_RECEIVING
        && is_current(cell, keypair)
    {
        cell.signal(Signal::Handshake);
    }
    roamed
}

fn is_current(cell: &PeerCell, keypair: &Arc<Keypair>) -> bool {
    cell.current()
        .as_ref()
        .is_some_and(|current| Arc::ptr_eq(current, keypair))
}

/// Packets sealed with `keypair` were sent. Once per batch and keypair.
///
/// Stamps and counts, and asks for a rekey that is due. `data`: whether any of
/// them was not a keepalive.
pub fn sent(cell: &PeerCell, keypair: &Keypair, now: BootTime, outer: Amount, data: bool) {
    cell.add_tx_data(outer);
    if cell.activity.sent(now, data) {
        cell.signal(Signal::Unanswered);
    }
    if keypair.needs_rekey_after_sending(now) {
        cell.want_handshake(now);
    }
}

/// Judges an opened packet that is not a keepalive: is it an IP packet, as long
/// as it says, and from an address that is this peer's? Carries a congestion
/// mark inward (RFC 6040). Returns its length without the padding.
///
/// # Errors
/// [`DropReason::InnerMalformed`], [`DropReason::SourceNotAllowed`],
/// [`DropReason::EcnNotCapable`].
pub fn check_inner(
    owners: &Owners<'_>,
    cell: &PeerCell,
    packet: &mut [u8],
    outer_ecn: Ecn,
) -> Result<usize, DropReason> {
    let malformed = DropReason::InnerMalformed;
    let (len, owner) = match version(packet) {
        4 => {
            let header = Ipv4(packet.first_chunk::<IPV4_LEN>().ok_or(malformed)?);
            let len = usize::from(header.total_len());
            if header.header_len() < IPV4_LEN || header.header_len() > len {
                return Err(malformed);
            }
            (len, owners.of_v4(header.source()))
        }
        6 => {
            let header = Ipv6(packet.first_chunk::<IPV6_LEN>().ok_or(malformed)?);
            let len = IPV6_LEN + usize::from(header.payload_len());
            (len, owners.of_v6(header.source()))
        }
        _ => return Err(malformed),
    };
    if len > packet.len() {
        return Err(malformed);
    }
    // The owner of the *longest* prefix: another peer's subnet inside this
    // peer's is the other peer's.
    if !owner.is_some_and(|owner| std::ptr::eq(Arc::as_ptr(owner), cell)) {
        return Err(DropReason::SourceNotAllowed);
    }
    let inner = Ecn::of_packet(packet);
    let marked = inner
        .decapsulated(outer_ecn)
        .ok_or(DropReason::EcnNotCapable)?;
    if marked != inner {
        set_ecn(packet, marked);
    }
    Ok(len)
}

//! Whose an inner address is, for the packets of one batch.

use std::cell::Cell;
use std::sync::Arc;

use ringtun_common::ip::{Ipv4, Ipv6, version};

use super::cell::PeerCell;
use super::snapshot::Snapshot;

type Owner<'a> = Option<&'a Arc<PeerCell>>;

/// Looks addresses up in AllowedIPs, and remembers the last answer of each family:
/// the packets of a batch mostly have one address, and with many peers a lookup
/// waits for memory.
#[derive(Debug)]
pub struct Owners<'a> {
    snapshot: &'a Snapshot,
    v4: Cell<Option<([u8; 4], Owner<'a>)>>,
    v6: Cell<Option<([u8; 16], Owner<'a>)>>,
}

impl<'a> Owners<'a> {
    /// For as long as the configuration stays the same.
    #[must_use]
    pub const fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            v4: Cell::new(None),
            v6: Cell::new(None),
        }
    }

    /// The owner of the longest prefix that holds an IPv4 address.
    #[inline]
    #[must_use]
    pub fn of_v4(&self, address: [u8; 4]) -> Owner<'a> {
        if let Some((last, owner)) = self.v4.get()
            && last == address
        {
            return owner;
        }
        let owner = self.snapshot.allowed_ips.lookup_v4(address);
        self.v4.set(Some((address, owner)));
        owner
    }

    /// The owner of the longest prefix that holds an IPv6 address.
    #[inline]
    #[must_use]
    pub fn of_v6(&self, address: [u8; 16]) -> Owner<'a> {
        if let Some((last, owner)) = self.v6.get()
            && last == address
        {
            return owner;
        }
        let owner = self.snapshot.allowed_ips.lookup_v6(address);
        self.v6.set(Some((address, owner)));
        owner
    }

    /// Whose the destination of an inner packet is.
    #[inline]
    #[must_use]
    pub fn of_destination(&self, packet: &[u8]) -> Owner<'a> {
        match version(packet) {
            4 => self.of_v4(Ipv4(packet.first_chunk()?).destination()),
            6 => self.of_v6(Ipv6(packet.first_chunk()?).destination()),
            _ => None,
        }
    }
}

//! What a hop is looked up for.

use crate::net::udp::Source;
use std::net::SocketAddr;

/// Packets from one local port to one endpoint: all that the kernel's choice
/// of a route depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The endpoint. A link-local one needs its scope.
    pub to: SocketAddr,
    /// The address that the packets have to leave from; `None` lets the kernel
    /// choose. One of the other family is taken as none, as the socket does.
    pub source: Option<Source>,
    /// The local port.
    pub port: u16,
    /// Firewall mark; 0 for none.
    pub mark: u32,
    /// Index of the TUN device whose packets these are: they must not go
    /// into it again.
    pub tunnel: u32,
}

impl Flow {
    /// The pinned source, if it is of the endpoint's family.
    #[must_use]
    pub fn pinned(&self) -> Option<Source> {
        self.source
            .filter(|source| source.addr.is_ipv4() == self.to.is_ipv4())
    }

    /// Index of the interface that packets must leave by; 0 for any.
    #[must_use]
    pub fn bound_to(&self) -> u32 {
        match self.to {
            SocketAddr::V6(to) if to.scope_id() != 0 => to.scope_id(),
            _ => self.pinned().map_or(0, |source| source.ifindex),
        }
    }
}

//! Why packets go by the socket.

use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// Why a flow's packets go by the socket and not by AF_XDP. The text is for
/// `ringtun show` and the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoHop {
    /// The kernel has not been asked yet.
    #[error("the route is being looked up")]
    Pending,
    /// As many flows are kept as there can be.
    #[error("more endpoints are in use than hops are kept for")]
    TableFull,
    /// Given up for others: it was not wanted for long.
    #[error("the endpoint was not sent to for a while")]
    Forgotten,
    /// `ENETUNREACH`.
    #[error("there is no route to {0}: add one, or check that the uplink is up")]
    NoRoute(IpAddr),
    /// A route of the type `unreachable`.
    #[error("the routing table says that {0} is unreachable (ip route get {0})")]
    Unreachable(IpAddr),
    /// A route or rule of the type `prohibit`.
    #[error("the routing table prohibits packets to {0} (ip route get {0})")]
    Prohibited(IpAddr),
    /// A route or rule of the type `blackhole`.
    #[error("the routing table drops packets to {0} (blackhole; ip route get {0})")]
    Blackhole(IpAddr),
    /// The pinned source is no address of this host.
    #[error("{0} is not an address of this host any more")]
    SourceGone(IpAddr),
    /// No local address of the endpoint's family.
    #[error("there is no local address to reach {0} from")]
    NoSource(IpAddr),
    /// Any other error of the route lookup.
    #[error("the kernel refused to look up the route to {to}: {}", std::io::Error::from_raw_os_error(*errno))]
    LookupFailed {
        /// The endpoint.
        to: IpAddr,
        /// Its error number.
        errno: i32,
    },
    /// The way out is the tunnel itself.
    #[error(
        "the route to {0} leads into the tunnel itself, a loop: set FwMark and a rule for it, or add a route to {0} by the uplink"
    )]
    Loop(IpAddr),
    /// An address of this host.
    #[error("{0} is an address of this host")]
    Local(IpAddr),
    /// Broadcast, multicast, anycast.
    #[error("{0} is not the address of one host")]
    NotUnicast(IpAddr),
    /// The route puts a header of its own in front.
    #[error("the route to {0} encapsulates, which only the kernel does")]
    Encapsulated(IpAddr),
    /// The device went between two questions.
    #[error("the device with index {0} is gone")]
    NoDevice(u32),
    /// Switched off, or without a carrier.
    #[error("{0} is down, or its cable is out")]
    Down(Arc<str>),
    /// Not Ethernet, or Ethernet without an address.
    #[error("{device} is {what}; AF_XDP transmit needs Ethernet")]
    NotEthernet {
        /// Its name.
        device: Arc<str>,
        /// What it is instead.
        what: &'static str,
    },
    /// Made of other devices, which have the rings.
    #[error("{device} is a {kind}: its frames are made by the kernel for the devices below it")]
    Stacked {
        /// Its name.
        device: Arc<str>,
        /// The kernel's name for its kind.
        kind: Arc<str>,
    },
    /// More VLANs in one another than are written.
    #[error("{0} has more than two VLAN tags")]
    TooManyTags(Arc<str>),
    /// A VLAN of a device in another network namespace.
    #[error("the device below {0} is in another network namespace")]
    BelowElsewhere(Arc<str>),
    /// No MAC address yet: the kernel finds it when the socket sends.
    #[error("the MAC address of {next_hop} on {device} is not known yet")]
    Unresolved {
        /// Gateway or endpoint.
        next_hop: IpAddr,
        /// The device's name.
        device: Arc<str>,
    },
    /// Nobody has that address.
    #[error("{next_hop} does not answer on {device}")]
    NoAnswer {
        /// Gateway or endpoint.
        next_hop: IpAddr,
        /// The device's name.
        device: Arc<str>,
    },
}

//! What stands in front of a WireGuard message on the wire, where no socket
//! writes it: AF_XDP transmits whole Ethernet frames. Bytes only, no I/O.
//!
//! * [`Flow`]: from one local port to one endpoint: what a hop is looked up for.
//! * [`Hop`]: where its frames go: physical device, MAC addresses, VLAN tags,
//!   IP addresses, MTU. [`net::hops`](super::hops) finds it.
//! * [`Ethernet`]: its Ethernet header.
//! * [`Template`]: the headers of one flow, written per packet.
//! * [`Identifications`]: distinct IPv4 identifications per worker.
//!
//! ```text
//! Ethernet [802.1ad] [802.1Q]  IPv4 20  UDP 8   payload      42 to 50 bytes
//!                              IPv6 40  UDP 8   payload      62 to 70 bytes
//! ```

mod ethernet;
mod flow;
mod hop;
mod identification;
mod template;

pub use ethernet::{ETHERNET_MAX, Ethernet};
pub use flow::Flow;
pub use hop::{Addresses, Hop, Mac, Tag, Tags};
pub use identification::Identifications;
pub use template::{Checksum, HEADERS_MAX, Offload, Outer, Template, Unwritten};

#[cfg(test)]
mod template_tests;

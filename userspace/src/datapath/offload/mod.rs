//! Segmentation and coalescing between the TUN device and single packets.
//!
//! The kernel hands over TCP streams and UDP bursts as super-packets of up to
//! 64 KiB with a header template and a segment size ([`vnet`]); the tunnel
//! carries packets of one MTU. [`segment`] cuts the former into the latter on
//! the way out, [`coalesce`] joins decrypted packets on the way in, so that
//! TUN reads and writes, and the kernel's way up the stack, are paid once for
//! forty packets.
//!
//! Pure functions over bytes: no system call, no allocation per packet, and
//! each payload byte is summed once.

pub mod coalesce;
mod rules;
pub mod segment;
pub mod vnet;

pub use coalesce::{Coalescer, Merged};
pub use segment::Segmenter;
pub use vnet::{Gso, VNET_LEN, VnetHeader};

#[cfg(test)]
mod coalesce_tests;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod segment_tests;

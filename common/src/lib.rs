//! What the XDP programs and the agent share: wire headers, the one packet
//! parser, checksums, verdicts and map layouts. Knows nobody else.
//!
//! * [`checksum`]: the Internet checksum and its incremental update.
//! * [`cursor`]: how the parser reads a packet, in the kernel and on the host.
//! * [`ip`]: views of IPv4, IPv6, TCP and UDP headers.
//! * [`lan`]: what the LAN side does with a packet.
//! * [`mss`]: the MSS clamp.
//! * [`packet`]: the parser, from the Ethernet header to a [`class`].
//! * [`steer`]: tunnels of others, spread over CPUs.
//! * [`hash`]: how what tells flows apart becomes one number.
//! * [`seats`]: small tables in front of hash maps.
//! * [`ring`]: names of the program that takes every frame.
//! * [`wireguard`]: what a WireGuard message looks like from outside.
//! * [`class`]: what a packet is.
//! * [`verdict`]: what becomes of it, and why.
//! * `labelled`: enums that are counted and named.
//! * [`notice`]: packets that an operator is told of.
//! * [`tables`]: the maps that decide on it.
//! * `fixtures` (tests only): frames with their expected verdicts.
#![cfg_attr(not(any(test, feature = "fixtures")), no_std)]

pub mod checksum;
pub mod class;
pub mod cursor;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod forward;
pub mod hash;
pub mod ip;
mod labelled;
pub mod lan;
pub mod mss;
pub mod notice;
pub mod packet;
pub mod ring;
pub mod seats;
pub mod steer;
pub mod tables;
pub mod verdict;
pub mod wireguard;

//! The WireGuard protocol core, sans-IO: no sockets, no clock, no randomness
//! of its own, no `unsafe`. Time and random bytes are arguments.
#![forbid(unsafe_code)]

pub mod activity;
pub mod allowed_ips;
pub mod cell;
pub mod cookie;
pub mod device;
mod ecn;
pub mod endpoint;
pub mod gate;
mod handshake_keys;
pub mod identity;
pub mod indices;
pub mod initiation;
mod initiation_guard;
pub mod keypair;
pub mod load;
pub mod messages;
pub mod noise;
pub mod output;
pub mod owners;
pub mod peer;
pub mod ratelimit;
pub mod replay;
pub mod slots;
pub mod snapshot;
pub mod staged;
pub mod tai64n;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod timers;
mod transcript;
pub mod transport;

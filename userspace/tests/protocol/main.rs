//! The protocol core under a fake clock, over a link in memory.
//!
//! `docs/conformance.md` says which rule each test holds to.

mod allowed_ips;
mod clock;
mod collision;
mod config;
mod conformance;
mod data;
mod data_path;
mod flood;
mod handshake;
mod keepalive;
mod limits;
mod load;
mod lossy;
mod mangled;
mod ring_path;
mod roaming;
mod support;
mod threads;
mod timers;

//! AF_XDP sockets on veth devices: real rings, real frames. Needs root and a
//! build with the BPF object, as `cargo xtask test` makes it.
//!
//! A veth has copy mode only; `tcpdump` on an end with AF_XDP sees nothing, so
//! what arrived is asked of UDP sockets and counters.
#![cfg(ringtun_bpf)]

mod errors;
mod forward;
mod frames;
mod receive;
mod transmit;
mod wire;

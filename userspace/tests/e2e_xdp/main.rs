//! The tunnel through AF_XDP, and all that can happen to it there. Needs root
//! and a build with the BPF object, as `cargo xtask test` makes it.
//!
//! What went through rings is told by other people's counters: the kernel's UDP
//! sees nothing of it.
#![cfg(ringtun_bpf)]

mod changes;
#[path = "../e2e/mod.rs"]
mod e2e;
mod life;
mod notices;
mod owners;
mod sizes;
mod steer;
mod support;
mod switching;

//! The XDP programs say of each frame what the parser says on the host, and do
//! what their verdict names. Needs root and a build with the BPF object, as
//! `cargo xtask test` makes it.
#![cfg(ringtun_bpf)]

mod lan;
mod notices;
mod steer;
mod support;
mod wan;

//! A gateway and its clients in memory: real handshakes, no socket and no device.
//!
//! * [`gateway`]: ringtun as workers and handshake threads see it.
//! * [`client`]: the far end, as small as it can be.

mod client;
mod gateway;

pub use client::{Client, Session};
pub use gateway::{Gateway, at};

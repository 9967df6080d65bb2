//! The WireGuard cross-platform userspace protocol: what `wg` speaks with
//! `/var/run/wireguard/NAME.sock` (<https://www.wireguard.com/xplatform/>).
//!
//! A `set` passes through [`lines`] (bounded lines), [`parser`] (typed lines),
//! [`session`] (which peer is meant) to [`target::UapiTarget`], which the
//! daemon implements: one [`commit`](target::UapiTarget::commit) per `set`. A
//! `get` comes back through [`reply`]. [`server`] does this for each connection
//! to the [`socket`]; [`client`] asks, for `ringtun show`, `io` and `capture`.

pub mod client;
pub mod info;
pub mod lines;
pub mod parser;
pub mod reply;
pub mod server;
pub mod session;
pub mod socket;
pub mod target;
pub mod values;

#[cfg(test)]
mod tests;

pub use info::{CountInfo, DeviceInfo, QueueInfo, WorkerInfo};
pub use parser::{Operation, PeerChange};
pub use server::serve;
pub use socket::{SocketError, UapiSocket, check_free};
pub use target::{DeviceState, PeerState, SetOp, UapiTarget};

//! Workers and pipelines: TUN and sockets around the protocol core.
//!
//! ```text
//! inbound   socket ─ recvmmsg, GRO ─▶ frame ─ open in place ─▶ lane of the peer ─ replay,
//!           AllowedIPs, ECN ─▶ MSS clamp ─▶ coalesce ─▶ TUN
//! outbound  TUN ─ super-packet, MSS clamp ─▶ AllowedIPs ─▶ segment into a frame ─ seal in place ─▶
//!           sendmsg, GSO
//! rings     in place of a socket, where a network card has AF_XDP: see [`rings`]
//! forward   LAN rings in place of the TUN device: see [`forward`]
//! handshake socket ─ types 1–3 ─▶ bounded queue ─▶ handshake threads ─▶ control
//! ```
//!
//! A worker owns a TUN queue and a pair of sockets of each device. It takes no
//! lock, makes no allocation and no log line per packet, and reads the clock
//! once per batch. Peers reach it through the snapshot that control swaps.

mod check;
mod delivery;
pub mod flow;
pub mod forward;
pub mod frames;
pub mod handshakes;
pub mod histogram;
pub mod inbound;
pub mod lane;
pub mod mss;
pub mod offload;
pub mod outbound;
pub mod path;
pub mod port;
pub mod replies;
pub mod rings;
pub mod runs;
pub mod sealer;
mod sort;
pub mod stats;
pub mod taps;
pub mod team;
pub mod worker;

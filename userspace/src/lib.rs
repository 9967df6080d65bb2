//! ringtun: a high-throughput tunnel gateway for Linux.
//!
//! A packet's way through these modules (see `docs/architecture.md`):
//!
//! * [`net`]: TUN device, UDP sockets, netlink, the clock.
//! * [`datapath`]: workers that move batches between the two.
//! * [`tunnel`]: the WireGuard protocol, without sockets, clock or randomness of its own.
//! * [`crypto`]: keys and the AEAD behind one small trait.
//! * [`xsk`], [`bpf`]: AF_XDP rings and the XDP programs.
//! * [`control`]: configuration, the UAPI socket, lifecycle.
//! * [`confine`]: what a daemon that is set up gives up.
//! * [`metrics`]: Prometheus registry and endpoint.
//! * [`cli`]: one file per subcommand.

pub mod bpf;
#[cfg(feature = "cli")]
pub mod cli;
pub mod confine;
pub mod control;
pub mod crypto;
pub mod datapath;
pub mod drops;
pub mod metrics;
pub mod net;
pub mod tunnel;
pub mod xsk;

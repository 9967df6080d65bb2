//! Network namespaces, links, processes and real peers for tests, demo and benches.
//!
//! Everything a run makes has a name of its own, is written to a registry under
//! `/run/ringtun-lab/` before it is made, and is removed by exactly that name when its guard is
//! dropped. What a killed run left behind is removed by [`reap`], and nothing else is.
//!
//! * [`netns`], [`link`]: named namespaces, veth pairs, addresses, a middle hop to capture on.
//! * [`process`], [`wait`]: programs in a namespace, and waiting for events instead of sleeping.
//! * [`usage`]: processor time and memory used.
//! * [`registry`], [`machine`]: what this run made, and the machine's state before and after.
//! * [`ping`], [`stream`], [`scrape`]: is it reachable, did every byte arrive, what was counted.
//! * [`prometheus`]: a Prometheus that scrapes, and answers PromQL.
//! * [`counters`]: what the kernel counted.
//! * [`capture`], [`flood`]: what was on the wire, and putting much onto it.
//! * [`keys`]: WireGuard keys for tests; [`camera`]: QR codes read from a terminal.
//! * [`peers`], [`tools`]: other implementations and the distribution's programs, fetched.
//! * [`tunnel`]: two ends with a device each, configured.
//! * [`kernels`]: ringtun on older kernels, in QEMU.
//! * [`interop`]: ringtun against each of them, in every combination.
//!
//! Running this needs root; nothing here pretends otherwise.

pub mod camera;
pub mod capture;
pub mod counters;
pub mod flood;
pub mod interop;
pub mod kernels;
pub mod keys;
pub mod link;
pub mod machine;
pub mod names;
pub mod netns;
pub mod peers;
pub mod ping;
pub mod process;
pub mod prometheus;
pub mod registry;
pub mod scrape;
pub mod stream;
mod sys;
pub mod tools;
pub mod tunnel;
pub mod usage;
pub mod wait;

pub use link::Pair;
pub use netns::NetNs;
pub use process::Process;
pub use registry::reap;
pub use sys::{PacketSocket, xdp_socket};
pub use tunnel::Tunnel;

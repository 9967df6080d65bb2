//! TUN, UDP sockets, netlink and the clock.
//!
//! * [`checksum`]: of payloads, by wide vectors.
//! * [`clock`]: the two clocks, read once per batch.
//! * [`timer`]: a timer on the boot-time clock.
//! * [`tun`]: the TUN device, one descriptor per queue.
//! * [`udp`]: the outer sockets: batches, GSO and GRO, sticky source, ECN.
//! * [`hops`]: where the frames of each flow go, for AF_XDP.
//! * [`netlink`]: what happens to links, addresses and routes.
//! * [`netns`]: network namespaces.
//! * [`nic`]: what a device can do, and whose XDP program it carries.
//! * [`outer`]: the headers of frames that no socket sends.
//! * `sys`: the system calls that the standard library has not; all of this
//!   module's `unsafe`.

pub mod checksum;
pub mod clock;
pub mod hops;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod outer;
mod sys;
pub mod timer;
pub mod tun;
pub mod udp;
pub mod unix;

pub use sys::set_thread_niceness;

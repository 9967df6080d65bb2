//! Names of the program that takes every frame, for measuring rings alone.

/// The XDP program that redirects each frame to the AF_XDP socket of its queue,
/// and passes it where there is none.
pub const RING_PROGRAM: &str = "ringtun_ring";
/// Its sockets by receive queue: an XSKMAP of [`RING_QUEUES`] entries.
pub const RING_SOCKETS_MAP: &str = "RING_SOCKETS";
/// Receive queues that the map has room for.
pub const RING_QUEUES: u32 = 64;

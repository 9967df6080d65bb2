//! Prometheus metrics: what is counted ([`snapshot`]), how it is written
//! ([`families`], `nics`), and the HTTP endpoint ([`server`]).
//!
//! Nothing here counts. Workers and the control thread count for themselves;
//! a scrape reads them through [`MetricsSource`].

pub mod families;
pub mod listen;
mod nics;
pub mod server;
pub mod snapshot;

pub use listen::MetricsListen;
pub use server::MetricsServer;
pub use snapshot::{
    DeviceMetrics, FrameMetrics, HandshakeMetrics, NicMetrics, PeerMetrics, QueueMetrics, Snapshot,
    WorkerMetrics,
};

#[cfg(test)]
mod tests;

/// Peers per device with series of their own, unless configured otherwise.
/// Each makes three series, and a monitoring system pays for every one.
pub const DEFAULT_MAX_PEERS: usize = 1000;

/// Where a scrape reads. Called on the control thread.
pub trait MetricsSource {
    /// The counters as of now, with the details of at most `max_peers` peers
    /// of each device.
    fn snapshot(&self, max_peers: usize) -> Snapshot;
}

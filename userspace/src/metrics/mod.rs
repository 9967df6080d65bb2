//! Prometheus metrics: what is counted ([`snapshot`]), which series are made of
//! it ([`series`]), how they are written ([`families`]), and the HTTP endpoint
//! ([`server`]).
//!
//! Nothing here counts. Workers and the control thread count for themselves;
//! a scrape reads them through [`MetricsSource`].

mod body;
mod devices;
pub mod exporters;
pub mod families;
mod family;
mod labels;
pub mod listen;
pub mod names;
mod nics;
pub mod peers;
mod process;
pub mod series;
pub mod server;
pub mod snapshot;
mod workers;

pub use listen::MetricsListen;
pub use series::{FamilyGroup, Series};
pub use server::MetricsServer;
pub use snapshot::{
    DeviceMetrics, FrameMetrics, HandshakeMetrics, NicMetrics, PeerMetrics, QueueMetrics, Snapshot,
    TrafficMetrics, WorkerMetrics,
};

#[cfg(test)]
mod tests;

/// Where a scrape reads. Called on the control thread.
pub trait MetricsSource {
    /// The counters as of now, with the details that `series` needs of at most
    /// as many peers of each device as it allows.
    fn snapshot(&self, series: &Series) -> Snapshot;

    /// Why the process is of no use any more, if it is not: a line each.
    fn failures(&self) -> Vec<String>;

    /// What is not ready to carry packets yet: a line each.
    fn not_ready(&self) -> Vec<String>;
}

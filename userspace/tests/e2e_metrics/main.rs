//! Metrics as Prometheus itself sees them, dashboard, rules and alerts over a live scrape, and
//! clients of the endpoint that are no Prometheus.

#[path = "../e2e/mod.rs"]
mod e2e;
#[path = "../e2e/many_peers.rs"]
mod many_peers;

mod clients;
mod packaging;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);

/// Every family that there is.
const ALL_FAMILIES: &str = "ringtun,prometheus_wireguard_exporter,wireguard_exporter";

/// A file under `packaging/`.
fn packaged(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("packaging").join(file)
}

//! The metric families of a snapshot, in Prometheus' text format.

use hyper::body::Bytes;

use super::exporters;
use super::family::{Exposition, Family};
use super::peers::PeerFamilies;
use super::series::{FamilyGroup, Series};
use super::snapshot::Snapshot;
use super::{devices, nics, process, workers};

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The snapshot as Prometheus reads it, in pieces.
#[must_use]
pub fn text(snapshot: &Snapshot, series: &Series) -> Vec<Bytes> {
    let mut all = Exposition::default();
    if series.has(FamilyGroup::Ringtun) {
        own(snapshot, series, &mut all);
    }
    if series.has(FamilyGroup::PrometheusWireguardExporter) {
        all.extend(exporters::prometheus_wireguard_exporter(snapshot));
    }
    if series.has(FamilyGroup::WireguardExporter) {
        all.extend(exporters::wireguard_exporter(snapshot));
    }
    all.chunks()
}

fn own(snapshot: &Snapshot, series: &Series, all: &mut Exposition) {
    let mut build = Family::gauge(
        "ringtun_build_info",
        "Which ringtun runs here, and whether it has the XDP program in it; always 1.",
        &["version", "xdp"],
    );
    let xdp = crate::bpf::embedded().is_some();
    let xdp = if xdp { "embedded" } else { "none" };
    build.add(&[env!("CARGO_PKG_VERSION"), xdp], 1_u64);
    let mut limit = Family::gauge(
        "ringtun_metrics_peers_limit",
        "Peers of a device that have series of their own at most (--metrics-peers).",
        &[],
    );
    limit.add(&[], series.max_peers);
    let mut time = Family::gauge(
        "ringtun_time_seconds",
        "The system clock, Unix time. Handshakes carry it: a clock that was set back has its initiations refused as timestamp-replay by those who knew the later time.",
        &[],
    );
    let now = crate::net::clock::wall();
    time.add(&[], now.secs as f64 + f64::from(now.nanos) / 1e9);
    let mut peers = PeerFamilies::new();
    for device in &snapshot.devices {
        peers.add(device, &snapshot.names);
    }
    all.extend([build, limit, time]);
    all.extend(devices::families(&snapshot.devices));
    all.extend(peers.into_families());
    all.extend(workers::moved(snapshot));
    all.extend(workers::batches(snapshot));
    all.extend(workers::threads(snapshot));
    all.extend(workers::queues(snapshot));
    all.extend(nics::cards(snapshot));
    all.extend(nics::programs(snapshot));
    all.extend(process::families());
}

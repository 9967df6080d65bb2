//! The options that say which metrics there are.

use std::path::PathBuf;

use clap::Args;

use crate::metrics::series::DEFAULT_MAX_PEERS;
use crate::metrics::{FamilyGroup, Series};

#[derive(Args)]
pub struct SeriesArgs {
    /// Which metrics: ringtun, prometheus_wireguard_exporter, wireguard_exporter
    ///
    /// ringtun has all of it. The others are the names that these two exporters use, for the
    /// dashboards that were made for them. Several are separated by commas.
    #[arg(
        long,
        env = "RINGTUN_METRICS_FAMILIES",
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = FamilyGroup::Ringtun.label()
    )]
    metrics_families: Vec<FamilyGroup>,

    /// Peers of each device that have series of their own; the others are added up
    #[arg(
        long,
        env = "RINGTUN_METRICS_PEERS",
        hide_env = true,
        value_name = "N",
        default_value_t = DEFAULT_MAX_PEERS
    )]
    metrics_peers: usize,

    /// A wg-quick file with `# friendly_name = NAME` in the sections of peers, for metrics
    ///
    /// It is read again when it changes. Several are separated by commas.
    #[arg(
        long,
        env = "RINGTUN_METRICS_NAMES",
        value_name = "FILE",
        value_delimiter = ','
    )]
    metrics_names: Vec<PathBuf>,
}

impl SeriesArgs {
    /// What they ask for.
    pub fn series(&self) -> Series {
        Series {
            families: self.metrics_families.clone(),
            max_peers: self.metrics_peers,
            names: self.metrics_names.clone(),
        }
    }
}

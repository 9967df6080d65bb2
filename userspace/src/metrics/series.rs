//! Which series a scrape has: families, and how many peers.

use std::path::PathBuf;
use std::str::FromStr;

/// Peers per device with series of their own, unless configured otherwise.
/// Each makes seven, and a monitoring system pays for every one.
pub const DEFAULT_MAX_PEERS: usize = 1000;

/// Groups of metric families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyGroup {
    /// `ringtun_*` and `process_*`.
    Ringtun,
    /// Those of `prometheus_wireguard_exporter`: `wireguard_sent_bytes_total` …
    PrometheusWireguardExporter,
    /// Those of `wireguard_exporter`: `wireguard_peer_receive_bytes_total` …
    WireguardExporter,
}

impl FamilyGroup {
    /// Every group.
    pub const ALL: [Self; 3] = [
        Self::Ringtun,
        Self::PrometheusWireguardExporter,
        Self::WireguardExporter,
    ];

    /// As on the command line: the exporter that it stands in for.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ringtun => "ringtun",
            Self::PrometheusWireguardExporter => "prometheus_wireguard_exporter",
            Self::WireguardExporter => "wireguard_exporter",
        }
    }
}

impl FromStr for FamilyGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|group| group.label() == text);
        found.ok_or_else(|| format!("there are {}", Self::ALL.map(Self::label).join(", ")))
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// These groups of families.
    pub families: Vec<FamilyGroup>,
    /// Series of their own for so many peers of each device; the others are
    /// added up.
    pub max_peers: usize,
    /// wg-quick files with `# friendly_name = …` in the sections of peers.
    pub names: Vec<PathBuf>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            families: vec![FamilyGroup::Ringtun],
            max_peers: DEFAULT_MAX_PEERS,
            names: Vec::new(),
        }
    }
}

impl Series {
    /// Whether a group is asked for.
    #[must_use]
    pub fn has(&self, group: FamilyGroup) -> bool {
        self.families.contains(&group)
    }

    /// Whether endpoints and AllowedIPs of peers are needed.
    #[must_use]
    pub fn needs_details(&self) -> bool {
        self.has(FamilyGroup::PrometheusWireguardExporter)
            || self.has(FamilyGroup::WireguardExporter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_after_the_exporters_they_stand_in_for() {
        for group in FamilyGroup::ALL {
            assert_eq!(group.label().parse(), Ok(group));
        }
        let error = "node_exporter".parse::<FamilyGroup>().unwrap_err();
        assert!(error.contains("ringtun, prometheus_wireguard_exporter"));
        assert!(!Series::default().needs_details());
    }
}

//! How packets went, by what counted them: ringtun its rings, the kernel its UDP sockets.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::tunnel::MTU;

/// Of the packets, at most one in so many may have gone by a socket.
const ONE_IN: u64 = 100;

/// Packets at one moment, or between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Received and transmitted by rings.
    pub(super) rings: u64,
    /// Received and sent by UDP sockets.
    pub(super) sockets: u64,
}

impl Counted {
    /// From what `ringtun io --json` and the kernel say of all ends.
    pub(super) fn new(ends: &[(Value, u64)]) -> Counted {
        Counted {
            rings: ends
                .iter()
                .map(|(io, _)| sum(io, &["rx_packets", "tx_packets"]))
                .sum(),
            sockets: ends.iter().map(|(_, datagrams)| datagrams).sum(),
        }
    }

    /// What was counted since `before`.
    pub(super) fn since(self, before: Counted) -> Counted {
        Counted {
            // A card that was taken off has taken its counters along.
            rings: self.rings.saturating_sub(before.rings),
            sockets: self.sockets.saturating_sub(before.sockets),
        }
    }

    /// Fails unless the packets that carry `bytes` once went by rings at `ends` ends.
    pub(super) fn expect_rings(self, bytes: u64, ends: u64) -> Result<()> {
        let least = bytes / u64::from(MTU) * ends;
        ensure!(
            self.rings >= least,
            "{} packets by rings for {bytes} bytes, at {ends} ends: {least} are the least",
            self.rings
        );
        ensure!(
            self.sockets * ONE_IN <= self.rings,
            "{} packets by rings and {} by sockets",
            self.rings,
            self.sockets
        );
        Ok(())
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = self.sockets as f64 * 100.0 / (self.rings + self.sockets).max(1) as f64;
        write!(
            f,
            "{} packets by rings, {} by UDP sockets ({share:.2} %)",
            self.rings, self.sockets
        )
    }
}

/// Whether every peer's packets go by rings.
pub(super) fn is_on_rings(io: &Value) -> bool {
    io["io"] == "xdp" && io["by_socket"].as_array().is_some_and(Vec::is_empty)
}

/// Whether there is a reason for sockets that will not go away.
pub(super) fn is_refused(io: &Value) -> bool {
    let reason = io["reason"].as_str().unwrap_or_default();
    let waits = [
        "no network card is in use yet",
        "a network card is being looked at",
    ];
    io["io"] == "udp" && !waits.iter().any(|wait| reason.starts_with(wait))
}

/// How the card works: `eth0 (virtio_net): native, copy`.
pub(super) fn mode(io: &Value) -> String {
    let cards: Vec<String> = io["cards"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|card| {
            let text = |key: &str| card[key].as_str().unwrap_or("?").to_owned();
            format!(
                "{} ({}): {}, {}",
                text("name"),
                text("driver"),
                text("xdp"),
                text("transfer")
            )
        })
        .collect();
    if cards.is_empty() {
        return format!("sockets: {}", io["reason"].as_str().unwrap_or("?"));
    }
    cards.join("; ")
}

/// What the kernel lost between card and ring.
pub(super) fn lost(io: &Value) -> u64 {
    sum(
        io,
        &["kernel_invalid", "kernel_rx_dropped", "kernel_rx_full"],
    )
}

fn sum(io: &Value, counters: &[&str]) -> u64 {
    let cards = io["cards"].as_array().into_iter().flatten();
    cards
        .flat_map(|card| card["queues"].as_array().into_iter().flatten())
        .flat_map(|queue| counters.iter().filter_map(|name| queue[name].as_u64()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_counted_is_judged() {
        let end = |rx: u64, datagrams: u64| {
            let queue = json!({"rx_packets": rx, "tx_packets": 10, "kernel_rx_full": 3});
            let card = json!({"name": "e", "driver": "d", "xdp": "native", "transfer": "copy", "queues": [queue]});
            (
                json!({"io": "xdp", "by_socket": [], "cards": [card]}),
                datagrams,
            )
        };
        let before = Counted::new(&[end(0, 7), end(0, 7)]);
        let after = Counted::new(&[end(1000, 8), end(1000, 8)]).since(before);
        assert_eq!(
            after,
            Counted {
                rings: 2000,
                sockets: 2
            }
        );
        let bytes = 1000 * u64::from(MTU);
        assert!(after.expect_rings(bytes, 2).is_ok());
        assert!(after.expect_rings(bytes + u64::from(MTU), 2).is_err());
        let bad = Counted {
            sockets: 21,
            ..after
        };
        assert!(bad.expect_rings(bytes, 2).is_err());
        assert_eq!(mode(&end(0, 0).0), "e (d): native, copy");
        assert_eq!(lost(&end(0, 0).0), 3);
    }
}

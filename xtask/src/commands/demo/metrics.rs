//! What a gateway says of itself over HTTP, in Prometheus' text format.

use anyhow::{Context as _, Result, ensure};
use ringtun_lab::NetNs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the metrics at `address` in the namespace.
pub fn read(ns: &NetNs, address: SocketAddr) -> Result<String> {
    let mut stream = ns.connect(address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .context("the answer is no HTTP")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(body.to_owned())
}

/// Each reason for a drop and how often it occurred.
pub fn drops(text: &str) -> Vec<(&str, u64)> {
    samples(text, "ringtun_drops_total")
        .filter_map(|line| {
            let reason = line.split_once("reason=\"")?.1.split('"').next()?;
            let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
            Some((reason, count as u64))
        })
        .collect()
}

/// The lines about peers.
pub fn peers(text: &str) -> impl Iterator<Item = &str> {
    samples(text, "ringtun_peer_")
}

fn samples<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| line.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_by_reason() {
        let text = "# HELP ringtun_drops_total x\n# TYPE ringtun_drops_total counter\n\
                    ringtun_drops_total{device=\"wg0\",reason=\"replay\"} 3\n\
                    ringtun_drops_total{device=\"wg0\",reason=\"malformed\"} 0\n\
                    ringtun_peer_rx_bytes_total{peer=\"x\"} 9\n";
        assert_eq!(drops(text), [("replay", 3), ("malformed", 0)]);
        assert_eq!(peers(text).count(), 1);
    }
}

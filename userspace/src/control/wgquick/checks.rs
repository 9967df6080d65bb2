//! What is wrong with a file whose every line is right.

use std::collections::HashMap;

use super::config::Config;
use super::diagnostic::{Diagnostic, Report, Severity};
use crate::crypto::PrivateKey;

/// Adds what the sections say about each other.
pub fn config(config: &Config, report: &mut Report) {
    interface(config, report);
    peers(config, report);
}

fn warn(report: &mut Report, line: Option<usize>, message: impl Into<String>, remedy: &str) {
    report.push(Diagnostic::new(Severity::Warning, line, message).remedy(remedy));
}

fn interface(config: &Config, report: &mut Report) {
    let i = &config.interface;
    if i.private_key.is_none() && !i.hooks().any(|h| h.contains("private-key")) {
        let message = "[Interface] has no PrivateKey, and no hook sets one";
        warn(report, None, message, "add what `wg genkey` prints");
    }
    if i.addresses.is_empty() {
        let message = "[Interface] has no Address, so nothing can be reached through the tunnel";
        warn(
            report,
            None,
            message,
            "add one such as Address = 10.0.0.1/24",
        );
    }
    let callable = i.listen_port.is_some_and(|p| p != 0);
    if !callable && !config.peers.is_empty() && config.peers.iter().all(|p| p.endpoint.is_none()) {
        let message =
            "there is neither a ListenPort nor an Endpoint, so no side can call the other";
        warn(
            report,
            None,
            message,
            "add ListenPort = 51820 here, or an Endpoint to a [Peer]",
        );
    }
    const IPV6_MIN_MTU: u16 = 1280;
    let ipv6 = i.addresses.iter().any(|a| a.addr.is_ipv6());
    if let Some(mtu) = i.mtu.filter(|m| ipv6 && *m < IPV6_MIN_MTU) {
        let message =
            format!("MTU = {mtu} is too small for IPv6, and the kernel removes the address");
        warn(
            report,
            None,
            message,
            "use at least 1280 (RFC 8200), or no IPv6 address",
        );
    }
}

fn peers(config: &Config, report: &mut Report) {
    let own = config
        .interface
        .private_key
        .as_ref()
        .map(PrivateKey::public);
    let mut by_key = HashMap::new();
    let mut by_range = HashMap::new();
    for peer in &config.peers {
        let line = Some(peer.line);
        if own == Some(peer.public_key) {
            let message = "this [Peer] is the device itself, and is ignored";
            warn(
                report,
                line,
                message,
                "use the public key of the other side",
            );
        }
        if let Some(first) = by_key.insert(peer.public_key, peer.line) {
            let message = format!(
                "this [Peer] is the same as that of line {first}, and replaces its AllowedIPs"
            );
            warn(report, line, message, "put all its keys into one section");
        }
        if peer.allowed_ips.is_empty() {
            let message = "this [Peer] has no AllowedIPs, so no packet goes to or comes from it";
            warn(
                report,
                line,
                message,
                "add the addresses that are behind it",
            );
        }
        for range in &peer.allowed_ips {
            match by_range.insert(*range, (peer.public_key, peer.line)) {
                Some((key, first)) if key != peer.public_key => {
                    let message = format!(
                        "the range {range} is in AllowedIPs of the [Peer] of line {first} too; the last one has it"
                    );
                    warn(report, line, message, "give each range to one peer");
                }
                _ => {}
            }
        }
    }
}

//! `show` for people: the lines of `wg show`, then ringtun's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use super::show::Shown;
use crate::control::nics::report::CardReport;
use crate::control::uapi::{CountInfo, DeviceInfo, PeerState};
use crate::crypto::PrivateKey;
use crate::datapath::rings::RingTotals;

/// One device. `now` is Unix time in seconds.
pub fn render(shown: &Shown, now: u64) -> String {
    let mut out = format!("interface: {}\n", shown.name);
    let state = &shown.state;
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "  {key}: {value}");
    };
    if let Some(key) = &state.private_key {
        line("public key", &PrivateKey::public(key).to_base64());
        line("private key", "(hidden)");
    }
    if state.listen_port != 0 {
        line("listening port", &state.listen_port.to_string());
    }
    if state.fwmark != 0 {
        line("fwmark", &format!("{:#x}", state.fwmark));
    }
    match &shown.info {
        Some(info) => own_lines(info, &mut line),
        None => line("daemon", "not ringtun, so there is no more to tell"),
    }
    let mut peers: Vec<&PeerState> = state.peers.iter().collect();
    // The latest handshake first, as `wg show` has it.
    peers.sort_by_key(|p| (std::cmp::Reverse(p.last_handshake), p.public_key));
    for peer in peers {
        out.push('\n');
        let name = shown.names.get(&peer.public_key).map(String::as_str);
        peer_lines(peer, name, now, &mut out);
    }
    out
}

fn own_lines(info: &DeviceInfo, line: &mut impl FnMut(&str, &str)) {
    let io = match info.io_reason.as_str() {
        "" => info.io.clone(),
        reason => format!("{} ({reason})", info.io),
    };
    line("io", &io);
    for why in &info.by_socket {
        line("by socket", why);
    }
    for card in &info.cards {
        line("card", &card_line(card));
    }
    if !info.verdicts.is_empty() {
        line("xdp verdicts", &counted(&info.verdicts));
        line("xdp classes", &counted(&info.classes));
    }
    for lan in &info.lan {
        let how = match &lan.refused {
            Some(why) => why.clone(),
            None if lan.forwarding.is_some() => {
                format!("past the kernel's stack, MSS clamped by XDP ({})", lan.xdp)
            }
            None => format!("MSS clamped by XDP ({})", lan.xdp),
        };
        line("lan", &format!("{}: {how}", lan.name));
        if let Some(why) = &lan.not_clamping {
            line(
                "lan",
                &format!("{}: MSS clamped in the tunnel only: {why}", lan.name),
            );
        }
        if let Some(why) = &lan.not_forwarding {
            line(
                "lan",
                &format!("{}: by the kernel's stack: {why}", lan.name),
            );
        }
        if let Some(card) = &lan.forwarding {
            line("lan card", &card_line(card));
        }
    }
    if !info.lan_verdicts.is_empty() {
        line("lan verdicts", &counted(&info.lan_verdicts));
    }
    for steer in &info.steering {
        let how = match &steer.refused {
            Some(why) => why.clone(),
            None => format!("to CPUs {}", joined(&steer.cpus)),
        };
        line("steer", &format!("{}: {how}", steer.group));
    }
    let steered = info.steered.iter().map(|(cpu, n)| (cpu.to_string(), *n));
    let steered: BTreeMap<String, CountInfo> = steered.collect();
    if steered.values().any(|n| n.packets > 0) {
        line("steered to CPU", &counted(&steered));
    }
    line("mtu", &info.mtu.to_string());
    line("workers", &info.workers.len().to_string());
    match &info.metrics {
        Some(address) => line("metrics", &format!("http://{address}/metrics")),
        None => line("metrics", "off"),
    }
    let drops: Vec<String> = info
        .drops
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(reason, n)| format!("{n} {reason}"))
        .collect();
    line("dropped", &or_none(&drops));
}

/// What is not zero.
fn joined(cpus: &[u32]) -> String {
    let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
    cpus.join(", ")
}

fn counted(counts: &BTreeMap<String, CountInfo>) -> String {
    let seen = counts.iter().filter(|(_, n)| n.packets > 0);
    let seen: Vec<_> = seen
        .map(|(what, n)| format!("{} {what}", n.packets))
        .collect();
    or_none(&seen)
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    }
}

/// A card with its rings added up.
fn card_line(card: &CardReport) -> String {
    let sum = |of: fn(&RingTotals) -> u64| card.queues.iter().map(of).sum::<u64>();
    let mut text = format!(
        "{} ({}, {}, {}): {} frames in, {} out, {} calls to send",
        card.name,
        card.driver,
        card.xdp,
        card.transfer,
        sum(|q| q.rx_packets),
        sum(|q| q.tx_packets),
        sum(|q| q.tx_wakeups),
    );
    for (count, what) in [
        (sum(|q| q.tx_full), "times no room to send"),
        (
            sum(|q| q.kernel_rx_dropped + q.kernel_rx_full),
            "dropped by the kernel for want of room",
        ),
        (sum(|q| q.stray), "damaged or for no device of ours"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn peer_lines(peer: &PeerState, name: Option<&str>, now: u64, out: &mut String) {
    let _ = writeln!(out, "peer: {}", peer.public_key);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "  {key}: {value}");
    };
    if let Some(name) = name {
        line("name", name);
    }
    if peer.preshared_key.is_set() {
        line("preshared key", "(hidden)");
    }
    if let Some(endpoint) = peer.endpoint {
        line("endpoint", &with_zone(endpoint));
    }
    let ranges: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    line(
        "allowed ips",
        if ranges.is_empty() {
            "(none)".to_owned()
        } else {
            ranges.join(", ")
        }
        .as_str(),
    );
    if peer.last_handshake.secs != 0 {
        line("latest handshake", &ago(peer.last_handshake.secs, now));
    }
    if peer.rx_bytes != 0 || peer.tx_bytes != 0 {
        line(
            "transfer",
            &format!(
                "{} received, {} sent",
                bytes(peer.rx_bytes),
                bytes(peer.tx_bytes)
            ),
        );
    }
    if peer.keepalive != 0 {
        line(
            "persistent keepalive",
            &format!("every {}", duration(peer.keepalive.into())),
        );
    }
}

/// A link-local address with the name of its interface, as `wg show` has it.
fn with_zone(endpoint: SocketAddr) -> String {
    let SocketAddr::V6(v6) = endpoint else {
        return endpoint.to_string();
    };
    match nix::net::if_::if_indextoname(v6.scope_id()) {
        Ok(zone) => format!("[{}%{}]:{}", v6.ip(), zone.to_string_lossy(), v6.port()),
        // No zone, or the interface is gone.
        Err(_) => endpoint.to_string(),
    }
}

fn ago(then: u64, now: u64) -> String {
    match now.checked_sub(then) {
        None => "in the future: the system clock was set back".to_owned(),
        Some(0) => "now".to_owned(),
        Some(seconds) => format!("{} ago", duration(seconds)),
    }
}

fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 24 * 3600, "year"),
        (24 * 3600, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        let n = left / length;
        left %= length;
        if n > 0 {
            parts.push(format!("{n} {unit}{}", if n == 1 { "" } else { "s" }));
        }
    }
    parts.join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.2} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_in_wg_show() {
        assert_eq!(duration(1), "1 second");
        assert_eq!(duration(3661), "1 hour, 1 minute, 1 second");
        assert_eq!(duration(366 * 24 * 3600), "1 year, 1 day");
        assert_eq!(ago(100, 100), "now");
        assert_eq!(ago(100, 160), "1 minute ago");
        assert!(ago(100, 99).contains("clock"));
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(3 << 30), "3.00 GiB");
        assert_eq!(bytes(u64::MAX), "16777216.00 TiB");
    }
}

//! The families of a device: state, handshakes, drops.

use super::family::Family;
use super::snapshot::DeviceMetrics;

const DEVICE: &[&str] = &["device"];

type Of<T> = fn(&DeviceMetrics) -> T;

/// State: name, help, where it is.
const STATE: &[(&str, &str, Of<usize>)] = &[
    (
        "ringtun_device_up",
        "1 while the interface is up, and its UDP sockets with it.",
        |d| usize::from(d.up),
    ),
    ("ringtun_peers", "Peers of the device.", |d| d.peer_count),
    (
        "ringtun_peers_omitted",
        "Peers without series of their own because there are more than --metrics-peers allows; their traffic is in the series with public_key=\"others\".",
        |d| d.peer_count.saturating_sub(d.peers.len()),
    ),
    (
        "ringtun_staged_packets",
        "Packets that wait for a handshake, of all peers; each keeps 128 at most.",
        |d| d.staged,
    ),
    (
        "ringtun_under_load",
        "1 while more handshake messages arrive than are answered, and a second longer: senders have to show by a cookie that their address is theirs.",
        |d| usize::from(d.under_load),
    ),
];

/// Counters: name, help, where they are.
const COUNTERS: &[(&str, &str, Of<u64>)] = &[
    (
        "ringtun_handshake_initiations_total",
        "Handshake initiations sent, retries included: one every 5 s while nobody answers.",
        |d| d.handshakes.initiations,
    ),
    (
        "ringtun_handshake_responses_total",
        "Handshake responses sent. More of them than sessions as responder: our answers do not arrive.",
        |d| d.handshakes.responses,
    ),
    (
        "ringtun_rekeys_total",
        "Sessions that took the place of one that was still good: one every 120 s for a peer that is used.",
        |d| d.handshakes.rekeys,
    ),
    (
        "ringtun_unanswered_total",
        "Times that a peer was sent data and sent nothing for 15 s, which makes a new handshake.",
        |d| d.handshakes.stopped_answering,
    ),
    (
        "ringtun_cookies_received_total",
        "Cookies that peers under load sent instead of an answer. Those that we send are drops with the reason cookie-required.",
        |d| d.handshakes.cookies_received,
    ),
    (
        "ringtun_endpoint_changes_total",
        "Times that a peer spoke from another address or port than before: it roams, or a NAT in between gives it a new port.",
        |d| d.endpoint_changes,
    ),
];

/// All families of these devices, their peers' aside.
pub(super) fn families(devices: &[DeviceMetrics]) -> Vec<Family> {
    let mut info = Family::gauge(
        "ringtun_device_info",
        "How outer packets of the device travel (xdp: some by AF_XDP rings; udp: all by sockets), and its public key; always 1.",
        &["device", "io", "public_key"],
    );
    let mut handshakes = Family::counter(
        "ringtun_handshakes_total",
        "Handshakes by our role and outcome; those refused are drops. gave-up: 20 initiations in 90 s without an answer.",
        &["device", "outcome", "role"],
    );
    let mut drops = Family::counter(
        "ringtun_drops_total",
        "Packets not delivered, by reason; every one that is lost here is counted once.",
        &["device", "reason"],
    );
    let mut all = Vec::new();
    for (name, help, of) in STATE {
        let mut family = Family::gauge(name, help, DEVICE);
        devices.iter().for_each(|d| family.add(&[&d.device], of(d)));
        all.push(family);
    }
    for (name, help, of) in COUNTERS {
        let mut family = Family::counter(name, help, DEVICE);
        devices.iter().for_each(|d| family.add(&[&d.device], of(d)));
        all.push(family);
    }
    for d in devices {
        let name = d.device.as_str();
        let key = d.public_key.map(|key| key.to_base64()).unwrap_or_default();
        info.add(&[name, d.io, &key], 1_u64);
        let h = &d.handshakes;
        for (outcome, role, n) in [
            ("completed", "initiator", h.completed_initiator),
            ("gave-up", "initiator", h.gave_up),
            ("completed", "responder", h.completed_responder),
        ] {
            handshakes.add(&[name, outcome, role], n);
        }
        for (reason, n) in d.drops.iter() {
            drops.add(&[name, reason.label()], n);
        }
    }
    all.extend([info, handshakes, drops]);
    all
}

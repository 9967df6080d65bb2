//! A tunnel that runs, as its daemon tells of it.

use std::collections::BTreeMap;

use ringtun_common::class::Class;
use ringtun_common::verdict::Verdict;

use super::{CELL_MAX, ROWS_MAX};
use crate::control::nics::report::{CardReport, LanReport};
use crate::control::report::gathered::Tunnel;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};
use crate::control::uapi::{CountInfo, DeviceInfo, DeviceState};
use crate::drops::DropReason;

const IO: [&str; 3] = ["auto", "udp", "xdp"];
const XDP: [&str; 3] = ["generic", "native", "none"];
const TRANSFERS: [&str; 2] = ["copy", "zero-copy"];
const RINGS: [&str; 4] = ["completion", "fill", "rx", "tx"];
const QUEUES: [&str; 2] = ["initiations", "replies"];
const GROUPS: [&str; 5] = ["esp", "gre", "natt-esp", "openvpn", "wireguard"];
/// Of what a daemon says on why packets travel as they do.
const REASONS: [&str; 30] = [
    "asked for",
    "the device is down",
    "a network card is being looked at",
    "no network card is in use yet: the first packet to a peer decides",
    "native",
    "generic",
    "zero-copy",
    "is no Ethernet device",
    "there are AF_XDP sockets for",
    "belongs to",
    "the route is being looked up",
    "more endpoints are in use than hops are kept for",
    "the endpoint was not sent to for a while",
    "there is no route to",
    "is unreachable",
    "prohibits packets to",
    "blackhole",
    "is not an address of this host any more",
    "there is no local address to reach",
    "the kernel refused to look up the route to",
    "without the XDP program",
    "Operation not permitted",
    "Operation not supported",
    "Device or resource busy",
    "Cannot allocate memory",
    "Invalid argument",
    "No such device",
    "Permission denied",
    "too large",
    "queue",
];

/// Settings, I/O, peers and counters.
#[must_use]
pub fn section(tunnel: &Tunnel, now: u64, names: &mut Pseudonyms) -> Section {
    let mut section = Section::of("state", names.device(&tunnel.name));
    match &tunnel.state {
        Ok(state) => device(state, now, names, &mut section),
        Err(why) => section.missing("state", *why),
    }
    match &tunnel.info {
        Ok(info) => ours(info, names, &mut section),
        Err(why) => section.missing("what ringtun knows", *why),
    }
    section
}

fn device(state: &DeviceState, now: u64, names: &mut Pseudonyms, section: &mut Section) {
    let own = state
        .private_key
        .as_ref()
        .map(|key| names.key(&key.public()));
    section.line("public key", own);
    section.line("listen port", state.listen_port);
    section.line("mark", state.fwmark);
    section.line("peers", state.peers.len());
    let head = &[
        "peer",
        "preshared key",
        "endpoint",
        "handshake (s ago)",
        "rx bytes",
        "tx bytes",
        "keepalive",
        "allowed IPs",
    ];
    section.table("running peers", head, &state.peers, ROWS_MAX, |peer| {
        let handshake = peer.last_handshake.secs;
        let age = (handshake != 0).then(|| now.saturating_sub(handshake));
        vec![
            names.peer(&peer.public_key),
            peer.preshared_key.is_set().into(),
            peer.endpoint.map_or(Fact::Nothing, |to| names.socket(to)),
            age.into(),
            peer.rx_bytes.into(),
            peer.tx_bytes.into(),
            peer.keepalive.into(),
            Fact::first(CELL_MAX, &peer.allowed_ips, |range| names.prefix(*range)),
        ]
    });
}

fn ours(info: &DeviceInfo, names: &mut Pseudonyms, section: &mut Section) {
    section.line("daemon's version", Fact::version(&info.version));
    section.line("link up", info.up);
    section.line("MTU", info.mtu);
    section.line("I/O", Fact::among(&IO, &info.io));
    section.line("I/O asked for", Fact::among(&IO, &info.io_asked));
    section.line("I/O because", Fact::phrases(&REASONS, &info.io_reason));
    section.line("I/O pending", info.io_pending);
    section.line("I/O waits for a peer", info.io_waits);
    let because = |why: &String| vec![Fact::phrases(&REASONS, why)];
    let (head, by_socket) = (&["because"], &info.by_socket);
    section.table("endpoints by socket", head, by_socket, CELL_MAX, because);
    let metrics = info.metrics.as_deref();
    section.line(
        "metrics at",
        metrics.map_or(Fact::Nothing, |at| names.address_text(at)),
    );
    section.table("cards", CARD, &info.cards, ROWS_MAX, |one| card(one, names));
    let rings = info
        .cards
        .iter()
        .flat_map(|card| card.queues.iter().enumerate());
    section.table("ring queues", RING, rings, ROWS_MAX, ring);
    let (head, slots) = (&["ring", "slots"], &info.ring_slots);
    section.table("ring slots", head, slots, CELL_MAX, |(ring, slots)| {
        vec![Fact::among(&RINGS, ring), (*slots).into()]
    });
    let head = &["device", "XDP", "refused", "clamping", "forwarding"];
    section.table("LAN devices", head, &info.lan, ROWS_MAX, |one| {
        lan(one, names)
    });
    let head = &["group", "processors", "refused"];
    section.table("steering", head, &info.steering, CELL_MAX, |group| {
        let refused = group.refused.as_deref();
        vec![
            Fact::among(&GROUPS, &group.group),
            Fact::first(CELL_MAX, &group.cpus, |cpu| (*cpu).into()),
            refused.map_or(Fact::Nothing, |why| Fact::phrases(&REASONS, why)),
        ]
    });
    let head = &["worker", "rx packets", "rx bytes", "tx packets", "tx bytes"];
    let workers = info.workers.iter().enumerate();
    section.table("workers", head, workers, ROWS_MAX, |(at, worker)| {
        let counts = [
            worker.rx_packets,
            worker.rx_bytes,
            worker.tx_packets,
            worker.tx_bytes,
        ];
        let counts = counts.into_iter().map(Fact::from);
        std::iter::once(at.into()).chain(counts).collect()
    });
    let head = &["queue", "length", "capacity"];
    section.table("queues", head, &info.queues, CELL_MAX, |(name, queue)| {
        vec![
            Fact::among(&QUEUES, name),
            queue.length.into(),
            queue.capacity.into(),
        ]
    });
    let drops = info.drops.iter().filter(|(_, count)| **count > 0);
    let head = &["reason", "packets"];
    section.table("drops", head, drops, ROWS_MAX, |(reason, count)| {
        let known = DropReason::ALL
            .iter()
            .find(|known| known.label() == *reason);
        let known = known.map(|known| Word::of(known.label()).into());
        vec![
            known.unwrap_or_else(|| Fact::hidden(reason)),
            (*count).into(),
        ]
    });
    let verdicts: Vec<&'static str> = Verdict::ALL.iter().map(|one| one.label()).collect();
    let classes: Vec<&'static str> = Class::ALL.iter().map(|one| one.label()).collect();
    counts(section, "XDP verdicts", &verdicts, &info.verdicts);
    counts(section, "XDP classes", &classes, &info.classes);
    counts(section, "XDP verdicts, LAN", &verdicts, &info.lan_verdicts);
}

fn counts(
    section: &mut Section,
    name: &'static str,
    known: &[&'static str],
    all: &BTreeMap<String, CountInfo>,
) {
    let all = all.iter().filter(|(_, count)| count.packets > 0);
    let head = &["name", "packets", "bytes"];
    section.table(name, head, all, ROWS_MAX, |(label, count)| {
        vec![
            Fact::among(known, label),
            count.packets.into(),
            count.bytes.into(),
        ]
    });
}

const CARD: &[&str] = &["device", "XDP", "transfer", "frame size", "queues"];

fn card(card: &CardReport, names: &mut Pseudonyms) -> Vec<Fact> {
    vec![
        names.device(&card.name),
        Fact::among(&XDP, &card.xdp),
        Fact::among(&TRANSFERS, &card.transfer),
        card.frame_size.into(),
        card.queues.len().into(),
    ]
}

const RING: &[&str] = &[
    "queue",
    "rx packets",
    "tx packets",
    "stray",
    "tx full",
    "tx pending",
    "fill pending",
    "failed",
    "kernel dropped",
    "rx ring full",
    "fill ring empty",
    "invalid",
];

fn ring((at, queue): (usize, &crate::datapath::rings::RingTotals)) -> Vec<Fact> {
    let counts = [
        queue.rx_packets,
        queue.tx_packets,
        queue.stray,
        queue.tx_full,
        queue.tx_pending,
        queue.fill_pending,
        queue.failed,
        queue.kernel_rx_dropped,
        queue.kernel_rx_full,
        queue.kernel_fill_empty,
        queue.kernel_invalid,
    ];
    let counts = counts.into_iter().map(Fact::from);
    std::iter::once(at.into()).chain(counts).collect()
}

fn lan(lan: &LanReport, names: &mut Pseudonyms) -> Vec<Fact> {
    let why = |text: &Option<String>| {
        let text = text.as_deref();
        text.map_or(Fact::Nothing, |text| Fact::phrases(&REASONS, text))
    };
    let yes_or = |text: &Option<String>, is: bool| match text {
        None => is.into(),
        some => why(some),
    };
    vec![
        names.device(&lan.name),
        Fact::among(&XDP, &lan.xdp),
        why(&lan.refused),
        yes_or(&lan.not_clamping, lan.refused.is_none()),
        yes_or(&lan.not_forwarding, lan.forwarding.is_some()),
    ]
}

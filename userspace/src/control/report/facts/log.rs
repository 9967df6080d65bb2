//! The log, as far as the journal keeps its fields apart: which events, when, of what.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::events::EVENTS;
use super::{CELL_MAX, ROWS_MAX};
use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};

/// By `PRIORITY` (syslog(3)).
const LEVELS: [&str; 8] = [
    "emergency",
    "alert",
    "critical",
    "error",
    "warn",
    "notice",
    "info",
    "debug",
];
/// Fields that name a device.
const DEVICES: [&str; 3] = ["DEVICE", "INTERFACE", "CARD"];
/// Fields that are an address or an endpoint.
const ADDRESSES: [&str; 6] = ["ENDPOINT", "ADDRESS", "SOURCE", "DESTINATION", "FROM", "TO"];
/// Fields that say why.
const REASONS: [&str; 3] = ["ERROR", "WHY", "REASON"];

/// Events with their counts, and the last of them.
#[must_use]
pub fn section(gathered: &Gathered, names: &mut Pseudonyms) -> Section {
    let mut section = Section::new("log");
    let entries = match &gathered.log {
        Ok(entries) => entries,
        Err(why) => {
            section.missing("journal", *why);
            return section;
        }
    };
    section.line("lines read", entries.len());
    let mut counts: BTreeMap<Option<Word>, u64> = BTreeMap::new();
    for entry in entries {
        let repeated = text(entry, "REPEATED").and_then(|text| text.parse::<u32>().ok());
        *counts.entry(event(entry)).or_default() += u64::from(repeated.unwrap_or(1));
    }
    let row_of = |(event, count): (Option<Word>, u64)| vec![event.into(), count.into()];
    section.table("events", &["event", "times"], counts, ROWS_MAX, row_of);
    let last = &entries[entries.len().saturating_sub(ROWS_MAX)..];
    let head = &[
        "s ago", "level", "event", "device", "peer", "address", "because", "repeated",
    ];
    section.table("last lines", head, last, ROWS_MAX, |entry| {
        row(entry, gathered.now, names)
    });
    section
}

fn text<'a>(entry: &'a Json, key: &str) -> Option<&'a str> {
    entry[key].as_str()
}

fn event(entry: &Json) -> Option<Word> {
    text(entry, "EVENT").and_then(|text| Word::among(&EVENTS, text))
}

fn row(entry: &Json, now: u64, names: &mut Pseudonyms) -> Vec<Fact> {
    let micros = text(entry, "__REALTIME_TIMESTAMP").and_then(|text| text.parse::<u64>().ok());
    let ago = micros.map(|micros| now.saturating_sub(micros / 1_000_000));
    let level = text(entry, "PRIORITY").and_then(|text| text.parse::<usize>().ok());
    let level = level
        .and_then(|level| LEVELS.get(level))
        .map(|level| Word::of(level));
    let event = match event(entry) {
        Some(event) => event.into(),
        None => text(entry, "EVENT").map_or(Fact::Nothing, Fact::hidden),
    };
    let of = |keys: &'static [&str]| keys.iter().filter_map(|key| text(entry, key));
    let devices = Fact::first(CELL_MAX, of(&DEVICES), |name| names.device(name));
    let peer = text(entry, "PEER").map_or(Fact::Nothing, |key| names.key_text(key));
    let addresses = Fact::first(CELL_MAX, of(&ADDRESSES), |text| names.address_text(text));
    let why = of(&REASONS)
        .map(|why| Fact::phrases(&ERRORS, why))
        .collect();
    let repeated = text(entry, "REPEATED").and_then(|text| text.parse::<u32>().ok());
    vec![
        ago.into(),
        level.into(),
        event,
        devices,
        peer,
        addresses,
        Fact::Many(why),
        repeated.into(),
    ]
}

/// What the system says of errors (strerror(3)).
const ERRORS: [&str; 16] = [
    "Address already in use",
    "Cannot allocate memory",
    "Cannot assign requested address",
    "Connection refused",
    "Device or resource busy",
    "Input/output error",
    "Invalid argument",
    "Message too long",
    "Network is unreachable",
    "No buffer space available",
    "No route to host",
    "No such device",
    "No such file or directory",
    "Operation not permitted",
    "Operation not supported",
    "Permission denied",
];

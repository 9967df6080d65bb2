//! Names of events are a contract with those who search logs: each that the sources
//! emit is in the table of `docs/guide/monitoring.md`, at its level, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What each line has already, in one of its forms.
const TAKEN: [&str; 12] = [
    "timestamp",
    "level",
    "target",
    "message",
    "repeated",
    "repeated_within_seconds",
    "priority",
    "syslog_identifier",
    "code_file",
    "code_line",
    "errno",
    "unit",
];

/// A macro call: file, level (or `event` where it is chosen at run time), arguments.
struct Call {
    place: String,
    level: String,
    arguments: String,
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if name != "tests" && !name.ends_with("_tests") {
            found.push(path);
        }
    }
}

/// The text up to the parenthesis that closes the first one.
fn arguments(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (0_i32, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return &text[1..at];
                }
            }
            _ => {}
        }
    }
    panic!("no end: {text}")
}

fn calls() -> Vec<Call> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut calls = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(&root).unwrap().display().to_string();
        // Macros by their full path only, or this search would miss some.
        for level in LEVELS.iter().chain(&["event", "span"]) {
            assert!(
                !text.contains(&format!("log::{level}!("))
                    && !text.contains(&format!("use tracing::{level};")),
                "{place}: write tracing::{level}!"
            );
        }
        for (at, _) in text.match_indices("tracing::") {
            let rest = &text[at + "tracing::".len()..];
            let Some((name, rest)) = rest.split_once('!') else {
                continue;
            };
            if !rest.starts_with('(') || !LEVELS.iter().chain(&["event"]).any(|l| *l == name) {
                continue;
            }
            calls.push(Call {
                place: place.clone(),
                level: name.to_owned(),
                arguments: arguments(rest).to_owned(),
            });
        }
    }
    calls
}

/// The value of `event = "…"`.
fn event_name(call: &Call) -> &str {
    let found = call.arguments.split_once("event = \"");
    let Some((_, rest)) = found else {
        panic!("{}: no event = \"…\" in: {}", call.place, call.arguments);
    };
    rest.split('"').next().unwrap()
}

/// Names of fields as far as the text tells.
fn fields(call: &Call) -> Vec<&str> {
    let pieces = call.arguments.split(',').map(str::trim);
    let names = pieces.map(|piece| piece.split('=').next().unwrap().trim());
    names
        .map(|name| name.trim_start_matches(['%', '?']))
        .filter(|name| !name.is_empty())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

/// Rows of the table: name and level.
fn documented() -> BTreeMap<String, String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/monitoring.md");
    let text = fs::read_to_string(guide).unwrap();
    let (_, section) = text.split_once("\n### Events\n").expect("the section");
    let section = section.split("\n#").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        assert!(cells[2].len() > 10, "what it means: {line}");
        let name = cells[0].trim_matches('`').to_owned();
        assert!(rows.insert(name, cells[1].to_owned()).is_none(), "{line}");
    }
    rows
}

#[test]
fn events_of_the_sources_are_those_of_the_guide() {
    let mut emitted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let calls = calls();
    assert!(calls.len() > 70, "found {} only", calls.len());
    for call in &calls {
        let name = event_name(call);
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{}: {name}",
            call.place
        );
        let level = match call.level.as_str() {
            "event" => "any",
            level => level,
        };
        let levels = emitted.entry(name.to_owned()).or_default();
        levels.insert(level.to_owned());
    }
    let documented = documented();
    for (name, levels) in &emitted {
        let levels: Vec<_> = levels.iter().map(String::as_str).collect();
        assert_eq!(
            documented.get(name),
            Some(&levels.join(", ")),
            "the row of {name} in docs/guide/monitoring.md"
        );
    }
    for name in documented.keys() {
        assert!(emitted.contains_key(name), "nothing emits {name}");
    }
    // What `ringtun report` tells of the log.
    let told = ringtun::control::report::facts::events::EVENTS;
    assert!(emitted.keys().map(String::as_str).eq(told), "{told:?}");
}

#[test]
fn no_field_has_the_name_of_what_each_line_has() {
    for call in calls() {
        for field in fields(&call) {
            assert!(!TAKEN.contains(&field), "{}: {field}", call.place);
        }
    }
}

/// The one word for each thing, so that one search finds all.
#[test]
fn devices_peers_and_errors_are_called_so() {
    for call in calls() {
        for field in fields(&call) {
            assert!(
                !["dev", "public_key", "peer_key", "err", "e", "errno"].contains(&field),
                "{}: {field}",
                call.place
            );
        }
    }
}

//! Folding in the fake time of its table, and through the layer as the program has it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::fold::{Folder, KINDS_MAX, Line, QUIET};
use super::layer::{Folding, Sink};
use super::line;
use super::record::Record;
use crate::tunnel::time::BootTime;

/// Lines as JSON, and what they said in text.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<(serde_json::Value, String)>>>);

impl Sink for Page {
    fn write(&self, line: Line<'_>) {
        let json = line::json(&line);
        assert_eq!(json.matches('\n').count(), 1, "{json:?}");
        let text = line::text(&line, false);
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        let json = serde_json::from_str(&json).expect("each line is JSON");
        self.0.lock().unwrap().push((json, text));
    }
}

impl Page {
    fn lines(&self) -> Vec<serde_json::Value> {
        let lines = self.0.lock().unwrap();
        lines.iter().map(|(json, _)| json.clone()).collect()
    }

    /// How many events the lines with this value of a field stand for.
    fn events(&self, field: &str, value: &str) -> u64 {
        let lines = self.lines();
        let of_it = lines.iter().filter(|line| line[field] == value);
        of_it
            .map(|line| line["repeated"].as_u64().unwrap_or(1))
            .sum()
    }
}

/// What `tell` says, through the layer; then the process ends.
fn told(tell: impl FnOnce()) -> Page {
    let page = Page::default();
    let folding = Folding::start(page.clone());
    let flush = folding.flush();
    let log = tracing_subscriber::registry()
        .with(LevelFilter::DEBUG)
        .with(folding);
    tracing::subscriber::with_default(log, tell);
    flush();
    page
}

/// The records of `tell`, unfolded.
fn records(tell: impl FnOnce()) -> Vec<Record> {
    #[derive(Clone, Default)]
    struct All(Arc<Mutex<Vec<Record>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for All {
        fn on_event(
            &self,
            event: &tracing::Event<'_>,
            _: tracing_subscriber::layer::Context<'_, S>,
        ) {
            self.0.lock().unwrap().push(Record::of(event));
        }
    }
    let all = All::default();
    let log = tracing_subscriber::registry().with(all.clone());
    tracing::subscriber::with_default(log, tell);
    std::mem::take(&mut *all.0.lock().unwrap())
}

fn failure(peer: u64) -> Record {
    let mut records = records(|| tracing::error!(event = "test", peer, "cannot"));
    records.pop().unwrap()
}

/// A table, its clock, and what it wrote: the peer and for how many events.
struct Table {
    folder: Folder,
    now: BootTime,
    written: Vec<(BootTime, String, u64)>,
}

impl Table {
    fn new() -> Self {
        Self {
            folder: Folder::default(),
            now: BootTime::from_nanos(1),
            written: Vec::new(),
        }
    }

    fn event(&mut self, record: &Record) {
        let (now, written) = (self.now, &mut self.written);
        let mut write = |line: Line<'_>| written.push(entry(now, &line));
        self.folder.event(now, record.clone(), &mut write);
    }

    /// Time passes, and what is due on the way is written when it is.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.folder.due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let (now, written) = (self.now, &mut self.written);
            let mut write = |line: Line<'_>| written.push(entry(now, &line));
            self.folder.write_due(now, &mut write);
            assert!(self.folder.due().is_none_or(|next| next > due), "progress");
        }
        self.now = end;
    }
}

fn entry(now: BootTime, line: &Line<'_>) -> (BootTime, String, u64) {
    let text = line::sentence(line);
    (now, text, line.repeated.map_or(1, |r| r.count))
}

#[test]
fn a_hundred_thousand_equal_events_are_a_handful_of_lines_that_add_up() {
    let page = told(|| {
        for _ in 0..100_000 {
            tracing::warn!(event = "flood", device = "wg0", error = %"full", "receiving");
        }
    });
    let lines = page.lines();
    assert!((2..=10).contains(&lines.len()), "{lines:#?}");
    assert_eq!(page.events("event", "flood"), 100_000);
    assert!(lines[0]["repeated"].is_null(), "the first as it is");
    let text = &page.0.lock().unwrap()[1].1;
    assert!(text.contains(" WARN receiving (repeated "), "{text}");
    assert!(text.contains("event=flood device=wg0 error=full"), "{text}");
}

#[test]
fn counts_are_written_while_the_flood_goes_on() {
    let mut table = Table::new();
    let record = failure(1);
    // 20 minutes, 100 a second.
    let (seconds, rate) = (1200, 100);
    for _ in 0..seconds * rate {
        table.event(&record);
        table.pass(Duration::from_secs(1) / rate);
    }
    table.pass(QUIET * 10);
    let counts: u64 = table.written.iter().map(|(_, _, count)| count).sum();
    assert_eq!(counts, u64::from(seconds * rate));
    let at: Vec<u64> = table
        .written
        .iter()
        .map(|(at, ..)| at.as_nanos() / 1_000_000_000)
        .collect();
    assert_eq!(at[..5], [0, 1, 11, 71, 131], "{at:?}");
    assert_eq!(
        at.len(),
        3 + 19 + 1,
        "then each minute, and the end: {at:?}"
    );
    // The last line comes when it is quiet, not a minute later.
    let end = u64::from(seconds) + QUIET.as_secs();
    assert!(at.last().is_some_and(|last| *last <= end), "{at:?}");
    assert_eq!(table.folder.due(), None);
}

#[test]
fn what_is_different_in_any_field_is_apart_and_told_at_once() {
    let page = told(|| {
        for _ in 0..1000 {
            for peer in ["a", "b"] {
                tracing::error!(event = "down", device = "wg0", peer, "lost");
                tracing::error!(event = "down", device = "wg1", peer, "lost");
            }
            // Another place in the sources.
            tracing::error!(event = "down", device = "wg0", peer = "a", "lost");
        }
    });
    assert_eq!(page.events("peer", "a"), 3000);
    assert_eq!(page.events("peer", "b"), 2000);
    let lines = page.lines();
    for (line, (device, peer)) in lines.iter().zip([
        ("wg0", "a"),
        ("wg1", "a"),
        ("wg0", "b"),
        ("wg1", "b"),
        ("wg0", "a"),
    ]) {
        assert_eq!(
            (&line["device"], &line["peer"]),
            (&device.into(), &peer.into())
        );
        assert!(line["repeated"].is_null(), "{line}");
    }
    assert!(lines.len() <= 15, "{}", lines.len());
}

#[test]
fn after_a_pause_an_event_is_news() {
    let mut table = Table::new();
    let record = failure(1);
    for _ in 0..4 {
        table.event(&record);
        table.event(&record);
        table.pass(QUIET * 2);
    }
    let counts: Vec<_> = table.written.iter().map(|(_, _, count)| *count).collect();
    assert_eq!(counts, [1; 8]);
    assert!(table.written[1].1.contains("(repeated 1 time within"));
    // One that comes every five seconds is not: a line a minute, in the end.
    let before = table.written.len();
    for _ in 0..12 * 10 {
        table.event(&record);
        table.pass(Duration::from_secs(5));
    }
    let lines = table.written.len() - before;
    assert!((10..=14).contains(&lines), "{lines}");
}

#[test]
fn the_table_is_bounded_and_what_makes_room_is_written_and_said() {
    let mut table = Table::new();
    let many = KINDS_MAX as u64 + 100;
    for peer in 0..many {
        let record = failure(peer);
        table.event(&record);
        table.event(&record);
        table.now = table.now + Duration::from_micros(1);
    }
    let now = table.now;
    // Each was told at once, and those that made room with their count.
    assert_eq!(table.written.len() as u64, many + 100);
    assert!(table.written.iter().all(|(_, _, count)| *count == 1));
    assert_eq!(table.folder.crowded(now), Some(100));
    // Once a minute; until then it is counted.
    for peer in 0..10 {
        table.event(&failure(many + peer));
    }
    assert_eq!(table.folder.crowded(now), None);
    assert!(table.folder.due().is_some());
    let later = now + Duration::from_secs(60);
    assert_eq!(table.folder.crowded(later), Some(10));
    table.pass(QUIET * 2);
    // The rest is told, nothing is left, and there is room again.
    let told: u64 = table.written.iter().map(|(_, _, count)| count).sum();
    assert_eq!(told, 2 * many + 10);
    table.event(&failure(1));
    assert_eq!(table.folder.crowded(later + QUIET * 20), None);
}

#[test]
fn each_first_of_a_kind_is_written_in_a_crowd_too() {
    let page = Page::default();
    let folding = Folding::start(page.clone());
    let log = tracing_subscriber::registry().with(folding);
    let kinds = tracing::subscriber::with_default(log, || {
        for number in 0..KINDS_MAX + 7 {
            tracing::info!(event = "kind", number, "one of many");
        }
        page.lines().len()
    });
    assert_eq!(kinds, KINDS_MAX + 7, "each first of a kind is written");
}

#[test]
fn what_the_filter_holds_back_is_never_looked_at() {
    struct Trap;
    impl std::fmt::Display for Trap {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("made into text")
        }
    }
    let page = told(|| tracing::trace!(event = "hidden", trap = %Trap, "{Trap}"));
    assert_eq!(page.lines(), [] as [serde_json::Value; 0]);
}

#[test]
fn names_of_strangers_make_no_lines_and_no_fields() {
    let name = "x\" level=ERROR\nPRIORITY=0\r\u{1b}[2J\u{202e}";
    let page =
        told(|| tracing::info!(event = "name", friendly = name, n = 7, yes = true, "{name}"));
    let lines = page.0.lock().unwrap();
    let [(json, text)] = &lines[..] else {
        panic!("{}", lines.len())
    };
    assert_eq!(json["n"], 7);
    assert_eq!(json["yes"], true);
    assert_eq!(json["level"], "INFO");
    let escaped = "x\" level=ERROR\\nPRIORITY=0\\r\\u{1b}[2J\\u{202e}";
    assert_eq!(json["friendly"], escaped);
    assert_eq!(json["message"], escaped);
    let control = text.trim_end().chars().find(|c| c.is_control());
    assert_eq!(control, None, "{text:?}");
    assert!(
        text.contains("friendly=\"x\\\" level=ERROR\\nPRIO"),
        "{text}"
    );
}

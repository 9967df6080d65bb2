//! Repeated events become one line with a count.
//!
//! The first of a kind is written at once. Equal ones are counted, and a line with the
//! count is due 1 s after it, then 10 s after that, then each minute; or when there
//! were none for [`QUIET`], which ends the series. So nothing is lost, and one kind
//! has at most a handful of lines a minute.

use std::collections::HashMap;
use std::time::Duration;

use super::record::Record;
use crate::tunnel::time::BootTime;

/// From one line of a kind to the next.
const STEPS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Without an equal one for so long, the next is the first of a new series.
pub const QUIET: Duration = Duration::from_secs(10);

/// Kinds that are remembered. The one that was not seen for longest makes room.
pub const KINDS_MAX: usize = 1024;

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub record: &'a Record,
    pub repeated: Option<Repeated>,
}

/// The line is about events that had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// How many.
    pub count: u64,
    /// The time from the last line of this kind to the last event of these.
    pub within: Duration,
}

/// What is remembered of a kind.
#[derive(Debug)]
struct Kind {
    /// The last line.
    written: BootTime,
    /// The last event.
    seen: BootTime,
    /// Events since the last line.
    folded: u64,
    /// The step until the next line.
    step: usize,
}

impl Kind {
    fn new(now: BootTime) -> Self {
        Self {
            written: now,
            seen: now,
            folded: 0,
            step: 0,
        }
    }

    fn next(&self) -> BootTime {
        self.written + STEPS[self.step]
    }

    fn is_over(&self, now: BootTime) -> bool {
        now.since(self.seen) >= QUIET
    }

    /// When a line has to be written; never if it would have nothing to say.
    fn due(&self) -> Option<BootTime> {
        (self.folded > 0).then(|| self.next().min(self.seen + QUIET))
    }

    fn line_is_written(&mut self, now: BootTime) {
        self.written = now;
        self.folded = 0;
        self.step = (self.step + 1).min(STEPS.len() - 1);
    }

    fn repeated(&self) -> Option<Repeated> {
        (self.folded > 0).then(|| Repeated {
            count: self.folded,
            within: self.seen.since(self.written),
        })
    }
}

/// The kinds of events that came lately.
#[derive(Debug, Default)]
pub struct Folder {
    kinds: HashMap<Record, Kind>,
    /// Kinds that made room too early, since that was said.
    crowded: u64,
    crowded_said: Option<BootTime>,
}

impl Folder {
    /// An event came. Tells when something is due because of it.
    pub fn event(
        &mut self,
        now: BootTime,
        record: Record,
        write: &mut impl FnMut(Line<'_>),
    ) -> Option<BootTime> {
        if let Some(kind) = self.kinds.get_mut(&record) {
            let over = kind.is_over(now);
            kind.seen = now;
            if kind.folded > 0 || (!over && now < kind.next()) {
                kind.folded += 1;
                // Later ones make it due no earlier.
                return kind.due().filter(|_| kind.folded == 1);
            }
            write(Line::first(&record));
            if over {
                *kind = Kind::new(now);
            } else {
                kind.line_is_written(now);
            }
            return None;
        }
        // Before anything else: it may be the reason why the process ends.
        write(Line::first(&record));
        self.make_room(now, write);
        self.kinds.insert(record, Kind::new(now));
        self.crowded_due()
    }

    fn make_room(&mut self, now: BootTime, write: &mut impl FnMut(Line<'_>)) {
        if self.kinds.len() < KINDS_MAX {
            return;
        }
        self.forget(now);
        if self.kinds.len() < KINDS_MAX {
            return;
        }
        let oldest = self.kinds.iter().min_by_key(|(_, kind)| kind.seen);
        if let Some((record, kind)) = oldest {
            let record = record.clone();
            write_counts(&record, kind, write);
            self.kinds.remove(&record);
            self.crowded += 1;
        }
    }

    fn forget(&mut self, now: BootTime) {
        self.kinds
            .retain(|_, kind| kind.folded > 0 || !kind.is_over(now));
    }

    /// Writes what is due.
    pub fn write_due(&mut self, now: BootTime, write: &mut impl FnMut(Line<'_>)) {
        self.forget(now);
        for (record, kind) in &mut self.kinds {
            if kind.due().is_some_and(|due| due <= now) {
                write_counts(record, kind, write);
                kind.line_is_written(now);
            }
        }
    }

    /// Writes all counts, due or not.
    pub fn write_all(&mut self, now: BootTime, write: &mut impl FnMut(Line<'_>)) {
        for (record, kind) in &mut self.kinds {
            if kind.folded > 0 {
                write_counts(record, kind, write);
                kind.line_is_written(now);
            }
        }
    }

    /// How many kinds made room for others since this was last asked, at most once
    /// a minute.
    pub fn crowded(&mut self, now: BootTime) -> Option<u64> {
        let waits = self
            .crowded_said
            .is_some_and(|said| now.since(said) < STEPS[2]);
        if self.crowded == 0 || waits {
            return None;
        }
        self.crowded_said = Some(now);
        Some(std::mem::take(&mut self.crowded))
    }

    /// When [`Self::write_due`] or [`Self::crowded`] has something to say.
    pub fn due(&self) -> Option<BootTime> {
        let lines = self.kinds.values().filter_map(Kind::due);
        lines.chain(self.crowded_due()).min()
    }

    fn crowded_due(&self) -> Option<BootTime> {
        let said = self.crowded_said.map(|said| said + STEPS[2]);
        (self.crowded > 0).then_some(said.unwrap_or(BootTime::ZERO))
    }
}

fn write_counts(record: &Record, kind: &Kind, write: &mut impl FnMut(Line<'_>)) {
    let repeated = kind.repeated();
    if repeated.is_some() {
        write(Line { record, repeated });
    }
}

impl<'a> Line<'a> {
    const fn first(record: &'a Record) -> Self {
        Self {
            record,
            repeated: None,
        }
    }
}

//! What `ringtun doctor --json` finds: ids, not sentences.

use super::{ROWS_MAX, objects, word};
use crate::control::doctor::finding::IDS;
use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};

const SEVERITIES: [&str; 3] = ["error", "note", "warning"];
const REMEDIES: [&str; 3] = ["command", "line", "advice"];

/// The findings, in the order of doctor.
#[must_use]
pub fn section(gathered: &Gathered, names: &mut Pseudonyms) -> Section {
    let mut section = Section::new("doctor");
    let outcome = match &gathered.doctor {
        Ok(outcome) => outcome,
        Err(why) => {
            section.missing("findings", *why);
            return section;
        }
    };
    let rows: Vec<Vec<Fact>> = objects(&outcome["findings"])
        .map(|finding| {
            let device = finding["device"].as_str();
            let remedies = objects(&finding["remedies"]).filter_map(|remedy| {
                let kind = REMEDIES.into_iter().find(|kind| remedy.get(kind).is_some());
                kind.map(|kind| Word::of(kind).into())
            });
            vec![
                word(&SEVERITIES, &finding["severity"]),
                word(IDS, &finding["id"]),
                device.map_or(Fact::Nothing, |device| names.device(device)),
                Fact::first(super::CELL_MAX, remedies),
            ]
        })
        .collect();
    let head = &["severity", "finding", "device", "mended by"];
    section.table("findings", head, rows, ROWS_MAX);
    section
}

//! What `ringtun doctor --json` finds: ids, not sentences.

use super::{CELL_MAX, ROWS_MAX, objects, word};
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
    let head = &["severity", "finding", "device", "mended by"];
    let findings = objects(&outcome["findings"]);
    section.table("findings", head, findings, ROWS_MAX, |finding| {
        let device = finding["device"].as_str();
        let remedies = objects(&finding["remedies"])
            .filter_map(|remedy| REMEDIES.into_iter().find(|kind| remedy.get(kind).is_some()));
        vec![
            word(&SEVERITIES, &finding["severity"]),
            word(IDS, &finding["id"]),
            device.map_or(Fact::Nothing, |device| names.device(device)),
            Fact::first(CELL_MAX, remedies, |kind| Word::of(kind).into()),
        ]
    });
    section
}

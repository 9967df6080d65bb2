//! What of each source goes into a report. Each takes what the machine said apart and
//! keeps numbers, flags, and words that it knows; each is total, whatever was said.

pub mod events;
pub mod file;
pub mod findings;
pub mod firewall;
pub mod host;
pub mod links;
pub mod log;
pub mod routes;
pub mod state;

use serde_json::Value as Json;

use super::value::Fact;

/// Rows of a table at most.
const ROWS_MAX: usize = 100;
/// Values in one cell.
const CELL_MAX: usize = 8;

/// A number of JSON that is one.
fn number(json: &Json) -> Fact {
    json.as_u64()
        .map(Fact::from)
        .or_else(|| json.as_i64().map(Fact::from))
        .unwrap_or(Fact::Nothing)
}

/// A word of the list, or the length of a text that is none.
fn word(list: &[&'static str], json: &Json) -> Fact {
    json.as_str()
        .map_or(Fact::Nothing, |text| Fact::among(list, text))
}

/// The objects in a list.
fn objects(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array()
        .into_iter()
        .flatten()
        .filter(|one| one.is_object())
}

//! One event, with its fields as they are written.

use std::fmt::{self, Write as _};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Bytes of one text: a message or a field. More is cut off, and how much is said.
pub const TEXT_MAX: usize = 4096;

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Bool(bool),
}

/// An event. Two that are equal come from the same place and say the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    callsite: Identifier,
    pub level: Level,
    pub target: &'static str,
    /// Where in the sources.
    pub place: Option<(&'static str, u32)>,
    pub message: String,
    /// In the order of the source.
    pub fields: Vec<(&'static str, Value)>,
}

impl Record {
    /// What `event` says.
    pub fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            callsite: metadata.callsite(),
            level: *metadata.level(),
            target: metadata.target(),
            place: metadata.file().zip(metadata.line()),
            message: String::new(),
            fields: Vec::with_capacity(metadata.fields().len()),
        };
        event.record(&mut record);
        record
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Record {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Printable::default();
        // It fails only if the value itself does; what it said until then stays.
        let _ = write!(text, "{value:?}");
        let text = text.finish();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::Text(text));
        }
    }
}

/// Text of anybody, such that it cannot end a line, nor change what a terminal shows
/// of it: control characters, separators of lines and those that turn the direction of
/// writing are escaped as in Rust.
#[derive(Default)]
struct Printable {
    text: String,
    /// Bytes that had no place.
    cut: usize,
}

impl fmt::Write for Printable {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for character in piece.chars() {
            if self.cut > 0 || self.text.len() >= TEXT_MAX {
                self.cut += character.len_utf8();
            } else if is_unprintable(character) {
                self.text.extend(character.escape_default());
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

impl Printable {
    fn finish(mut self) -> String {
        if self.cut > 0 {
            let _ = write!(self.text, "… ({} more bytes)", self.cut);
        }
        self.text
    }
}

/// Also the marks of Unicode's bidirectional algorithm (UAX #9, table 4), with which a
/// line can look like another one.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printable(text: &str) -> String {
        let mut out = Printable::default();
        out.write_str(text).unwrap();
        out.finish()
    }

    #[test]
    fn text_of_others_stays_on_its_line() {
        for (text, expected) in [
            ("Anna's \"phone\" ä 漢", "Anna's \"phone\" ä 漢"),
            ("a\nINFO b\r\t", "a\\nINFO b\\r\\t"),
            ("\u{1b}[2J\u{7}\u{9b}", "\\u{1b}[2J\\u{7}\\u{9b}"),
            ("\u{202e}x\u{2028}\u{2066}", "\\u{202e}x\\u{2028}\\u{2066}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_that_is_said() {
        let long = "ä".repeat(TEXT_MAX);
        let text = printable(&long);
        assert_eq!(
            text,
            format!("{}… ({TEXT_MAX} more bytes)", &long[..TEXT_MAX])
        );
    }
}

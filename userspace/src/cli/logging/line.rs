//! How a line looks: text for people, JSON for programs, fields for the journal.

use std::fmt::Write as _;
use std::io::Write as _;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::fold::{Line, Repeated};
use super::journal;
use super::layer::Sink;
use super::record::Value;

/// The form of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text { colors: bool },
    Json,
    Journal,
}

/// Standard error, or the journal.
pub struct Output(pub Form);

impl Sink for Output {
    fn write(&self, line: Line<'_>) {
        let text = match self.0 {
            Form::Text { colors } => text(&line, colors),
            Form::Json => json(&line),
            Form::Journal => match journal::send(&line) {
                Ok(()) => return,
                // The journal is at the other end of standard error, too.
                Err(_) => text(&line, false),
            },
        };
        // At once, so that lines of several processes do not mix. It may be gone: a
        // terminal that was closed, a pipe whose reader ended.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

fn timestamp() -> String {
    let mut text = String::new();
    // Fails if the text does.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// `TIME LEVEL what message says event=… device=…`.
pub fn text(line: &Line<'_>, colors: bool) -> String {
    let level = line.record.level;
    let (color, plain) = match level {
        _ if !colors => ("", ""),
        Level::ERROR => ("\x1b[31m", "\x1b[0m"),
        Level::WARN => ("\x1b[33m", "\x1b[0m"),
        Level::INFO => ("\x1b[32m", "\x1b[0m"),
        _ => ("\x1b[34m", "\x1b[0m"),
    };
    let time = timestamp();
    format!("{time} {color}{level:>5}{plain} {}\n", sentence(line))
}

/// The message and the fields.
pub fn sentence(line: &Line<'_>) -> String {
    let mut text = line.record.message.clone();
    if let Some(Repeated { count, within }) = line.repeated {
        let times = if count == 1 { "time" } else { "times" };
        let seconds = within.as_secs_f64();
        let _ = write!(text, " (repeated {count} {times} within {seconds:.1} s)");
    }
    for (name, value) in &line.record.fields {
        let _ = match value {
            Value::Signed(number) => write!(text, " {name}={number}"),
            Value::Unsigned(number) => write!(text, " {name}={number}"),
            Value::Bool(value) => write!(text, " {name}={value}"),
            Value::Text(value) if is_word(value) => write!(text, " {name}={value}"),
            Value::Text(value) => write!(text, " {name}=\"{}\"", value.replace('"', "\\\"")),
        };
    }
    text
}

/// Needs no quotes.
fn is_word(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"')
}

/// One object: what each line has, then the fields of the event.
pub fn json(line: &Line<'_>) -> String {
    let record = line.record;
    let mut text = String::from("{");
    let mut put = |name: &str, value: serde_json::Value| {
        let comma = if text.len() > 1 { "," } else { "" };
        // Names of fields are words of the sources, none of which is one of these here
        // (tests/log_events.rs).
        let _ = write!(text, "{comma}\"{name}\":{value}");
    };
    put("timestamp", timestamp().into());
    put("level", record.level.as_str().into());
    put("message", record.message.as_str().into());
    if let Some(Repeated { count, within }) = line.repeated {
        put("repeated", count.into());
        put("repeated_within_seconds", within.as_secs_f64().into());
    }
    for (name, value) in &record.fields {
        let value = match value {
            Value::Text(text) => text.as_str().into(),
            Value::Signed(number) => (*number).into(),
            Value::Unsigned(number) => (*number).into(),
            Value::Bool(value) => (*value).into(),
        };
        put(name, value);
    }
    put("target", record.target.into());
    text.push_str("}\n");
    text
}

//! `ringtun report`: what somebody who is to find a fault has to know, and nothing
//! that says whose machine it is.
//!
//! * [`redact`]: keys, names and addresses taken out of text.
//! * [`addresses`]: what stands in their place.
//! * [`config`]: wg-quick files.
//! * [`sources`]: programs, settings and pages that are asked.

pub mod addresses;
pub mod config;
pub mod redact;
pub mod sources;

use std::fmt::Write as _;

pub use redact::Redactor;

/// Headed texts, redacted as they come in.
pub struct Report {
    redactor: Redactor,
    text: String,
    sections: Vec<String>,
}

impl Report {
    /// Nothing is in it. What the redactor is to know, it has to know before.
    #[must_use]
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            text: String::new(),
            sections: Vec::new(),
        }
    }

    /// Adds a text, of which at most [`sources::SECTION_MAX`] bytes are kept.
    pub fn add(&mut self, title: &str, text: &str) {
        let kept = text.floor_char_boundary(sources::SECTION_MAX);
        let redacted = self.redactor.text(&text[..kept]);
        self.add_redacted(title, &redacted);
        if kept < text.len() {
            let _ = writeln!(self.text, "(cut after {kept} bytes)");
        }
    }

    /// Adds the file of a tunnel.
    pub fn add_config(&mut self, title: &str, path: &std::path::Path) {
        let text = config::of(path, &mut self.redactor);
        self.add_redacted(title, &text);
    }

    fn add_redacted(&mut self, title: &str, text: &str) {
        let title = self.redactor.text(title);
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let _ = write!(self.text, "\n==== {title} ====\n\n{text}{end}");
        self.sections.push(title);
    }

    /// The text, what it is about, and how many keys, names and addresses were
    /// replaced.
    #[must_use]
    pub fn finish(self) -> (String, Vec<String>, [usize; 3]) {
        let counts = self.redactor.counts();
        (self.text, self.sections, counts)
    }
}

//! What is wrong with a file, where, and what to do.

use std::fmt;

use serde::Serialize;

/// More than this are counted, not kept.
pub const MAX_DIAGNOSTICS: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, and will perhaps not do what is meant.
    Warning,
}

/// One thing that is wrong. Holds no key and no unknown text: either might be
/// a secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The key, as it is usually written.
    pub key: Option<&'static str>,
    /// The value or the part of it that is wrong, where it cannot be secret.
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Diagnostic {
    /// Starts a diagnostic for a line, or for the file (`None`).
    pub(super) fn new(severity: Severity, line: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            severity,
            line,
            key: None,
            value: None,
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// Names the key.
    #[must_use]
    pub(super) fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// Shows the value, shortened, unprintable characters escaped; not if it may
    /// be a key in the wrong place.
    #[must_use]
    pub(super) fn value(mut self, value: &str) -> Self {
        const SHOWN: usize = 64;
        if may_hold_a_key(value) {
            self.value = Some("(hidden: it looks like a key)".to_owned());
            return self;
        }
        let mut shown: String = value
            .chars()
            .flat_map(char::escape_debug)
            .take(SHOWN)
            .collect();
        if shown.chars().count() == SHOWN {
            shown.push('…');
        }
        self.value = Some(shown);
        self
    }

    /// Says what to do.
    #[must_use]
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// `7: error: MTU = 14x0: not a number; write a number of bytes`, to be put
/// after the name of the file and a colon.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        } else {
            f.write_str(" ")?;
        }
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        match (self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value}: ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            (None, Some(value)) => write!(f, "`{value}`: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All that was found, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Report {
    /// Takes one more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        } else if diagnostic.severity == Severity::Error {
            // No flood of warnings hides an error.
            let last = self
                .diagnostics
                .iter()
                .rposition(|d| d.severity == Severity::Warning);
            if let Some(at) = last {
                self.diagnostics[at] = diagnostic;
            }
        }
    }

    /// Errors found, kept or not.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Warnings found, kept or not.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Found and not kept.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.errors + self.warnings - self.diagnostics.len()
    }

    /// Those kept, by line, the file as a whole first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<_> = self.diagnostics.iter().collect();
        all.sort_by_key(|d| (d.line, d.severity));
        all
    }
}

/// Whether as many characters of base64 stand together as a key has, give or
/// take a few lost in copying, or of hexadecimal.
fn may_hold_a_key(value: &str) -> bool {
    const KEY: usize = 40;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    value.split(|c| !is_base64(c)).any(|word| word.len() >= KEY)
}

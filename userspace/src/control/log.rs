//! What the process logs, changed while it runs.

use std::str::FromStr;
use std::sync::OnceLock;

use super::errno::Errno;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What cannot go on.
    Error,
    /// What goes on, and should be looked after.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Each handshake and each change of a peer.
    Debug,
    /// More than that.
    Trace,
}

impl LogLevel {
    /// Every level.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// As on the command line; a directive of the log's filter.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|level| level.label() == text)
            .ok_or("wants off, error, warn, info, debug or trace")
    }
}

type Apply = Box<dyn Fn(LogLevel) -> bool + Send + Sync>;

/// The process has one log.
static LOG: OnceLock<Apply> = OnceLock::new();

/// From now on [`set`] calls this; it tells whether the level holds. The first one
/// that is given stays.
pub fn on_change(apply: impl Fn(LogLevel) -> bool + Send + Sync + 'static) {
    let _ = LOG.set(Box::new(apply));
}

/// Logs at this level from now on, all devices of the process.
///
/// # Errors
/// [`Errno::NOT_SUPPORTED`] where nobody logs.
pub fn set(level: LogLevel) -> Result<(), Errno> {
    let changed = LOG.get().is_some_and(|apply| apply(level));
    changed.then_some(()).ok_or(Errno::NOT_SUPPORTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_written() {
        for level in LogLevel::ALL {
            assert_eq!(level.label().parse(), Ok(level));
        }
        assert!("loud".parse::<LogLevel>().is_err());
    }
}

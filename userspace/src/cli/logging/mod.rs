//! Log lines: which, in what form, and where they go.
//!
//! An event that passes the filter becomes a [`record::Record`], the [`layer`] looks
//! in the table of [`fold`] whether it repeats another, and what is to be written goes
//! as [`line`] to standard error or to the [`journal`].

mod fold;
mod journal;
mod layer;
mod line;
mod record;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use self::layer::Folding;
use self::line::Form;
use crate::control::log;

/// What is logged: `--log`, else `$LOG_LEVEL` with the words of wireguard-go,
/// else `info`.
pub fn filter(option: Option<&str>) -> Result<EnvFilter> {
    let level = std::env::var("LOG_LEVEL").ok();
    let directives = match (option, level.as_deref()) {
        (Some(directives), _) => directives,
        (None, Some("silent")) => "off",
        (None, Some("error")) => "error",
        (None, Some("verbose" | "debug")) => "debug",
        (None, _) => "info",
    };
    EnvFilter::builder().parse(directives).with_context(|| {
        format!("--log {directives}: write error, warn, info, debug or trace, or module=level,…")
    })
}

/// Whether somebody asked for log lines, so that a daemon in the background
/// keeps its standard error.
pub fn is_asked_for(option: Option<&str>) -> bool {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    option.is_some() || !matches!(level.as_str(), "" | "silent")
}

/// Writes the counts of repeated events that are not written yet.
type Flush = Box<dyn Fn() + Send + Sync>;

static FLUSH: OnceLock<Flush> = OnceLock::new();

/// Sends log lines to standard error from now on, or to the journal if that is
/// where standard error goes; `ringtun log` changes which.
pub fn start(filter: EnvFilter, json: bool) {
    let (filter, handle) = reload::Layer::new(filter);
    let form = if json {
        Form::Json
    } else if journal::is_standard_error() {
        Form::Journal
    } else {
        Form::Text {
            colors: std::io::stderr().is_terminal(),
        }
    };
    let folding = Folding::start(line::Output(form));
    let for_panics = folding.flush_now();
    let _ = FLUSH.set(Box::new(folding.flush()));
    tracing_subscriber::registry()
        .with(filter)
        .with(folding)
        .init();
    log::on_change(move |level| handle.reload(EnvFilter::new(level.label())).is_ok());
    // What a panic ends has counts that nobody would write.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        for_panics();
        told(panic);
    }));
}

/// Before the process ends.
pub fn finish() {
    if let Some(flush) = FLUSH.get() {
        flush();
    }
}

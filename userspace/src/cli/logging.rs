//! Where log lines go.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

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

/// Sends log lines to standard error from now on; `ringtun log` changes which.
pub fn start(filter: EnvFilter, json: bool) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Its way to say that a line could not be written panics where standard
        // error is gone: a terminal that was closed, a pipe whose reader ended.
        .log_internal_errors(false)
        .with_target(false);
    if json {
        let lines = lines.json().with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        log::on_change(move |level| handle.reload(EnvFilter::new(level.label())).is_ok());
    } else {
        let terminal = std::io::stderr().is_terminal();
        let lines = lines.with_ansi(terminal).with_filter_reloading();
        let handle = lines.reload_handle();
        lines.init();
        log::on_change(move |level| handle.reload(EnvFilter::new(level.label())).is_ok());
    }
}

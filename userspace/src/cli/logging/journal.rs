//! The journal of systemd, which keeps fields apart: `journalctl DEVICE=wg0
//! EVENT=handshake_gave_up`.
//!
//! Its protocol (systemd.io, "Native Journal Protocol") is one datagram for an entry.
//! What a record can hold is far below the largest datagram, so nothing here needs the
//! memory files that the protocol has for more.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use nix::sys::stat::fstat;
use tracing::Level;

use super::fold::Line;
use super::line;
use super::record::Value;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error is connected to it: `$JOURNAL_STREAM` is `DEVICE:INODE` of
/// what it connected (systemd.exec(5)), and may have been inherited past a redirection.
pub fn is_standard_error() -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(stat) = fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Sends one entry: the message with all fields to be read, and each field by itself to
/// be searched.
///
/// # Errors
/// The journal is not there.
pub fn send(line: &Line<'_>) -> io::Result<()> {
    static OWN: OnceLock<UnixDatagram> = OnceLock::new();
    let own = match OWN.get() {
        Some(own) => own,
        None => {
            let new = UnixDatagram::unbound()?;
            OWN.get_or_init(|| new)
        }
    };
    own.send_to(&entry(line), SOCKET).map(|_| ())
}

/// `NAME=value` lines. No value has a line break: see [`super::record`].
fn entry(line: &Line<'_>) -> Vec<u8> {
    let record = line.record;
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        debug_assert!(!value.contains('\n'));
        text.extend([name, "=", value, "\n"]);
    };
    put("PRIORITY", priority(record.level));
    put("MESSAGE", &line::sentence(line));
    put("SYSLOG_IDENTIFIER", "ringtun");
    put("TARGET", record.target);
    if let Some((file, line)) = record.place {
        put("CODE_FILE", file);
        put("CODE_LINE", &line.to_string());
    }
    if let Some(repeated) = line.repeated {
        put("REPEATED", &repeated.count.to_string());
    }
    for (name, value) in &record.fields {
        let name = name.to_ascii_uppercase();
        match value {
            Value::Text(text) => put(&name, text),
            Value::Signed(number) => put(&name, &number.to_string()),
            Value::Unsigned(number) => put(&name, &number.to_string()),
            Value::Bool(value) => put(&name, &value.to_string()),
        }
    }
    text.into_bytes()
}

/// As for syslog.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

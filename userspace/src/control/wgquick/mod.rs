//! wg-quick files, such as `/etc/wireguard/wg0.conf`.
//!
//! A file stays what `wg-quick` and `wg setconf` accept: sections, keys in any
//! case, `#` comments, repeated keys. All errors are found in one reading, and
//! each names line, key and remedy. [`parse`] is pure; [`file::read`] adds what
//! only the file system knows.

pub mod checks;
pub mod config;
pub mod diagnostic;
pub mod file;
mod keys;
mod parser;
mod values;

#[cfg(test)]
mod tests;

pub use config::{Config, Endpoint, Host, Interface, InterfaceAddress, Peer, Table};
pub use diagnostic::{Diagnostic, Report, Severity};
pub use parser::parse;

/// Largest file that is read, in bytes: more than 40,000 peers.
pub const MAX_FILE: usize = 16 * 1024 * 1024;

//! `ringtun up`, `down` and `reload`: what wg-quick does around a device.
//!
//! [`up::bring_up`] writes each change to the [`journal`] before it makes it, so
//! that [`down`], a failed `up` and the next start after a crash take back exactly
//! what was done. Tables, rules and nftables names are those of wg-quick, so that
//! either tool takes down the other's tunnel.
//!
//! * [`journal`]: `/run/ringtun/NAME.json`, and the lock beside it.
//! * [`up`], [`down`], [`reload`]: the three commands.
//! * [`undo`]: one step of the journal taken back.
//! * [`default_route`]: policy routing and firewall for a default route.
//! * [`dns`], [`mtu`], [`hooks`], [`save`]: as their keys in the file.
//! * [`files`]: written as a whole or not at all.
//! * [`keeper`]: takes a tunnel down for a daemon that starts no programs any more.
//! * [`lines`]: a file as the lines of a UAPI `set`.
//! * [`lookup`]: endpoints that are names.
//! * [`program`]: `ip`, `nft` and others, run and heard.

pub mod default_route;
pub mod dns;
pub mod down;
pub mod files;
pub mod hooks;
pub mod journal;
pub mod keeper;
pub mod lines;
pub mod lookup;
pub mod mtu;
pub mod program;
pub mod reload;
pub mod save;
pub mod undo;
pub mod up;

pub use journal::{Journal, JournalError, Place, Step};

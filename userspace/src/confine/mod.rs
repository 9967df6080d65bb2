//! What a daemon gives up: capabilities that it does not need, and system calls.
//!
//! In two steps. [`capabilities`] comes before the first thread that packets reach, and
//! goes for the calling thread and those that it starts. [`system_calls`] comes when all
//! is set up, goes for all threads, and cannot be undone; no program can be started any
//! more. What needs more than that at the end, the hooks and programs of `ringtun down`,
//! is done by another process, that no packet reaches ([`crate::control::quick::keeper`]).
//!
//! The lists, with reasons, are in `docs/security.md`, and a test holds them equal.

mod calls;
mod capabilities;

pub use calls::{CallsError, system_calls};
pub use capabilities::{CapabilitiesError, KEPT, capabilities};

//! `ringtun top [NAME]`: devices and peers as they are from second to second.
//!
//! A thread asks the daemons ([`sample`]), another reads keys, a third waits for signals.
//! All three send to the one that draws, which keeps the [`model`] (what is known) and the
//! [`view`] (how it is looked at) and makes a screen of both ([`draw`]).

mod cpu;
mod device;
mod devices;
mod draw;
mod history;
mod keys;
mod look;
mod model;
mod page;
mod peers;
mod rings;
mod run;
mod sample;
mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub use run::{TopArgs, run};

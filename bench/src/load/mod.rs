//! Load of our own: datagrams at a rate and counted, and round trips.
//!
//! ```text
//! [`Schedule`] ─▶ [`sender`]: trains of packets ─▶ (what is measured) ─▶ [`receiver`]: by sequence
//!                    ▲                                                        │
//!                 [`search`] ◀──────── lost at most one in a thousand? ◀──────┘
//! ```
//!
//! * [`mix`]: sizes of packets, and in which order they come.
//! * [`schedule`]: when how many may be sent.
//! * [`sender`], [`receiver`]: the two ends; [`probe`]: both, for a time at a rate.
//! * [`search`]: the highest rate at which next to nothing is lost.
//! * [`echo`], [`percentile`]: round trips, and how long most of them take.

mod echo;
mod mix;
mod percentile;
mod probe;
mod receiver;
mod schedule;
mod search;
mod sender;

pub use echo::round_trips;
pub use mix::{Mix, TRAIN_MAX};
pub use percentile::percentile;
pub use probe::Path;
pub use search::{Trial, search};

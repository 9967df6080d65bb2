//! `ringtun peer`: clients added to a wg-quick file, and taken out of it.
//!
//! * [`addresses`]: the next free one of each family.
//! * [`edit`]: the file, of which all else stays as it is.
//! * [`client`]: the file for the other side.
//! * [`name`]: what people call a peer.
//! * [`change`]: under the lock of `up` and `down`, and in the running device.

pub mod addresses;
pub mod change;
pub mod client;
pub mod edit;
pub mod name;

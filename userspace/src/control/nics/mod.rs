//! The NICs whose XDP program and rings this process has.

pub mod owner;

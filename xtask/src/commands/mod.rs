//! One file per command. Each returns the line that sums it up.

pub mod bench;
pub mod build;
pub mod ci;
pub mod demo;
pub mod dist;
pub mod fuzz;
pub mod mutate;
pub mod setup;
pub mod test;

//! Two or three cores in memory, a bad link between them and a clock that the
//! test moves.

mod host;
mod link;
pub mod packet;
mod rng;
mod world;

pub use host::Host;
pub use link::{Datagram, Quality};
pub use rng::SeededRng;
pub use world::{World, inner4, inner6, ms, outer, secs};

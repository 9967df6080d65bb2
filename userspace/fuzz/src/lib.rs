//! Fuzz targets of ringtun.
//!
//! Each module is one target: `run` takes the fuzzer's bytes and panics if a
//! promise is broken, `seeds` gives inputs named by their case, which are
//! written into the corpus when the target starts, so that no binary file is
//! kept in the repository. `fuzz_targets/NAME.rs` makes a program of it.
//!
//! That each target finds what it is there for is shown by `plant.sh`, which
//! plants one bug per target into a copy of the sources and lets it be found.

pub mod allowed_ips;
pub mod coalesce;
pub mod cookie_reply;
pub mod data;
pub mod datapath;
pub mod ends;
pub mod forward;
pub mod frame;
pub mod gateway;
pub mod initiation;
pub mod input;
pub mod messages;
pub mod mss;
pub mod packets;
pub mod replay;
pub mod report;
pub mod response;
pub mod rings;
pub mod ringtun_toml;
mod rng;
pub mod seeds;
pub mod segment;
pub mod uapi;
pub mod wgquick;

pub use libfuzzer_sys;
pub use rng::SeededRng;

/// An input and the case that it stands for.
pub type Seed = (&'static str, Vec<u8>);

/// Makes the fuzz program of a module.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::seeds::write(&$crate::$name::seeds()),
            |data: &[u8]| $crate::$name::run(data)
        );
    };
}

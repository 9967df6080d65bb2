//! The mutations: one rule broken each, and the test that must see it.

mod core;
mod datapath;
mod xdp;

use super::subject::Mutation;

pub use core::CORE;
pub use datapath::DATAPATH;
pub use xdp::XDP;

const fn mutation(
    name: &'static str,
    file: &'static str,
    search: &'static str,
    replace: &'static str,
    test: &'static str,
) -> Mutation {
    Mutation {
        name,
        file,
        search,
        replace,
        test,
    }
}

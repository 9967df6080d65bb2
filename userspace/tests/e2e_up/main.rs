//! `ringtun up`, `down` and `reload` in namespaces, with real peers at the far end.

#[path = "../e2e/mod.rs"]
mod e2e;

mod files;
mod life;
mod machine;
mod reload;
mod seed;

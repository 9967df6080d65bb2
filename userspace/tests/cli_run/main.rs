//! `ringtun run` with real devices. Needs root.

mod life;
mod log;
mod look;
mod machine;
mod trouble;

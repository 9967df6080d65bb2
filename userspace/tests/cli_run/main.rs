//! `ringtun run` with real devices. Needs root.

mod life;
mod look;
mod machine;
mod trouble;

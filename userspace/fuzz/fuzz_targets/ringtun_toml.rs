//! `ringtun.toml`.
#![no_main]
ringtun_fuzz::target!(ringtun_toml);

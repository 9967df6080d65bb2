//! wg-quick files.
#![no_main]
ringtun_fuzz::target!(wgquick);

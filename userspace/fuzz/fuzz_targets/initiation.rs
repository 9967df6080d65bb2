//! An initiation as the responder takes it: shape, MAC1, static key, timestamp.
#![no_main]
ringtun_fuzz::target!(initiation);

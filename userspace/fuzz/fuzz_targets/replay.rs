//! The replay window against a model that remembers every counter.
#![no_main]
ringtun_fuzz::target!(replay);

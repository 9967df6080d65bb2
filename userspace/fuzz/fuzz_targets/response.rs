//! A response as the initiator takes it.
#![no_main]
ringtun_fuzz::target!(response);

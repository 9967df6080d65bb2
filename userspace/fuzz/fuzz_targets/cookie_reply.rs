//! A cookie reply as the initiator takes it.
#![no_main]
ringtun_fuzz::target!(cookie_reply);

//! A data message: header, AEAD of both backends, replay window.
#![no_main]
ringtun_fuzz::target!(data);

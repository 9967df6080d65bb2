//! Decrypted packets joined for the TUN device.
#![no_main]
ringtun_fuzz::target!(coalesce);

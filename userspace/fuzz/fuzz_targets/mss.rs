//! The MSS clamp, which reads TCP options and writes into packets.
#![no_main]
ringtun_fuzz::target!(mss);

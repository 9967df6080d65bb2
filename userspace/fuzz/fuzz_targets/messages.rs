//! Which message a datagram is, and what its header says.
#![no_main]
ringtun_fuzz::target!(messages);

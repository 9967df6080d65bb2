//! Packets past the kernel's stack.
#![no_main]
ringtun_fuzz::target!(forward);

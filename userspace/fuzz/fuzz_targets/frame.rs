//! The one packet parser, which also runs in the XDP program.
#![no_main]
ringtun_fuzz::target!(frame);

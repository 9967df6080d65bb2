//! A worker's data path over an AF_XDP ring, with a kernel that the fuzzer plays.
#![no_main]
ringtun_fuzz::target!(rings);

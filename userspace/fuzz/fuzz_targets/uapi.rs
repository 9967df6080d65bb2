//! What `wg` may say to the socket: bytes to a device, and a device to text.
#![no_main]
ringtun_fuzz::target!(uapi);

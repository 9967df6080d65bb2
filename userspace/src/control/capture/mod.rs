//! `ringtun capture NAME`: both sides of a tunnel in one file.

pub mod pcapng;

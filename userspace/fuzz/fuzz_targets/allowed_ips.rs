//! The AllowedIPs trie against a list that is searched from end to end.
#![no_main]
ringtun_fuzz::target!(allowed_ips);

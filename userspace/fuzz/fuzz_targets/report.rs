//! What `ringtun report` takes out of text.
#![no_main]
ringtun_fuzz::target!(report);

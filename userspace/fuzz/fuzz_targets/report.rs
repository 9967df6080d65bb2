//! What the machine says, as a report tells of it.
#![no_main]
ringtun_fuzz::target!(report);

//! What the TUN device hands over, cut into packets of one MTU.
#![no_main]
ringtun_fuzz::target!(segment);

//! The data path of a worker, both ways, with every packet and every frame
//! accounted for.
#![no_main]
ringtun_fuzz::target!(datapath);

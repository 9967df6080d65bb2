//! The data path of a worker, both ways, with every packet and every frame
#![no_main]
ringtun_fuzz::target!(datapath);

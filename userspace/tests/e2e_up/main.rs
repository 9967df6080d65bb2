//! `ringtun up`, `down`, `reload` and `doctor`, `peer` and `report` in namespaces, with real peers at the far end.

#[path = "../e2e/mod.rs"]
mod e2e;

mod confined;
mod doctor;
mod files;
mod gateway;
mod guide;
#[cfg(target_arch = "x86_64")]
mod inject;
mod life;
mod logs;
mod machine;
mod peer;
mod reload;
mod report;
mod seed;
mod service;
mod tables;

//! The control thread's way of working, in a namespace of its own.

use ringtun_lab::NetNs;
use std::net::IpAddr;

/// Runs `work` on a current-thread runtime inside the namespace, as the control
/// thread does.
pub fn inside<T: Send>(ns: &NetNs, work: impl AsyncFnOnce() -> T + Send) -> T {
    ns.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(work()))
    })
    .expect("a namespace: these tests need root")
}

/// One `ip` command.
pub fn ip(ns: &NetNs, line: &str) {
    ns.run("ip", line.split(' ')).expect("ip");
}

pub fn addr(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Index of a device.
pub fn index(ns: &NetNs, device: &str) -> u32 {
    // `/sys` shows the namespace that it was mounted in, so `ip` is asked.
    let text = ns
        .run("ip", ["-o", "link", "show", device])
        .expect("such a device");
    let number = text.split(':').next().expect("index");
    number.trim().parse().expect("a number")
}

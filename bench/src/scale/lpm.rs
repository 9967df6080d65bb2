//! Whose an address is, asked in the kernel: the longest-prefix map of the XDP program for LAN
//! interfaces.
//!
//! A connection's first packet is looked up there, and then nothing of it is changed. What the
//! program takes for it is measured twice: with all prefixes, and with the default routes alone,
//! which are found at the first node. The difference is what the other nodes cost, at its best:
//! a test run is for one address again and again, whose nodes are in the nearest cache. The first
//! lookup of a test run says nothing, as the system call before it waits for all processors.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ringtun::bpf::LanProgram;
use ringtun::tunnel::allowed_ips::Prefix;
use ringtun_common::fixtures::ethernet;
use ringtun_common::fixtures::lan::LIMITS;
use ringtun_common::fixtures::syn::Syn;
use ringtun_common::verdict::Verdict;

use super::prefixes;
use crate::report::median;

/// Addresses: a test run takes milliseconds, whatever it does.
const ADDRESSES: usize = 64;
/// Lookups of each.
const REPEAT: u32 = 5000;

/// Nanoseconds of a lookup over one of a default route.
pub fn measure(peers: u32, seed: u64) -> Result<f64> {
    let mut full = LanProgram::load()?;
    for prefix in (0..peers).flat_map(prefixes::of) {
        full.insert(prefix.addr(), prefix.len(), LIMITS)?;
    }
    let mut bare = LanProgram::load()?;
    for default in ["0.0.0.0/0", "::/0"] {
        let prefix: Prefix = default.parse()?;
        bare.insert(prefix.addr(), prefix.len(), LIMITS)?;
    }

    let mut over = Vec::new();
    let addresses = prefixes::random(peers, seed);
    for (address, _) in addresses.take(ADDRESSES) {
        let frame = frame(address);
        let cost = |program: &LanProgram| {
            let outcome = program.test_run(&frame, REPEAT)?;
            anyhow::Ok(outcome.duration.as_nanos() as f64)
        };
        over.push(cost(&full)? - cost(&bare)?);
    }
    for program in [&full, &bare] {
        let found = program.verdict(Verdict::ClampFits)?.packets;
        let expected = ADDRESSES as u64 * u64::from(REPEAT);
        ensure!(found == expected, "{found} of {expected} were found");
    }
    Ok(median(&over))
}

/// The first packet of a connection to the address, without an option that could be changed.
fn frame(to: IpAddr) -> Vec<u8> {
    let mut packet = Syn::new(to.is_ipv6(), &[]).packet();
    match to {
        IpAddr::V4(to) => packet[16..20].copy_from_slice(&to.octets()),
        IpAddr::V6(to) => packet[24..40].copy_from_slice(&to.octets()),
    }
    ethernet(&[], if to.is_ipv6() { 0x86dd } else { 0x0800 }, &packet)
}

//! Whose an address is: one lookup after the other.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ringtun::crypto::PublicKey;

use super::prefixes;
use crate::report::median;
use crate::wireguard::Gateway;

/// Lookups that are timed together: reading the clock takes about as long as one.
const TOGETHER: usize = 16;
const BATCHES: usize = 8192;

/// Which addresses are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    Both,
}

impl Family {
    const fn takes(self, addr: IpAddr) -> bool {
        match self {
            Family::V4 => addr.is_ipv4(),
            Family::V6 => addr.is_ipv6(),
            Family::Both => true,
        }
    }
}

/// Nanoseconds of a lookup, as a packet's: the median of many. `clients` are the peers' keys.
///
/// The next lookup begins when the one before is done, as between two packets there is other work:
/// a processor that runs ahead would hide how long one takes.
pub fn measure(gateway: &Gateway, clients: &[PublicKey], family: Family, seed: u64) -> Result<f64> {
    let addresses: Vec<(IpAddr, u32)> = prefixes::random(clients.len() as u32, seed)
        .filter(|(address, _)| family.takes(*address))
        .take(TOGETHER * BATCHES)
        .collect();

    let snapshot = gateway.tunnel.shared.snapshot();
    let allowed_ips = &snapshot.allowed_ips;
    for (address, owner) in &addresses {
        let found = allowed_ips.lookup(*address).context("nobody's address")?;
        ensure!(
            found.public() == &clients[*owner as usize],
            "{address} is another's"
        );
    }
    let mut nanoseconds = Vec::with_capacity(BATCHES);
    for batch in addresses.chunks_exact(TOGETHER) {
        let begin = Instant::now();
        let mut at = 0;
        while at < TOGETHER {
            let found = allowed_ips
                .lookup(batch[at].0)
                .map_or(0, |cell| Arc::as_ptr(cell).addr());
            // Zero, which only the program's author knows.
            at += 1 + (black_box(found) & 1);
        }
        nanoseconds.push(begin.elapsed().as_nanos() as f64 / TOGETHER as f64);
    }
    Ok(median(&nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_takes_its_own() {
        let [v4, v6]: [IpAddr; 2] = ["10.0.0.1", "fd00::1"].map(|a| a.parse().unwrap());
        let taken = |family: Family| [family.takes(v4), family.takes(v6)];
        assert_eq!(taken(Family::V4), [true, false]);
        assert_eq!(taken(Family::V6), [false, true]);
        assert_eq!(taken(Family::Both), [true, true]);
    }
}

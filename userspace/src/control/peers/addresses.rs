//! The next free address in the networks of a device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::control::wgquick::{Config, InterfaceAddress};
use crate::tunnel::allowed_ips::Prefix;

/// Around a device's address that has no network: /24 and /64.
const AROUND: (u8, u8) = (24, 64);

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// There is no network to take one of.
    #[error("[Interface] has no Address, so there is no network that a client could be in")]
    NoNetwork,
    /// All are taken.
    #[error("all addresses of {0} are taken; give the device a larger network in Address")]
    Full(Prefix),
}

/// One address of each network of the device, the first that nobody has. Of an address
/// without a network (`/32`, `/128`) it is that of its /24 or /64. IPv6 gets the number
/// that IPv4 got, where that is free.
///
/// # Errors
/// [`NoAddress`].
pub fn free(config: &Config) -> Result<Vec<IpAddr>, NoAddress> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut networks: Vec<Prefix> = Vec::new();
    let all = &config.interface.addresses;
    // The family in which numbers are fewer comes first.
    let v4 = all.iter().filter(|address| address.addr.is_ipv4());
    let v6 = all.iter().filter(|address| address.addr.is_ipv6());
    for address in v4.chain(v6) {
        let Some(network) = network(address) else {
            continue;
        };
        // Two addresses in one network are one network.
        if networks
            .iter()
            .any(|n| n.contains(network.addr()) || network.contains(n.addr()))
        {
            continue;
        }
        networks.push(network);
        let number = found.first().map(|first| host_bits(*first, 8));
        found.push(free_in(network, config, number)?);
    }
    if found.is_empty() {
        Err(NoAddress::NoNetwork)
    } else {
        Ok(found)
    }
}

fn network(address: &InterfaceAddress) -> Option<Prefix> {
    let len = match (address.addr, address.len) {
        (IpAddr::V4(_), 32) => AROUND.0,
        (IpAddr::V6(_), 128) => AROUND.1,
        (_, len) => len,
    };
    Prefix::new(address.addr, len)
}

/// An address as a number, whichever its family.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn host_bits(address: IpAddr, bits: u32) -> u128 {
    number(address) & ((1 << bits) - 1)
}

/// First and last of a network.
fn range(network: Prefix) -> (u128, u128) {
    let width = if network.addr().is_ipv4() { 32 } else { 128 };
    let first = number(network.addr());
    let hosts = width - u32::from(network.len());
    let last = first | 1_u128.checked_shl(hosts).map_or(u128::MAX, |all| all - 1);
    (first, last)
}

fn free_in(network: Prefix, config: &Config, wanted: Option<u128>) -> Result<IpAddr, NoAddress> {
    let (first, last) = range(network);
    let is_v4 = network.addr().is_ipv4();
    let mut taken: Vec<(u128, u128)> = Vec::new();
    // Those of the network itself and of all in it; IPv6 has the first for routers.
    if last - first > 1 {
        taken.push((first, first));
        if is_v4 {
            taken.push((last, last));
        }
    }
    let own = config.interface.addresses.iter().map(|own| own.addr);
    taken.extend(
        own.filter(|own| own.is_ipv4() == is_v4)
            .map(|own| (number(own), number(own))),
    );
    let peers = config.peers.iter().flat_map(|peer| &peer.allowed_ips);
    // A peer with the whole network or more is a way out, and leaves room for others.
    let inside = peers.filter(|p| network.contains(p.addr()) && p.len() > network.len());
    taken.extend(inside.map(|peer| range(*peer)));
    taken.sort_unstable();
    let is_taken = |at: u128| taken.iter().any(|(from, to)| *from <= at && at <= *to);
    if let Some(at) = wanted.map(|wanted| first | wanted)
        && at <= last
        && !is_taken(at)
    {
        return Ok(address(at, is_v4));
    }
    let mut at = first;
    for (from, to) in &taken {
        if at < *from {
            break;
        }
        if *to == u128::MAX {
            return Err(NoAddress::Full(network));
        }
        at = at.max(to + 1);
    }
    if at > last {
        return Err(NoAddress::Full(network));
    }
    Ok(address(at, is_v4))
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::from_bits(number as u32).into()
    } else {
        Ipv6Addr::from_bits(number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wgquick::parse;
    use proptest::prelude::*;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn config(addresses: &str, peers: &[&str]) -> Config {
        let mut text = format!("[Interface]\nAddress = {addresses}\n");
        if addresses.is_empty() {
            text = "[Interface]\n".to_owned();
        }
        for peer in peers {
            text += &format!("[Peer]\nPublicKey = {KEY}\nAllowedIPs = {peer}\n");
        }
        let (config, report) = parse(text.as_bytes());
        assert_eq!(report.errors(), 0, "{text}");
        config
    }

    fn next(addresses: &str, peers: &[&str]) -> Result<String, NoAddress> {
        let found = free(&config(addresses, peers))?;
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        Ok(texts.join(" "))
    }

    #[test]
    fn the_first_that_nobody_has_in_both_families_with_the_same_number() {
        let both = "10.0.0.1/24, fd00::1/64";
        assert_eq!(next(both, &[]).unwrap(), "10.0.0.2 fd00::2");
        assert_eq!(
            next(both, &["10.0.0.2/32, fd00::2/128"]).unwrap(),
            "10.0.0.3 fd00::3"
        );
        assert_eq!(
            next(both, &["10.0.0.3/32", "fd00::2/128"]).unwrap(),
            "10.0.0.2 fd00::3"
        );
        assert_eq!(next(both, &["10.0.0.0/26"]).unwrap(), "10.0.0.64 fd00::40");
        assert_eq!(
            next(both, &["0.0.0.0/0, ::/0"]).unwrap(),
            "10.0.0.2 fd00::2"
        );
        assert_eq!(next("10.0.0.2/24", &[]).unwrap(), "10.0.0.1");
        assert_eq!(next("10.0.0.1/24, 10.0.0.9/24", &[]).unwrap(), "10.0.0.2");
    }

    #[test]
    fn an_address_without_a_network_has_neighbours_all_the_same() {
        let seed = "10.0.0.1/32, fd86:ea04:1119::1";
        let peers = ["10.0.0.2/32, fd86:ea04:1119::2"];
        assert_eq!(next(seed, &peers).unwrap(), "10.0.0.3 fd86:ea04:1119::3");
    }

    #[test]
    fn what_is_full_or_not_there_says_so() {
        assert_eq!(next("", &[]), Err(NoAddress::NoNetwork));
        let full = NoAddress::Full("10.0.0.0/30".parse().unwrap());
        assert_eq!(next("10.0.0.1/30", &["10.0.0.2/32"]), Err(full));
        assert_eq!(next("10.0.0.0/31", &[]).unwrap(), "10.0.0.1");
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let full = NoAddress::Full(format!("{last}/127").parse().unwrap());
        assert_eq!(
            next(
                &format!("{last}/127"),
                &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128"]
            ),
            Err(full)
        );
    }

    proptest! {
        #[test]
        fn each_that_is_added_gets_one_of_its_own(len in 20_u8..31, own in 1_u32..3, count in 1_usize..40) {
            let own = Ipv4Addr::from_bits(0x0a00_0000 | own);
            let mut config = config(&format!("{own}/{len}"), &[]);
            let network = Prefix::new(own.into(), len).unwrap();
            let mut seen = std::collections::HashSet::from([IpAddr::from(own)]);
            for _ in 0..count {
                let room = (1_usize << (32 - len)) - 2;
                match free(&config) {
                    Ok(found) => {
                        prop_assert_eq!(found.len(), 1);
                        prop_assert!(network.contains(found[0]) && seen.insert(found[0]));
                        let mut peers = parse(format!("[Peer]\nPublicKey = {KEY}\nAllowedIPs = {}/32\n", found[0]).as_bytes()).0.peers;
                        config.peers.append(&mut peers);
                    }
                    Err(_) => prop_assert_eq!(seen.len(), room),
                }
            }
        }
    }
}

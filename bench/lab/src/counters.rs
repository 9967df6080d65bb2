//! What a namespace's kernel counts of UDP: who claims to pass it by can be checked.

use anyhow::{Context, Result};

use crate::NetNs;

/// UDP datagrams in and out of all sockets of the namespace, IPv4 and IPv6.
///
/// # Errors
/// The kernel's files are not as they have always been.
pub fn udp_datagrams(ns: &NetNs) -> Result<u64> {
    let v4 = ns.run("cat", ["/proc/net/snmp"])?;
    let v6 = ns.run("cat", ["/proc/net/snmp6"])?;
    udp_datagrams_in(&v4, &v6)
}

/// As [`udp_datagrams`], from the text of `/proc/net/snmp` and `/proc/net/snmp6`.
///
/// # Errors
/// As [`udp_datagrams`].
pub fn udp_datagrams_in(v4: &str, v6: &str) -> Result<u64> {
    let mut sum = 0;
    for name in ["InDatagrams", "OutDatagrams"] {
        sum += of_table(v4, "Udp:", name).with_context(|| format!("no Udp {name}:\n{v4}"))?;
        sum += of_list(v6, &format!("Udp6{name}")).with_context(|| format!("{name}:\n{v6}"))?;
    }
    Ok(sum)
}

/// A line of names, then a line of values, both behind the protocol's name.
fn of_table(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol));
    let at = lines.next()?.split_whitespace().position(|n| n == name)?;
    lines.next()?.split_whitespace().nth(at)?.parse().ok()
}

/// A name and its value per line.
fn of_list(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_two_ways_of_writing_are_read() {
        let v4 = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts OutDatagrams\nUdp: 7 8 9\n\
                  UdpLite: InDatagrams NoPorts OutDatagrams\nUdpLite: 1 1 1\n";
        assert_eq!(of_table(v4, "Udp:", "InDatagrams"), Some(7));
        assert_eq!(of_table(v4, "Udp:", "OutDatagrams"), Some(9));
        assert_eq!(of_table(v4, "Udp:", "Else"), None);
        let v6 = "Udp6InDatagrams \t 5\nUdp6InErrors 6\n";
        assert_eq!(of_list(v6, "Udp6InDatagrams"), Some(5));
        assert_eq!(of_list(v6, "Udp6OutDatagrams"), None);
    }
}

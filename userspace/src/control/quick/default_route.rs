//! A default route through the tunnel, as wg-quick makes it: a routing table of
//! its own for all that does not carry the tunnel's mark, and a firewall table
//! against packets for the tunnel's address from elsewhere (CVE-2019-14899).
//!
//! In addition the table ends with an `unreachable default`: when the device is
//! gone, nothing leaves in the clear.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::journal::Step;
use super::program::{self, ip, ip_json};
use super::up::Change;
use crate::control::names::InterfaceName;

/// `rp_filter` looks at the mark of what comes in.
pub const SRC_VALID_MARK: &str = "/proc/sys/net/ipv4/conf/all/src_valid_mark";
/// The highest: any other route comes before it.
pub const UNREACHABLE_METRIC: u32 = u32::MAX;
/// The first table that wg-quick tries.
const FIRST_TABLE: u32 = 51820;
/// Tables are looked for among this many.
const TABLES: u32 = 4096;

/// As `ip` wants it.
#[must_use]
pub const fn family(v6: bool) -> &'static str {
    if v6 { "-6" } else { "-4" }
}

/// As `nft` wants it.
#[must_use]
pub const fn nft_family(v6: bool) -> &'static str {
    if v6 { "ip6" } else { "ip" }
}

/// The first table from 51820 on without a route of either family.
///
/// # Errors
/// All are taken.
pub fn free_table() -> Result<u32> {
    let is_free = |table: &u32| {
        [false, true]
            .iter()
            .all(|&v6| ip_json(&format!("{} route show table {table}", family(v6))).is_empty())
    };
    let mut tables = FIRST_TABLE..FIRST_TABLE + TABLES;
    tables.find(is_free).with_context(|| {
        format!("no free routing table from {FIRST_TABLE} on; name one with Table = N")
    })
}

/// Sends everything of one family that does not carry the mark `table` through
/// the device, by the table of that number.
///
/// # Errors
/// The kernel or a program refuses; what was done is in the journal.
pub fn add(
    change: &mut Change<'_>,
    name: &InterfaceName,
    v6: bool,
    table: u32,
    addresses: &[IpAddr],
) -> Result<()> {
    let of = family(v6);
    change.will(Step::Unreachable { v6, table })?;
    ip(&format!(
        "{of} route add unreachable default table {table} metric {UNREACHABLE_METRIC}"
    ))?;
    ip(&format!("{of} route add default dev {name} table {table}"))?;
    let pref = preference(v6)?;
    change.will(Step::MarkRule { v6, table, pref })?;
    ip(&format!(
        "{of} rule add not fwmark {table} table {table} pref {pref}"
    ))?;
    let pref = preference(v6)?;
    change.will(Step::MainRule { v6, pref })?;
    ip(&format!(
        "{of} rule add table main suppress_prefixlength 0 pref {pref}"
    ))?;
    if !v6 {
        src_valid_mark(change)?;
    }
    change.will(Step::Nft { v6 })?;
    program::feed("nft", ["-f", "-"], &firewall(name, v6, table, addresses))?;
    Ok(())
}

/// The preference that the kernel gives a rule that names none: one before the
/// first after that of the local table. Chosen here, so that `down` removes this
/// rule and not its like of another tunnel.
fn preference(v6: bool) -> Result<u32> {
    let rules = ip_json(&format!("{} rule show", family(v6)));
    let used: Vec<_> = rules
        .iter()
        .filter_map(|r| r["priority"].as_u64())
        .collect();
    let first = used.iter().copied().filter(|p| *p > 0).min();
    let before = first.unwrap_or(32766) - 1;
    match u32::try_from(before) {
        Ok(pref) if pref > 0 => Ok(pref),
        _ => bail!("a routing rule of preference 1 leaves no room for the tunnel's (`ip rule`)"),
    }
}

fn src_valid_mark(change: &mut Change<'_>) -> Result<()> {
    let now = fs::read_to_string(SRC_VALID_MARK).context(SRC_VALID_MARK)?;
    let now: u8 = now.trim().parse().context(SRC_VALID_MARK)?;
    // Another tunnel may have set it, and end before this one.
    let others = change.place.others();
    let of_other = others.iter().flat_map(|j| &j.steps).find_map(|s| match s {
        Step::SrcValidMark { before } => Some(*before),
        _ => None,
    });
    let before = of_other.unwrap_or(now);
    change.will(Step::SrcValidMark { before })?;
    if now != 1 {
        fs::write(SRC_VALID_MARK, "1").context(SRC_VALID_MARK)?;
    }
    Ok(())
}

/// The table `wg-quick-NAME`: rule by rule that of wg-quick.
fn firewall(name: &InterfaceName, v6: bool, mark: u32, addresses: &[IpAddr]) -> String {
    let of = nft_family(v6);
    let table = format!("{of} wg-quick-{name}");
    let mut text = format!(
        "add table {table}\n\
         add chain {table} preraw {{ type filter hook prerouting priority -300; }}\n\
         add chain {table} premangle {{ type filter hook prerouting priority -150; }}\n\
         add chain {table} postmangle {{ type filter hook postrouting priority -150; }}\n"
    );
    for address in addresses.iter().filter(|a| a.is_ipv6() == v6) {
        text += &format!(
            "add rule {table} preraw iifname != \"{name}\" {of} daddr {address} fib saddr type != local drop\n"
        );
    }
    text + &format!(
        "add rule {table} postmangle meta l4proto udp mark {mark} ct mark set mark\n\
         add rule {table} premangle meta l4proto udp meta mark set ct mark\n"
    )
}

/// The addresses of the device, as the kernel has them.
#[must_use]
pub fn addresses(name: &InterfaceName) -> Vec<(IpAddr, u64)> {
    let links = ip_json(&format!("addr show dev {name}"));
    let infos = links.first().and_then(|l| l["addr_info"].as_array());
    let one = |info: &Value| {
        let address = info["local"].as_str()?.parse().ok()?;
        Some((address, info["prefixlen"].as_u64()?))
    };
    infos.into_iter().flatten().filter_map(one).collect()
}

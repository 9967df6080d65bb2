//! The values of a file's keys.

use std::net::{IpAddr, Ipv6Addr};

use super::config::{Endpoint, Host, InterfaceAddress, Table};
use crate::control::uapi::values::number;
use crate::tunnel::allowed_ips::Prefix;

/// What is wrong with a value, and with which part of it if not with all.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub part: Option<String>,
    pub message: &'static str,
    pub remedy: &'static str,
}

fn wrong<T>(message: &'static str, remedy: &'static str) -> Result<T, Wrong> {
    Err(Wrong {
        part: None,
        message,
        remedy,
    })
}

impl Wrong {
    fn in_part(mut self, part: &str) -> Self {
        self.part = Some(part.to_owned());
        self
    }
}

/// The words of a list that commas or blanks separate.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|w| !w.is_empty())
}

/// `10.0.0.1/24, fd00::1/64`; without length, the address alone.
pub fn addresses(value: &str) -> Result<Vec<InterfaceAddress>, Wrong> {
    let parse = |word: &str| {
        let (addr, len) = word
            .split_once('/')
            .map_or((word, None), |(a, l)| (a, Some(l)));
        let addr: IpAddr = addr.parse().ok()?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let len = match len {
            None => longest,
            Some(len) => number(len).filter(|l| *l <= longest)?,
        };
        Some(InterfaceAddress { addr, len })
    };
    let parsed: Vec<_> = words(value)
        .map(|word| {
            parse(word).ok_or_else(|| {
                Wrong {
                    part: None,
                    message: "not an address with a prefix length",
                    remedy: "write it as 10.0.0.1/24 or fd00::1/64",
                }
                .in_part(word)
            })
        })
        .collect::<Result<_, _>>()?;
    if parsed.is_empty() {
        return wrong(
            "no address",
            "write one such as 10.0.0.1/24, or remove the line",
        );
    }
    Ok(parsed)
}

/// Addresses of servers and search domains.
pub fn dns(value: &str) -> Result<(Vec<IpAddr>, Vec<String>), Wrong> {
    let (mut servers, mut domains) = (Vec::new(), Vec::new());
    for word in words(value) {
        // wg-quick tells the two apart by their characters alone.
        let looks_like_address =
            word.contains(':') || word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if let Ok(addr) = word.parse() {
            servers.push(addr);
        } else if !looks_like_address && is_host_name(word) {
            domains.push(word.to_owned());
        } else {
            return Err(Wrong {
                part: Some(word.to_owned()),
                message: "neither an address nor a search domain",
                remedy: "write addresses of name servers and search domains, with commas between",
            });
        }
    }
    if servers.is_empty() && domains.is_empty() {
        return wrong("no name server", "write its address, or remove the line");
    }
    Ok((servers, domains))
}

/// Smallest MTU that the kernel gives a TUN device (`ETH_MIN_MTU`).
const MIN_MTU: u16 = 68;

pub fn mtu(value: &str) -> Result<u16, Wrong> {
    match number(value) {
        Some(mtu) if mtu >= MIN_MTU => Ok(mtu),
        _ => wrong(
            "not a number from 68 to 65535",
            "1420 suits a path of 1500 bytes; without the line it is found automatically",
        ),
    }
}

pub fn table(value: &str) -> Result<Table, Wrong> {
    match value {
        "off" => return Ok(Table::Off),
        "auto" => return Ok(Table::Auto),
        _ => {}
    }
    if ["off", "auto"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
    {
        return wrong(
            "wg-quick takes it for the name of a table",
            "write off or auto in small letters",
        );
    }
    if let Some(table) = number(value).filter(|n| *n != 0) {
        return Ok(Table::Number(table));
    }
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.bytes().all(named) {
        return Ok(Table::Named(value.to_owned()));
    }
    wrong(
        "not a routing table",
        "write off, auto, or a number from 1 to 4294967295",
    )
}

pub fn boolean(value: &str) -> Result<bool, Wrong> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        wrong("neither true nor false", "write one of them")
    }
}

pub fn port(value: &str) -> Result<u16, Wrong> {
    match number(value) {
        Some(port) => Ok(port),
        None => wrong(
            "not a port from 0 to 65535",
            "51820 is the usual one; 0 chooses a free one",
        ),
    }
}

pub fn fwmark(value: &str) -> Result<u32, Wrong> {
    let parsed = match value.strip_prefix("0x") {
        _ if value.eq_ignore_ascii_case("off") => Some(0),
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None => number(value),
    };
    match parsed {
        Some(mark) => Ok(mark),
        None => wrong(
            "not a mark",
            "write off, a number up to 4294967295, or 0x and hex digits",
        ),
    }
}

pub fn keepalive(value: &str) -> Result<u16, Wrong> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    match number(value) {
        Some(seconds) => Ok(seconds),
        None => wrong(
            "not a number of seconds from 0 to 65535",
            "25 suits most NATs; off is 0",
        ),
    }
}

/// Ranges, and those of them that had host bits set.
pub fn allowed_ips(value: &str) -> Result<(Vec<Prefix>, Vec<String>), Wrong> {
    let (mut ranges, mut unaligned) = (Vec::new(), Vec::new());
    let value: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if value.is_empty() {
        return Ok((ranges, unaligned));
    }
    for word in value.split(',') {
        let Ok(range) = word.parse::<Prefix>() else {
            let message = "not a range of addresses";
            let remedy = match word.as_bytes().first() {
                None => "there is a comma too many",
                Some(b'+' | b'-') => "+ and - are for `wg set`; a file lists what is allowed",
                Some(_) => "write it as 10.0.0.0/24 or fd00::/64",
            };
            let part = Some(word.to_owned());
            return Err(Wrong {
                part,
                message,
                remedy,
            });
        };
        let addr = word
            .split('/')
            .next()
            .and_then(|a| a.parse::<IpAddr>().ok());
        if addr != Some(range.addr()) {
            unaligned.push(format!("{word} (that is {range})"));
        }
        ranges.push(range);
    }
    Ok((ranges, unaligned))
}

/// `HOST:PORT`, the host in brackets if it is an IPv6 address.
pub fn endpoint(value: &str) -> Result<Endpoint, Wrong> {
    const FORM: &str = "write it as vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820";
    let split = match value.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => value.rsplit_once(':'),
    };
    let Some((host, port)) = split else {
        return wrong("no port after the address", FORM);
    };
    let Some(port) = number(port).filter(|p| *p != 0) else {
        return wrong("the port is not a number from 1 to 65535", FORM);
    };
    let host = match host.split_once('%') {
        Some((addr, zone)) if zone_name(zone) => match addr.parse::<Ipv6Addr>() {
            Ok(addr) => Host::Zoned(addr, zone.to_owned()),
            Err(_) => return wrong("not an IPv6 address before the %", FORM),
        },
        Some(_) => return wrong("no interface after the %", "such as fe80::1%eth0"),
        None => match host.parse() {
            Ok(addr) => Host::Addr(addr),
            Err(_) if value.starts_with('[') => {
                return wrong("not an IPv6 address in the brackets", FORM);
            }
            Err(_) if is_host_name(host) => Host::Name(host.to_owned()),
            Err(_) => return wrong("neither an address nor a host name", FORM),
        },
    };
    Ok(Endpoint { host, port })
}

fn zone_name(zone: &str) -> bool {
    zone.parse::<crate::control::names::InterfaceName>().is_ok()
}

/// A name that can be looked up (RFC 1123, and the underscore many use), not
/// one that looks like an address gone wrong.
fn is_host_name(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let trimmed = name.strip_suffix('.').unwrap_or(name);
    let last = trimmed.rsplit('.').next().unwrap_or("");
    trimmed.len() <= 253
        && trimmed.split('.').all(label)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

//! The values of UAPI keys. No error carries the value.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::str::FromStr;

use crate::tunnel::allowed_ips::Prefix;

/// Turns the zone of a link-local address, an interface's name, into its index.
pub type ZoneResolver = fn(&str) -> Option<u32>;

/// A decimal number without sign, as large as `T` takes.
pub fn number<T: FromStr>(value: &str) -> Option<T> {
    // Rust's own parser would take a leading `+`.
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    value.parse().ok()
}

/// A flag can only be raised.
pub fn is_true(value: &str) -> Result<(), &'static str> {
    if value == "true" {
        Ok(())
    } else {
        Err("takes only `true`")
    }
}

/// `1.2.3.4:51820`, `[2001:db8::1]:51820` or `[fe80::1%eth0]:51820`.
pub fn endpoint(value: &str, zone: ZoneResolver) -> Result<SocketAddr, &'static str> {
    const EXPECTED: &str = "wants ADDRESS:PORT or [ADDRESS]:PORT";
    let Some(bracketed) = value.strip_prefix('[') else {
        let address: SocketAddrV4 = value.parse().map_err(|_| EXPECTED)?;
        return Ok(SocketAddr::V4(address));
    };
    let (host, port) = bracketed.split_once("]:").ok_or(EXPECTED)?;
    let port = number(port).ok_or("wants a port from 0 to 65535 after the address")?;
    let (host, scope) = match host.split_once('%') {
        None => (host, 0),
        Some((host, name)) => {
            let index = number(name).or_else(|| zone(name));
            (host, index.ok_or("names an interface that does not exist")?)
        }
    };
    let address = host.parse().map_err(|_| EXPECTED)?;
    Ok(SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)))
}

/// `10.0.0.0/8` or `fd00::/8`; host bits are cleared.
pub fn prefix(value: &str) -> Result<Prefix, &'static str> {
    const EXPECTED: &str = "wants ADDRESS/LENGTH";
    // Files may leave the length out; here it is part of the value.
    if !value.contains('/') {
        return Err(EXPECTED);
    }
    value.parse().map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Option<u32> {
        (name == "eth0").then_some(7)
    }

    #[test]
    fn numbers_have_no_sign_space_or_overflow() {
        assert_eq!(number::<u16>("65535"), Some(65535));
        assert_eq!(number::<u16>("007"), Some(7));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "65536", "1e3", "٣"] {
            assert_eq!(number::<u16>(bad), None, "{bad}");
        }
    }

    #[test]
    fn endpoints_of_both_families_and_zones() {
        let parse = |text| endpoint(text, zone);
        assert_eq!(parse("192.0.2.1:0"), Ok("192.0.2.1:0".parse().unwrap()));
        assert_eq!(
            parse("[2001:db8::1]:9"),
            Ok("[2001:db8::1]:9".parse().unwrap())
        );
        assert_eq!(parse("[fe80::1%3]:9"), Ok("[fe80::1%3]:9".parse().unwrap()));
        assert_eq!(
            parse("[fe80::1%eth0]:9"),
            Ok("[fe80::1%7]:9".parse().unwrap())
        );
        for bad in [
            "",
            ":",
            "1.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:+5",
            "1.2.3.4:65536",
            "1.2.3.4 :5",
            "::1:5",
            "2001:db8::1",
            "[::1]",
            "[::1]:",
            "[::1]5",
            "[1.2.3.4]:5",
            "[::1:5",
            "host:5",
            "[fe80::1%]:9",
            "[fe80::1%nope]:9",
            "[fe80::1%99999999999]:9",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_lose_their_host_bits() {
        for (text, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("1.2.3.4/32", "1.2.3.4/32"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1/128", "::1/128"),
            ("ff::1/0", "::/0"),
        ] {
            assert_eq!(prefix(text).unwrap().to_string(), canonical);
        }
        for bad in [
            "",
            "/",
            "1.2.3.4",
            "1.2.3.4/",
            "1.2.3.4/33",
            "::/129",
            "::/-1",
            "1.2.3/8",
            "::1%1/64",
            "1.2.3.4/+8",
            "1.2.3.4/8/8",
            "/8",
            "01.2.3.4/8",
        ] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}

//! An address prefix such as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP address prefix; the bits after its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

/// Why a text is no [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash is no IP address.
    #[error("'{0}' is not an IPv4 or IPv6 address")]
    Address(String),
    /// The part after the slash is no number that fits the family.
    #[error("'{0}' is not a prefix length of 0 to {1}")]
    Length(String, u8),
}

impl Prefix {
    /// The prefix of `len` bits that `addr` is in; None when the family has
    /// fewer bits than `len`.
    #[must_use]
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        if len > width(addr) {
            return None;
        }
        let addr = match addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(super::bits::Bits::masked(
                a.to_bits(),
                len,
            ))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(super::bits::Bits::masked(
                a.to_bits(),
                len,
            ))),
        };
        Some(Self { addr, len })
    }

    /// The prefix that holds one address only.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            len: width(addr),
        }
    }

    /// Its first address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Its length in bits.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "the length of a prefix, not of a collection"
    )]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether `addr` is in it.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && Self::new(addr, self.len) == Some(*self)
    }
}

const fn width(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// `address/length`, or an address alone for a host; bits after the length
/// are cleared, as `wg` does.
impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let (addr, len) = s.split_once('/').map_or((s, None), |(a, l)| (a, Some(l)));
        let addr: IpAddr = addr
            .parse()
            .map_err(|_| PrefixError::Address(addr.to_owned()))?;
        let Some(len) = len else {
            return Ok(Self::host(addr));
        };
        let wrong = || PrefixError::Length(len.to_owned(), width(addr));
        // `u8::from_str` would take a plus sign.
        if !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        len.parse()
            .ok()
            .and_then(|bits| Self::new(addr, bits))
            .ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, shown) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("fd00:1:2::3/48", Some("fd00:1:2::/48")),
            ("fd00::1", Some("fd00::1/128")),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/-1", None),
            ("10.0.0.0/8/8", None),
            ("10.0.0/8", None),
            ("", None),
            ("/8", None),
        ] {
            let parsed = text.parse::<Prefix>().ok().map(|p| p.to_string());
            assert_eq!(parsed.as_deref(), shown, "{text:?}");
        }
    }
}

//! Names of tunnel devices.

use std::fmt;
use std::str::FromStr;

/// Longest name of a Linux network device: `IFNAMSIZ` less its final zero.
pub const MAX_NAME: usize = 15;

/// A device name that the kernel, `wg` and `wg-quick` all accept: 1 to 15 of
/// `a-z A-Z 0-9 _ = + . -`, and neither `.` nor `..`.
///
/// The name becomes part of a path, so a slash never gets in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

/// Why a string is no device name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a device name cannot be empty")]
    Empty,
    /// More than 15 bytes.
    #[error("the device name `{0}` has more than {MAX_NAME} characters; choose a shorter one")]
    TooLong(String),
    /// A character that some tool would choke on.
    #[error(
        "the device name `{0}` may hold only letters, digits and _ = + . - (as wg-quick wants it)"
    )]
    BadCharacter(String),
}

impl InterfaceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let shown = || name.escape_default().take(64).collect::<String>();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong(shown()));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_=+.-".contains(&b);
        if !name.bytes().all(allowed) || name == "." || name == ".." {
            return Err(NameError::BadCharacter(shown()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for InterfaceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_tool_accepts() {
        for name in ["wg0", "a", "my-vpn_1.2+x=y", "exactly15bytes_"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_would_leave_the_directory_or_break_a_tool() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "wg 0",
            "wg\n0",
            "wg%d",
            "sixteen_bytes_xx",
            "wgü",
            "wg\0",
        ] {
            assert!(
                name.parse::<InterfaceName>().is_err(),
                "{name:?} was accepted"
            );
        }
    }
}

//! What people call a peer.

use std::fmt;
use std::str::FromStr;

/// Characters of a name at most; it becomes a label of several series.
pub const NAME_MAX: usize = 64;

/// A name that fits on the line of a comment: 1 to 64 characters without control
/// characters, not beginning or ending with a blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FriendlyName(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FriendlyNameError {
    /// Nothing, or blanks.
    #[error("a peer's name cannot be empty")]
    Empty,
    /// Too much.
    #[error("a peer's name has at most {NAME_MAX} characters")]
    TooLong,
    /// What does not fit on a line.
    #[error("a peer's name has no line breaks and no other control characters")]
    Control,
}

impl FromStr for FriendlyName {
    type Err = FriendlyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(FriendlyNameError::Empty);
        }
        if text.chars().count() > NAME_MAX {
            return Err(FriendlyNameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(FriendlyNameError::Control);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FriendlyName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the name of a device at the other side, and of its file: 15 characters at
    /// most of `a-z 0-9 -`.
    #[must_use]
    pub fn device(&self) -> String {
        const LONGEST: usize = crate::control::names::MAX_NAME;
        let mut device = String::new();
        for c in self.0.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                device.push(c);
            } else if c != '\'' && !device.is_empty() && !device.ends_with('-') {
                device.push('-');
            }
        }
        device.truncate(LONGEST);
        let device = device.trim_end_matches('-');
        if device.is_empty() { "client" } else { device }.to_owned()
    }
}

impl fmt::Display for FriendlyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::names::InterfaceName;
    use proptest::prelude::*;

    #[test]
    fn names_of_people_and_of_files() {
        for (text, device) in [
            ("Anna's phone", "annas-phone"),
            ("  box = 2 ", "box-2"),
            ("../../etc/passwd", "etc-passwd"),
            ("Büro", "b-ro"),
            ("日本", "client"),
            ("a very long name of a laptop", "a-very-long-nam"),
            ("twelve chars: x", "twelve-chars-x"),
        ] {
            let name: FriendlyName = text.parse().unwrap();
            assert_eq!(name.device(), device);
        }
        for (text, why) in [
            ("", FriendlyNameError::Empty),
            (" \t", FriendlyNameError::Empty),
            ("a\nb", FriendlyNameError::Control),
            ("a\u{1b}[2J", FriendlyNameError::Control),
            (&"x".repeat(65), FriendlyNameError::TooLong),
        ] {
            assert_eq!(text.parse::<FriendlyName>(), Err(why));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_peer_is_called_its_device_has_a_name(text in ".{1,64}") {
            if let Ok(name) = text.parse::<FriendlyName>() {
                prop_assert!(name.device().parse::<InterfaceName>().is_ok());
            }
        }
    }
}

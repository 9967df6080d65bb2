//! What a report can say at all. There is no variant for text: a string that came from
//! outside becomes one of these or its length.

use std::fmt;

use super::pseudonyms::{Address, Alias};

/// A word that stands in the sources. What came from outside becomes one only by
/// being equal to one of a list ([`Word::among`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word(&'static str);

impl Word {
    /// A word of the sources.
    #[must_use]
    pub const fn of(word: &'static str) -> Self {
        Self(word)
    }

    /// The word of the list that is equal to the text.
    #[must_use]
    pub fn among(list: &[&'static str], text: &str) -> Option<Self> {
        list.iter().find(|word| **word == text).copied().map(Self)
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// One to three numbers, as of a kernel or a program. Not four: that may be an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    parts: [u16; 3],
    len: u8,
}

impl Version {
    /// The version that the text begins with, and what is behind it.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (numbers, rest) = text.split_at(end.unwrap_or(text.len()));
        let mut version = Self {
            parts: [0; 3],
            len: 0,
        };
        for part in numbers.split('.') {
            // The largest is that of a year.
            if part.len() > 4 {
                return None;
            }
            *version.parts.get_mut(usize::from(version.len))? = part.parse().ok()?;
            version.len += 1;
        }
        Some((version, rest))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().take(usize::from(self.len));
        let parts: Vec<String> = parts.map(u16::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

/// One value of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// There is none.
    Nothing,
    /// A count, size, port, mark: decimal, so that it is like no key and no name.
    Number(i128),
    /// A number and its unit.
    Amount(u64, Word),
    /// Yes or no.
    Flag(bool),
    /// A word of the sources.
    Word(Word),
    /// Numbers of a version.
    Version(Version),
    /// What stands for a key, a name, a device, a hardware address.
    Alias(Alias),
    /// An address or what stands for it, or a network, or an endpoint.
    Address(Address),
    /// A text that is not shown, of so many characters.
    Text(usize),
    /// Several.
    Many(Vec<Fact>),
    /// So many more, which are left out.
    More(usize),
}

impl Fact {
    /// A word of the list, or how long the text is.
    #[must_use]
    pub fn among(list: &[&'static str], text: &str) -> Self {
        Word::among(list, text).map_or_else(|| Self::hidden(text), Self::Word)
    }

    /// How long a text is, and no more of it.
    #[must_use]
    pub fn hidden(text: &str) -> Self {
        Self::Text(text.chars().count())
    }

    /// The phrases of the list that are found in a text, and its length if it has more.
    #[must_use]
    pub fn phrases(list: &[&'static str], text: &str) -> Self {
        let found = list.iter().filter(|phrase| text.contains(**phrase));
        let mut found: Vec<Self> = found.map(|phrase| Self::Word(Word(phrase))).collect();
        let exact = matches!(found.as_slice(), [Self::Word(word)] if word.as_str() == text);
        if !exact && !text.is_empty() {
            found.push(Self::hidden(text));
        }
        Self::Many(found)
    }

    /// A version, or how long the text is.
    #[must_use]
    pub fn version(text: &str) -> Self {
        match Version::parse(text) {
            Some((version, "")) => Self::Version(version),
            Some((version, rest)) => Self::Many(vec![Self::Version(version), Self::hidden(rest)]),
            None => Self::hidden(text),
        }
    }

    /// What is told of the first `max`, and how many more there are.
    #[must_use]
    pub fn first<T>(
        max: usize,
        of: impl IntoIterator<Item = T>,
        fact: impl FnMut(T) -> Self,
    ) -> Self {
        let mut of = of.into_iter();
        let mut shown: Vec<Self> = of.by_ref().take(max).map(fact).collect();
        match of.count() {
            0 => {}
            more => shown.push(Self::More(more)),
        }
        Self::Many(shown)
    }

    /// Calls for each word in it.
    pub(super) fn words(&self, each: &mut impl FnMut(&'static str)) {
        match self {
            Self::Word(word) | Self::Amount(_, word) => each(word.as_str()),
            Self::Alias(alias) => each(alias.kind().as_str()),
            Self::Address(address) => address.words(each),
            Self::Many(facts) => facts.iter().for_each(|fact| fact.words(each)),
            Self::Nothing
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Version(_)
            | Self::Text(_)
            | Self::More(_) => {}
        }
    }

    /// For JSON: numbers and flags as such, several as a list.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Number(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => number.to_string().into(),
            },
            Self::Flag(flag) => (*flag).into(),
            Self::Many(facts) => facts.iter().map(Self::json).collect(),
            other => other.to_string().into(),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("-"),
            Self::Number(number) => number.fmt(f),
            Self::Amount(number, unit) => write!(f, "{number} {}", unit.as_str()),
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Word(word) => f.write_str(word.as_str()),
            Self::Version(version) => version.fmt(f),
            Self::Alias(alias) => alias.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Text(1) => f.write_str("<text, 1 character>"),
            Self::Text(length) => write!(f, "<text, {length} characters>"),
            Self::More(more) => write!(f, "and {more} more"),
            Self::Many(facts) if facts.is_empty() => f.write_str("-"),
            Self::Many(facts) => {
                for (at, fact) in facts.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    fact.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Fact {
            fn from(number: $number) -> Self {
                Self::Number(i128::from(number))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, i64);

impl From<usize> for Fact {
    fn from(number: usize) -> Self {
        Self::Number(number as i128)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Word> for Fact {
    fn from(word: Word) -> Self {
        Self::Word(word)
    }
}

impl<T: Into<Self>> From<Option<T>> for Fact {
    fn from(fact: Option<T>) -> Self {
        fact.map_or(Self::Nothing, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_word_only_by_being_one() {
        const LIST: [&str; 2] = ["native", "generic"];
        assert_eq!(Fact::among(&LIST, "native").to_string(), "native");
        for text in ["Native", "native ", "", "hunter2", "ünö"] {
            let length = text.chars().count();
            assert_eq!(Fact::among(&LIST, text), Fact::Text(length), "{text}");
        }
        let found = Fact::phrases(&LIST, "eth0: native, 10.0.0.1");
        assert_eq!(found.to_string(), "native, <text, 22 characters>");
        assert_eq!(Fact::phrases(&LIST, "native").to_string(), "native");
        assert_eq!(Fact::phrases(&LIST, "").to_string(), "-");
    }

    #[test]
    fn a_version_has_no_room_for_an_address() {
        for (text, shown) in [
            ("6.18.44", "6.18.44"),
            ("0.1", "0.1"),
            ("12", "12"),
            ("6.18.44-annas", "6.18.44, <text, 6 characters>"),
            ("10.1.2.3", "<text, 8 characters>"),
            ("010.001.002.003", "<text, 15 characters>"),
            ("", "<text, 0 characters>"),
            ("99999.1", "<text, 7 characters>"),
            ("1..2", "<text, 4 characters>"),
        ] {
            assert_eq!(Fact::version(text).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let first = Fact::first(3, 1..=5_u8, Fact::from);
        assert_eq!(first.to_string(), "1, 2, 3, and 2 more");
        let json = Fact::Many(vec![true.into(), 7_u8.into(), Fact::Nothing]).json();
        assert_eq!(json.to_string(), "[true,7,null]");
    }
}

//! The keys of a file, and what was meant by one that is none.

/// In which section a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Interface,
    Peer,
}

impl Section {
    /// With its brackets.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Interface => "[Interface]",
            Self::Peer => "[Peer]",
        }
    }
}

/// Every key there is.
#[expect(clippy::enum_variant_names, reason = "named as in the file")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Address,
    Dns,
    FwMark,
    ListenPort,
    Mtu,
    PostDown,
    PostUp,
    PreDown,
    PreUp,
    PrivateKey,
    SaveConfig,
    Table,
    AllowedIps,
    Endpoint,
    PersistentKeepalive,
    PresharedKey,
    PublicKey,
}

const KEYS: &[(Key, &str, Section)] = &[
    (Key::Address, "Address", Section::Interface),
    (Key::Dns, "DNS", Section::Interface),
    (Key::FwMark, "FwMark", Section::Interface),
    (Key::ListenPort, "ListenPort", Section::Interface),
    (Key::Mtu, "MTU", Section::Interface),
    (Key::PostDown, "PostDown", Section::Interface),
    (Key::PostUp, "PostUp", Section::Interface),
    (Key::PreDown, "PreDown", Section::Interface),
    (Key::PreUp, "PreUp", Section::Interface),
    (Key::PrivateKey, "PrivateKey", Section::Interface),
    (Key::SaveConfig, "SaveConfig", Section::Interface),
    (Key::Table, "Table", Section::Interface),
    (Key::AllowedIps, "AllowedIPs", Section::Peer),
    (Key::Endpoint, "Endpoint", Section::Peer),
    (
        Key::PersistentKeepalive,
        "PersistentKeepalive",
        Section::Peer,
    ),
    (Key::PresharedKey, "PresharedKey", Section::Peer),
    (Key::PublicKey, "PublicKey", Section::Peer),
];

impl Key {
    /// The key of this name, in any case.
    pub fn find(name: &str) -> Option<Self> {
        let found = KEYS.iter().find(|(_, n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(key, ..)| *key)
    }

    /// As it is usually written.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Where it belongs.
    pub fn section(self) -> Section {
        self.entry().2
    }

    /// Whether its value may be shown.
    pub fn is_secret(self) -> bool {
        // A public key is none, but what is not one may be a private key.
        matches!(
            self,
            Self::PrivateKey | Self::PresharedKey | Self::PublicKey
        )
    }

    /// Whether a second line of it adds to the first; else it replaces it.
    pub fn accumulates(self) -> bool {
        use Key::{Address, AllowedIps, Dns, PostDown, PostUp, PreDown, PreUp};
        matches!(
            self,
            Address | AllowedIps | Dns | PostDown | PostUp | PreDown | PreUp
        )
    }

    fn entry(self) -> &'static (Key, &'static str, Section) {
        // The table is in the order of the enum, which a test holds.
        &KEYS[self as usize]
    }
}

/// The known name that is most like `name`, if any is.
pub fn similar(name: &str) -> Option<&'static str> {
    closest(name, KEYS.iter().map(|(_, n, _)| *n))
}

/// The candidate that is most like `word`, at most a third of it apart.
pub fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let distance = |c: &str| strsim::damerau_levenshtein(&word, &c.to_ascii_lowercase());
    let (best, apart) = candidates
        .map(|c| (c, distance(c)))
        .min_by_key(|(_, d)| *d)?;
    (apart <= best.len().div_ceil(3)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (key, name, _)) in KEYS.iter().enumerate() {
            assert_eq!(*key as usize, index, "{name}");
            assert_eq!(Key::find(&name.to_uppercase()), Some(*key));
        }
    }

    #[test]
    fn what_was_meant() {
        assert_eq!(similar("PrivteKey"), Some("PrivateKey"));
        assert_eq!(similar("allowedip"), Some("AllowedIPs"));
        assert_eq!(similar("PersistantKeepAlive"), Some("PersistentKeepalive"));
        assert_eq!(similar("adress"), Some("Address"));
        assert_eq!(similar("Colour"), None);
        assert_eq!(similar(""), None);
        assert_eq!(similar(&"x".repeat(1 << 20)), None);
    }
}

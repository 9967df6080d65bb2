//! A wg-quick file with a peer more or less. All else stays, to the byte.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::name::FriendlyName;
use crate::crypto::{PresharedKey, PublicKey};
use crate::metrics::names;
use crate::tunnel::allowed_ips::Prefix;

/// The section of a peer.
#[derive(Debug)]
pub struct Section<'a> {
    /// What people call it.
    pub name: &'a FriendlyName,
    /// Who it is.
    pub key: PublicKey,
    /// All zero is none.
    pub preshared: &'a PresharedKey,
    /// What is behind it.
    pub allowed_ips: &'a [Prefix],
}

/// The file with the section at its end.
#[must_use]
pub fn with(text: &str, section: &Section<'_>) -> Zeroizing<String> {
    const LONGEST: usize = 4096;
    // At once as long as it gets: a string that grows leaves copies of keys behind.
    let mut out = Zeroizing::new(String::with_capacity(text.len() + LONGEST));
    out.push_str(text);
    if !text.is_empty() && !text.ends_with('\n') {
        out.push('\n');
    }
    let _ = write!(
        out,
        "\n[Peer]\n# friendly_name = {}\nPublicKey = {}\n",
        section.name, section.key
    );
    if section.preshared.is_set() {
        let _ = writeln!(out, "PresharedKey = {}", &*section.preshared.to_base64());
    }
    let ranges: Vec<_> = section
        .allowed_ips
        .iter()
        .map(ToString::to_string)
        .collect();
    let _ = writeln!(out, "AllowedIPs = {}", ranges.join(", "));
    out
}

/// The file without the sections of a peer; none if it has none.
#[must_use]
pub fn without(text: &str, key: &PublicKey) -> Option<Zeroizing<String>> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_title = |line: &str| line.trim_start().starts_with('[');
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut found = false;
    let mut at = 0;
    while at < lines.len() {
        let next = lines[at + 1..].iter().position(|line| is_title(line));
        let end = next.map_or(lines.len(), |next| at + 1 + next);
        if is_title(lines[at]) && names::key_of(&lines[at..end]).as_ref() == Some(key) {
            found = true;
            // A blank line before it is its own; comments before the next title are not.
            if out.ends_with("\n\n") || *out == "\n" {
                out.pop();
            }
            let rest = lines[at..end].iter().rposition(|line| !is_aside(line));
            let rest = rest.map_or(end, |last| at + last + 1);
            if end < lines.len() {
                lines[rest..end].iter().for_each(|line| out.push_str(line));
            }
        } else {
            lines[at..end].iter().for_each(|line| out.push_str(line));
        }
        at = end;
    }
    found.then_some(out)
}

/// Blank, or a comment that does not name the peer.
fn is_aside(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || (line.starts_with('#') && !line.contains("friendly_name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wgquick::parse;
    use crate::crypto::{PrivateKey, os_rng};
    use proptest::prelude::*;

    const KEYS: [&str; 2] = [
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    ];

    fn key(at: usize) -> PublicKey {
        PublicKey::from_base64(KEYS[at]).unwrap()
    }

    fn added(text: &str) -> Zeroizing<String> {
        with(
            text,
            &Section {
                name: &"Anna's phone".parse().unwrap(),
                key: key(0),
                preshared: &PresharedKey::generate(&mut os_rng()),
                allowed_ips: &[
                    "10.0.0.2/32".parse().unwrap(),
                    "fd00::2/128".parse().unwrap(),
                ],
            },
        )
    }

    #[test]
    fn what_was_added_is_read_and_taken_out_again() {
        let before = "[Interface]\n# of ours\nAddress = 10.0.0.1/24\n\n[Peer] # box\nPublicKey = TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0= \n";
        let text = added(before);
        let (config, report) = parse(text.as_bytes());
        assert_eq!(report.errors(), 0);
        assert_eq!(config.peers[1].public_key, key(0));
        assert!(config.peers[1].preshared_key.is_set());
        assert_eq!(config.peers[1].allowed_ips.len(), 2);
        assert_eq!(names::parse(&text)[&key(0)], "Anna's phone");
        assert_eq!(**without(&text, &key(0)).unwrap(), *before);
    }

    #[test]
    fn asides_before_the_next_section_are_not_the_peers() {
        let text = format!(
            "[Interface]\n\n[Peer]\n# friendly_name = a\nPublicKey={}#x\nAllowedIPs=10.0.0.2/32\n\n# the box\n[Peer]\nPublicKey = {}\n",
            KEYS[0], KEYS[1]
        );
        assert_eq!(
            **without(&text, &key(0)).unwrap(),
            *format!(
                "[Interface]\n\n# the box\n[Peer]\nPublicKey = {}\n",
                KEYS[1]
            )
        );
        let twice = format!(
            "[peer]\npublickey = {0}\n[Peer]\nPublicKey = {0}\n",
            KEYS[0]
        );
        assert_eq!(**without(&twice, &key(0)).unwrap(), *"");
        assert_eq!(
            without(&text, &PrivateKey::generate(&mut os_rng()).public()),
            None
        );
        assert_eq!(without("", &key(0)), None);
    }

    proptest! {
        #[test]
        fn to_add_and_to_take_out_changes_no_byte(
            lines in prop::collection::vec(prop::sample::select(vec![
                "", "[Interface]", "[Peer]", "# friendly_name = x", "# note", "PrivateKey = no",
                "PublicKey = TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=", "AllowedIPs = ::/0",
                " \t", "[", "é = \u{1b}", "Endpoint = a:1\r",
            ]), 0..12)
        ) {
            let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let with = added(&text);
            prop_assert!(with.starts_with(&text));
            let without = without(&with, &key(0)).unwrap();
            prop_assert_eq!(&*without, &text);
        }

        #[test]
        fn whatever_the_file_is(text in ".{0,200}") {
            let with = added(&text);
            prop_assert!(without(&with, &key(0)).is_some());
        }
    }
}

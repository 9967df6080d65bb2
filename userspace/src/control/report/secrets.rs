//! The second line of defence: a finished report is searched for everything that its
//! sources held and it must not hold. This side knows nothing of how the report was
//! made: it takes every string of every source for a secret unless it is a word that
//! stands in ringtun's own sources.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::addresses::is_of_everybody;
use super::pseudonyms::{DEVICE_KINDS, OTHER_KINDS};
use crate::crypto::KEY_LEN;

/// So many characters of a key in base64 or hex are a piece of it.
const PIECE: usize = 16;
/// So many of its bytes as decimal numbers.
const NUMBERS: usize = 8;
/// A run that is as long as this is taken for a key, whoever's.
const LONG: usize = 40;
/// Longer than any address is written, with what may stand around it.
const ADDRESS_MAX: usize = 64;
/// Parts of a text with at least so many characters are looked for by themselves.
const PART_MIN: usize = 4;
/// Texts that are remembered: the machine has no end of them.
const NAMES_MAX: usize = 1 << 18;
/// Networks that are larger are nobody's own: the pieces of the Internet without one
/// address are written in many files.
const OWN_V4: u8 = 16;
const OWN_V6: u8 = 32;

/// What must not be in a report.
#[derive(Default)]
pub struct Secrets {
    keys: Vec<Zeroizing<[u8; KEY_LEN]>>,
    addresses: HashSet<IpAddr>,
    macs: HashSet<[u8; 6]>,
    /// In lower case: one word each.
    words: HashSet<String>,
    /// In lower case: texts none of whose parts is long enough to be a word.
    texts: BTreeSet<String>,
}

/// What was found, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, in the section `{section}`, would have held {what}")]
pub struct Leak {
    /// What kind of secret it is.
    pub what: &'static str,
    /// The line, from 1.
    pub line: usize,
    /// The section.
    pub section: String,
}

impl Secrets {
    /// A key of either kind. All zero is none.
    pub fn key(&mut self, key: &[u8; KEY_LEN]) {
        if *key != [0; KEY_LEN] {
            self.keys.push(Zeroizing::new(*key));
        }
    }

    /// An address.
    pub fn address(&mut self, address: IpAddr) {
        if !is_of_everybody(address) {
            self.addresses.insert(address);
        }
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            self.address(v4.into());
        }
    }

    /// A network, or an address in it.
    pub fn network(&mut self, address: IpAddr, len: u8) {
        let (large, bits) = match address {
            IpAddr::V4(v4) => (len < OWN_V4, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (len < OWN_V6, v6.to_bits()),
        };
        let is_base = bits.checked_shl(len.into()).unwrap_or(0) == 0;
        if !(large && is_base) {
            self.address(address);
        }
    }

    /// Every string of a source, as itself and for what is in it.
    pub fn json(&mut self, json: &Json) {
        match json {
            Json::String(text) => self.text(text),
            Json::Array(all) => all.iter().for_each(|one| self.json(one)),
            Json::Object(all) => all.values().for_each(|one| self.json(one)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    /// A text, as itself and for what is in it.
    pub fn text(&mut self, text: &str) {
        if self.words.len() + self.texts.len() >= NAMES_MAX {
            return;
        }
        if let Some((address, len)) = text.split_once('/')
            && let (Ok(address), Ok(len)) = (address.parse(), len.parse())
        {
            return self.network(address, len);
        }
        for run in runs(text, is_of_address) {
            whole_addresses(run, &mut |address| self.address(address));
            if let Some(mac) = mac_of(run) {
                self.macs.insert(mac);
            }
        }
        for run in runs(text, is_base64) {
            self.encoded_key(run);
        }
        // What may stand in any address, and numbers.
        if text
            .chars()
            .all(|c| is_of_address(c) && !c.is_ascii_alphabetic() || c == '/')
            || text.contains([':', '.']) && text.chars().all(is_of_address)
        {
            return;
        }
        let lower = text.to_lowercase();
        let parts = runs(&lower, is_word).chain(runs(&lower, char::is_alphanumeric));
        let long: Vec<&str> = parts
            .filter(|part| part.chars().count() >= PART_MIN && is_a_name(part))
            .collect();
        let known = !long.is_empty();
        self.words.extend(long.into_iter().map(str::to_owned));
        if lower.chars().all(is_word) {
            if is_a_name(&lower) {
                self.words.insert(lower);
            }
        } else if !known && lower.chars().any(char::is_alphabetic) {
            self.texts.insert(lower.trim().to_owned());
        }
    }

    fn encoded_key(&mut self, run: &str) {
        let standard: String = run.chars().map(standard).collect();
        let bytes = match run.len() {
            43 => STANDARD_NO_PAD.decode(&standard).ok(),
            64 => base16ct::mixed::decode_vec(run).ok(),
            _ => None,
        };
        let bytes = bytes.map(Zeroizing::new);
        if let Some(bytes) = bytes
            && let Ok(key) = bytes.as_slice().try_into()
        {
            self.key(key);
        }
    }

    /// The first that is found in the text. `vocabulary` is what stands in it by itself:
    /// a name that is part of that tells nothing. Addresses are looked for unless they
    /// were asked for.
    #[must_use]
    pub fn find(&self, text: &str, vocabulary: &str, addresses: bool) -> Option<Leak> {
        let found = self
            .key_in(text, vocabulary)
            .or_else(|| addresses.then(|| self.address_in(text)).flatten())
            .or_else(|| self.mac_in(text))
            .or_else(|| self.name_in(text, &vocabulary.to_lowercase()));
        found.map(|(what, line)| Leak {
            what,
            line: line + 1,
            section: section_of(text, line),
        })
    }

    fn key_in(&self, text: &str, vocabulary: &str) -> Option<(&'static str, usize)> {
        let mut base64 = HashMap::new();
        let mut hex = HashMap::new();
        let mut numbers = HashMap::new();
        let mut digits = Vec::new();
        let mut bytes = Vec::new();
        for (at, line) in text.lines().enumerate() {
            for run in runs(line, is_base64) {
                if run.len() >= LONG && !vocabulary.contains(run) {
                    return Some(("something like a key", at));
                }
                let run: Vec<u8> = run.chars().map(|c| standard(c) as u8).collect();
                base64.extend(run.windows(PIECE).map(|piece| (piece.to_vec(), at)));
            }
            let found = line.bytes().filter(u8::is_ascii_hexdigit);
            digits.extend(found.map(|digit| (digit.to_ascii_lowercase(), at)));
            let found = runs(line, |c| c.is_ascii_digit());
            bytes.extend(found.filter_map(|run| Some((run.parse::<u8>().ok()?, at))));
        }
        let unzip = |all: &[(u8, usize)]| all.iter().map(|(one, _)| *one).collect::<Vec<u8>>();
        for window in digits.windows(PIECE).filter(|w| is_varied(&unzip(w))) {
            hex.insert(unzip(window), window[0].1);
        }
        for window in bytes.windows(NUMBERS).filter(|w| is_varied(&unzip(w))) {
            numbers.insert(unzip(window), window[0].1);
        }
        let said = |key: &Zeroizing<[u8; KEY_LEN]>| {
            let in_base64 = Zeroizing::new(STANDARD_NO_PAD.encode(&key[..]));
            let in_hex = Zeroizing::new(base16ct::lower::encode_string(&key[..]));
            let mut pieces = in_base64.as_bytes().windows(PIECE);
            let found = pieces.find_map(|piece| base64.get(piece));
            let found = found.or_else(|| {
                let mut pieces = in_hex.as_bytes().windows(PIECE);
                pieces.find_map(|piece| hex.get(piece))
            });
            let found = found.or_else(|| {
                let mut pieces = key.windows(NUMBERS);
                pieces.find_map(|piece| numbers.get(piece))
            });
            found.copied()
        };
        self.keys.iter().find_map(said).map(|at| ("a key", at))
    }

    fn address_in(&self, text: &str) -> Option<(&'static str, usize)> {
        let mut found = None;
        for (at, line) in text.lines().enumerate() {
            for run in runs(line, is_of_address) {
                if run.len() > ADDRESS_MAX {
                    return Some(("something like an address", at));
                }
                all_addresses(run, &mut |address| {
                    if self.addresses.contains(&address) {
                        found = Some(("an address", at));
                    }
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn mac_in(&self, text: &str) -> Option<(&'static str, usize)> {
        let macs = self
            .macs
            .iter()
            .map(|mac| base16ct::lower::encode_string(mac));
        let macs: Vec<String> = macs.collect();
        text.lines().enumerate().find_map(|(at, line)| {
            let found = runs(line, |c| {
                c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '-')
            });
            let has = found.filter(|run| run.len() >= 12).any(|run| {
                let digits: String = run.chars().filter(char::is_ascii_hexdigit).collect();
                let digits = digits.to_ascii_lowercase();
                macs.iter().any(|mac| digits.contains(mac))
            });
            has.then_some(("a hardware address", at))
        })
    }

    fn name_in(&self, text: &str, vocabulary: &str) -> Option<(&'static str, usize)> {
        let known: HashSet<&str> = runs(vocabulary, is_word)
            .chain(runs(vocabulary, char::is_alphanumeric))
            .collect();
        let is_secret = |word: &str| self.words.contains(word) && !known.contains(word);
        for (at, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let parts = words(&lower, is_word).chain(words(&lower, char::is_alphanumeric));
            if parts.into_iter().any(is_secret) {
                return Some(("a name or another text of this machine", at));
            }
        }
        let lower = text.to_lowercase();
        let texts = self.texts.iter().filter(|text| !vocabulary.contains(*text));
        let found = texts.flat_map(|text| {
            let escaped = Json::from(text.as_str()).to_string();
            let escaped = escaped.trim_matches('"').to_owned();
            [text.clone(), escaped]
        });
        let found = found.filter(|text| !text.is_empty());
        found.into_iter().find_map(|name| {
            let at = lower.match_indices(&name).find(|(at, _)| {
                let before = lower[..*at].chars().next_back();
                let after = lower[at + name.len()..].chars().next();
                let ends = |edge: Option<char>, outside: Option<char>| {
                    !edge.is_some_and(char::is_alphanumeric)
                        || !outside.is_some_and(char::is_alphanumeric)
                };
                ends(name.chars().next(), before) && ends(name.chars().next_back(), after)
            })?;
            let line = lower[..at.0].matches('\n').count();
            Some(("a name or another text of this machine", line))
        })
    }
}

fn section_of(text: &str, line: usize) -> String {
    let before = text.lines().take(line + 1);
    let title = |line: &str| {
        let line = line.trim();
        let of_text = line.strip_prefix("==== ")?.split([',', '=']).next();
        Some(of_text?.trim().to_owned())
    };
    let of_json = |line: &str| {
        let name = line.trim().strip_prefix("\"section\": \"")?;
        Some(name.trim_end_matches(['"', ',']).to_owned())
    };
    let titles = before.filter_map(|line| title(line).or_else(|| of_json(line)));
    titles.last().unwrap_or_else(|| "preface".to_owned())
}

/// The longest runs of such characters.
fn runs(text: &str, is_in: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    text.split(move |c| !is_in(c)).filter(|run| !run.is_empty())
}

/// The same without what is a piece of an address: hex digits beside a colon or a dot.
fn words(line: &str, is_in: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = &str> {
    runs(line, is_in).filter(move |run| {
        let at = run.as_ptr().addr() - line.as_ptr().addr();
        let before = line[..at].chars().next_back();
        let after = line[at + run.len()..].chars().next();
        let joins = |c: Option<char>| matches!(c, Some(':' | '.'));
        let is_hex = run.chars().all(|c| c.is_ascii_hexdigit());
        !(is_hex && (joins(before) || joins(after)))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Numbers are everywhere, and `peer-1` is what stands for a name.
fn is_a_name(word: &str) -> bool {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_alias = stem.strip_suffix('-').is_some_and(|kind| {
        let kinds = DEVICE_KINDS.iter().chain(&OTHER_KINDS);
        stem != word && kinds.into_iter().any(|known| *known == kind)
    });
    word.chars().any(char::is_alphabetic) && !is_alias
}

fn is_of_address(c: char) -> bool {
    c.is_ascii_hexdigit() || c == ':' || c == '.'
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_')
}

fn standard(c: char) -> char {
    match c {
        '-' => '+',
        '_' => '/',
        other => other,
    }
}

/// Zeros in a row are in many tables.
fn is_varied(window: &[u8]) -> bool {
    let mut seen = window.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.len() > 2
}

/// Six bytes with whatever stands between them.
fn mac_of(run: &str) -> Option<[u8; 6]> {
    let digits: String = run.chars().filter(char::is_ascii_hexdigit).collect();
    let plausible = run.len() == 12 || run.contains(':') || run.contains('.');
    let bytes = base16ct::mixed::decode_vec(digits).ok()?;
    let mac: [u8; 6] = bytes.try_into().ok().filter(|_| plausible)?;
    (mac != [0; 6] && mac[0] & 1 == 0).then_some(mac)
}

/// Addresses that a run of their characters consists of, each as long as it goes.
fn whole_addresses(run: &str, each: &mut impl FnMut(IpAddr)) {
    dotted(run, each);
    let mut from = 0;
    while from < run.len() {
        let longest = (from + 2..=run.len().min(from + ADDRESS_MAX)).rev();
        let mut found = longest.filter_map(|to| Some((to, run[from..to].parse().ok()?)));
        match found.next() {
            Some((to, address)) if is_v6_of_somebody(address) => {
                each(address.into());
                from = to;
            }
            _ => from += 1,
        }
    }
}

/// All addresses that are in it anywhere.
fn all_addresses(run: &str, each: &mut impl FnMut(IpAddr)) {
    dotted(run, each);
    if run.matches(':').count() < 2 {
        return;
    }
    for from in 0..run.len() {
        for to in from + 2..=run.len() {
            let Ok(v6) = run[from..to].parse::<Ipv6Addr>() else {
                continue;
            };
            each(v6.into());
            // Whatever the prefix is with which it was translated.
            each(Ipv4Addr::from_bits(v6.to_bits() as u32).into());
        }
    }
}

fn is_v6_of_somebody(address: Ipv6Addr) -> bool {
    address.to_bits() >> 32 != 0
}

/// Each four numbers with dots between them, whatever their zeros.
fn dotted(run: &str, each: &mut impl FnMut(IpAddr)) {
    // Hex digits before the first and behind the last number are none of theirs.
    let is_edge = |c: char| !c.is_ascii_digit();
    let parts: Vec<&str> = run.split('.').collect();
    for four in parts.windows(4) {
        let first = four[0].rsplit(is_edge).next().unwrap_or_default();
        let last = four[3].split(is_edge).next().unwrap_or_default();
        let parsed: Vec<u8> = [first, four[1], four[2], last]
            .iter()
            .filter_map(|part| part.parse().ok())
            .collect();
        if let Ok(bytes) = <[u8; 4]>::try_from(parsed) {
            each(Ipv4Addr::from(bytes).into());
        }
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;

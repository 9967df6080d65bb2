//! Text without what is nobody's business: keys, names, addresses.
//!
//! ```text
//! key of 32 bytes, base64   peer-1, device-1, or key-1 where nobody knows it
//! 64 and more hex digits    (hex)
//! names that are known      name-1
//! addresses                 others of the same kind, see [`addresses`](super::addresses)
//! ```
//!
//! It goes by what text looks like, and rather takes too much than too little.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::addresses::Addresses;
use crate::crypto::PublicKey;
use crate::crypto::hash::HASH_LEN;

/// Characters of a key in base64, before its `=`.
const KEY_CHARS: usize = 43;
/// Names shorter than this would be found in the middle of other words.
const NAME_MIN: usize = 3;

/// Replaces, each thing always by the same one.
pub struct Redactor {
    addresses: Option<Addresses>,
    keys: HashMap<String, String>,
    /// Longest first.
    names: Vec<(String, String)>,
}

impl Redactor {
    /// Nothing is known yet. `secret`: new for each report, or `None` to leave
    /// addresses as they are.
    #[must_use]
    pub fn new(secret: Option<[u8; HASH_LEN]>) -> Self {
        Self {
            addresses: secret.map(Addresses::new),
            keys: HashMap::new(),
            names: Vec::new(),
        }
    }

    /// A public key that will be met.
    pub fn know_key(&mut self, key: &PublicKey, kind: &str) {
        let number = 1 + self.keys.values().filter(|l| l.starts_with(kind)).count();
        self.keys
            .entry(key.to_base64())
            .or_insert_with(|| format!("{kind}-{number}"));
    }

    /// A name that will be met: of a peer, a host.
    pub fn know_name(&mut self, name: &str) {
        let name = name.trim();
        let address = name.parse::<IpAddr>().is_ok();
        if name.len() < NAME_MIN || address || self.names.iter().any(|(known, _)| known == name) {
            return;
        }
        let label = format!("name-{}", self.names.len() + 1);
        let at = self
            .names
            .partition_point(|(known, _)| known.len() >= name.len());
        self.names.insert(at, (name.to_owned(), label));
    }

    /// How many keys, names and addresses there were.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let addresses = self.addresses.as_ref().map_or(0, Addresses::count);
        [self.keys.len(), self.names.len(), addresses]
    }

    /// The text, fit to be shown.
    #[must_use]
    pub fn text(&mut self, text: &str) -> String {
        let mut text = self.without_keys(text);
        for (name, label) in &self.names {
            text = text.replace(name.as_str(), label);
        }
        self.without_addresses(&text)
    }

    fn without_keys(&mut self, text: &str) -> String {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find(is_base64) {
            out.push_str(&rest[..begin]);
            rest = &rest[begin..];
            let end = rest.find(|c| !is_base64(c)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            if run.len() >= KEY_CHARS && after.starts_with('=') {
                rest = &after[1..];
                let number = 1 + self.keys.values().filter(|l| l.starts_with("key")).count();
                let label = self
                    .keys
                    .entry(format!("{run}="))
                    .or_insert_with(|| format!("key-{number}"));
                out.push_str(label);
            } else if has_long_hex(run) {
                out.push_str("(hex)");
            } else {
                out.push_str(run);
            }
        }
        out + rest
    }

    fn without_addresses(&mut self, text: &str) -> String {
        let Some(addresses) = &mut self.addresses else {
            return text.to_owned();
        };
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find(is_part) {
            out.push_str(&rest[..begin]);
            rest = &rest[begin..];
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            // `metadata::decode` is no address, in spite of its `ada::dec`.
            let inside = out.chars().next_back().is_some_and(is_word)
                && after.chars().next().is_some_and(is_word);
            if inside && run.contains("::") {
                out.push_str(run);
            } else {
                replace_run(addresses, run, &mut out);
            }
        }
        out + rest
    }
}

fn has_long_hex(run: &str) -> bool {
    run.split(|c: char| !c.is_ascii_hexdigit())
        .any(|part| part.len() >= 2 * HASH_LEN)
}

/// Hex digits, colons and dots: an address with something before or behind it, or
/// no address.
fn replace_run(addresses: &mut Addresses, run: &str, out: &mut String) {
    let inner = run.trim_start_matches('.').trim_end_matches(['.', ':']);
    let inner = match inner.strip_prefix(':') {
        Some(rest) if !rest.starts_with(':') => rest,
        _ => inner,
    };
    for candidate in [run, run.trim_end_matches('.'), inner] {
        let Some(at) = run.find(candidate) else {
            continue;
        };
        if let Some(new) = whole(addresses, candidate) {
            out.push_str(&run[..at]);
            out.push_str(&new);
            out.push_str(&run[at + candidate.len()..]);
            return;
        }
    }
    if run.matches(':').count() >= 4 {
        // An address with something around it, or a longer hardware address.
        out.push_str("(address)");
        return;
    }
    for (at, piece) in run.split(':').enumerate() {
        if at > 0 {
            out.push(':');
        }
        out.push_str(&dotted(addresses, piece));
    }
}

fn whole(addresses: &mut Addresses, text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(addresses.replace(address).to_string());
    }
    if let Ok(socket) = text.parse::<SocketAddrV4>() {
        let new = addresses.replace(IpAddr::V4(*socket.ip()));
        return Some(format!("{new}:{}", socket.port()));
    }
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() == 2)
        })
        .collect::<Option<_>>()?;
    let mac = addresses.replace_mac(bytes.try_into().ok()?);
    Some(mac.map(|byte| format!("{byte:02x}")).join(":"))
}

/// Four numbers, and perhaps more behind them (`10.0.0.1.53`).
fn dotted(addresses: &mut Addresses, piece: &str) -> String {
    let parts: Vec<&str> = piece.split('.').collect();
    for (at, four) in parts.windows(4).enumerate() {
        if let Ok(address) = four.join(".").parse::<Ipv4Addr>() {
            let new = addresses.replace(IpAddr::V4(address)).to_string();
            let mut all: Vec<&str> = parts[..at].to_vec();
            all.push(&new);
            all.extend(&parts[at + 4..]);
            return all.join(".");
        }
    }
    piece.to_owned()
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;

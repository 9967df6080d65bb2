//! Lines to [`Config`], all errors collected.

use super::MAX_FILE;
use super::checks;
use super::config::{Config, Interface, Peer};
use super::diagnostic::{Diagnostic, Report, Severity};
use super::keys::{self, Key, Section};
use super::values::{self, Wrong};
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};

/// Reads a whole file. What is wrong with it is in the report; the
/// configuration is of use only if the report has no error.
#[must_use]
pub fn parse(text: &[u8]) -> (Config, Report) {
    let mut parser = FileParser::default();
    if text.len() > MAX_FILE {
        let message = format!("larger than {} MiB", MAX_FILE >> 20);
        parser.report.push(
            Diagnostic::new(Severity::Error, None, message).remedy("is this a wg-quick file?"),
        );
        return (Config::default(), parser.report);
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").map_or(text, |rest| {
        let message = "the file begins with a byte order mark, which wg does not understand";
        parser.error(1, message, "save it as UTF-8 without BOM");
        rest
    });
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        parser.line(index + 1, line);
    }
    parser.finish()
}

#[derive(Default)]
struct FileParser {
    report: Report,
    interface: Interface,
    /// Line of the first `[Interface]`.
    interface_line: Option<usize>,
    peers: Vec<Peer>,
    section: Current,
}

/// Where lines belong now.
#[derive(Default)]
enum Current {
    /// No section has begun.
    #[default]
    Before,
    /// The section has a title that means nothing; its keys are passed over.
    Unknown,
    Interface {
        seen: Vec<(Key, usize)>,
    },
    Peer {
        peer: Box<Peer>,
        seen: Vec<(Key, usize)>,
    },
}

impl FileParser {
    fn error(&mut self, line: usize, message: impl Into<String>, remedy: impl Into<String>) {
        let diagnostic = Diagnostic::new(Severity::Error, Some(line), message);
        self.report.push(diagnostic.remedy(remedy));
    }

    fn warn(&mut self, line: usize, key: Key, message: impl Into<String>, remedy: &str) {
        let diagnostic = Diagnostic::new(Severity::Warning, Some(line), message);
        self.report.push(diagnostic.key(key.name()).remedy(remedy));
    }

    fn line(&mut self, number: usize, line: &[u8]) {
        let (line, comment) = match line.iter().position(|b| *b == b'#') {
            Some(at) => (&line[..at], true),
            None => (line, false),
        };
        let Ok(line) = std::str::from_utf8(line) else {
            let remedy = "save the file as UTF-8, and remove what is not text";
            return self.error(number, "not UTF-8 text", remedy);
        };
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
        if line.is_empty() {
            return;
        }
        if line.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return self.error(number, "a control character", "remove it");
        }
        if line.starts_with('[') {
            return self.title(number, line);
        }
        let Some((key, value)) = line.split_once('=') else {
            let remedy = "write Key = value, or # before a comment";
            return self.error(number, "neither a section nor a key with a value", remedy);
        };
        let blank = |c: char| c.is_ascii_whitespace();
        self.assignment(
            number,
            key.trim_end_matches(blank),
            value.trim_matches(blank),
            comment,
        );
    }

    fn title(&mut self, number: usize, line: &str) {
        self.end_of_section();
        let title: String = line.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if title.eq_ignore_ascii_case(Section::Interface.title()) {
            if title.len() != line.len() {
                // wg allows it; wg-quick then hands Address and its other keys to wg.
                let remedy = "write [Interface]";
                self.error(number, "wg-quick knows no title with blanks in it", remedy);
            }
            if let Some(first) = self.interface_line {
                let message = format!("a second [Interface]; the first is in line {first}");
                let diagnostic = Diagnostic::new(Severity::Warning, Some(number), message);
                self.report
                    .push(diagnostic.remedy("put all its keys into one"));
            }
            self.interface_line.get_or_insert(number);
            self.section = Current::Interface { seen: Vec::new() };
        } else if title.eq_ignore_ascii_case(Section::Peer.title()) {
            let peer = Box::new(Peer {
                public_key: PublicKey::from_bytes([0; 32]),
                preshared_key: PresharedKey::none(),
                allowed_ips: Vec::new(),
                endpoint: None,
                keepalive: None,
                line: number,
            });
            let seen = Vec::new();
            self.section = Current::Peer { peer, seen };
        } else {
            self.section = Current::Unknown;
            let titles = [Section::Interface.title(), Section::Peer.title()];
            let remedy = match keys::closest(&title, titles.into_iter()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "there are [Interface] and [Peer]".to_owned(),
            };
            self.error(number, "no section has this title", remedy);
        }
    }

    fn assignment(&mut self, number: usize, name: &str, value: &str, comment: bool) {
        let Some(key) = Key::find(name) else {
            // Neither name nor value is shown: a key pasted in the wrong place
            // has an equals sign too.
            let remedy = match keys::similar(name) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "see `man wg-quick` and `man wg` for the keys there are".to_owned(),
            };
            return self.error(number, "unknown key", remedy);
        };
        let (seen, here) = match &mut self.section {
            Current::Unknown => return,
            Current::Before => {
                let remedy = format!("write {} above it", key.section().title());
                let diagnostic =
                    Diagnostic::new(Severity::Error, Some(number), "before the first section");
                return self.report.push(diagnostic.key(key.name()).remedy(remedy));
            }
            Current::Interface { seen } => (seen, Section::Interface),
            Current::Peer { seen, .. } => (seen, Section::Peer),
        };
        if here != key.section() {
            let message = format!("does not belong in {}", here.title());
            let remedy = format!("move it to {}", key.section().title());
            let diagnostic = Diagnostic::new(Severity::Error, Some(number), message);
            return self.report.push(diagnostic.key(key.name()).remedy(remedy));
        }
        let before = seen.iter().find(|(k, _)| *k == key).map(|(_, line)| *line);
        if before.is_none() {
            seen.push((key, number));
        }
        if let Err(wrong) = self.set(number, key, value, comment) {
            let mut diagnostic = Diagnostic::new(Severity::Error, Some(number), wrong.message);
            diagnostic = diagnostic.key(key.name()).remedy(wrong.remedy);
            if !key.is_secret() {
                diagnostic = diagnostic.value(wrong.part.as_deref().unwrap_or(value));
            }
            self.report.push(diagnostic);
        } else if let Some(before) = before.filter(|_| !key.accumulates()) {
            let message = format!("replaces the value of line {before}");
            self.warn(number, key, message, "remove one of the two");
        }
    }

    fn set(&mut self, number: usize, key: Key, value: &str, comment: bool) -> Result<(), Wrong> {
        if let Current::Peer { peer, .. } = &mut self.section {
            let unaligned = peer_value(peer, key, value)?;
            for range in unaligned {
                let diagnostic =
                    Diagnostic::new(Severity::Warning, Some(number), "has host bits set");
                self.report.push(
                    diagnostic
                        .key(key.name())
                        .value(&range)
                        .remedy("write the range itself"),
                );
            }
            return Ok(());
        }
        if interface_value(&mut self.interface, key, value)? && comment {
            let message = "the command ends at the #, as for wg-quick";
            self.warn(number, key, message, "put the command into a script");
        }
        Ok(())
    }

    fn end_of_section(&mut self) {
        if let Current::Peer { peer, seen } = std::mem::take(&mut self.section) {
            if seen.iter().any(|(key, _)| *key == Key::PublicKey) {
                self.peers.push(*peer);
            } else {
                let message = "this [Peer] has no PublicKey";
                self.error(
                    peer.line,
                    message,
                    "add what `wg pubkey` prints for the peer",
                );
            }
        }
    }

    fn finish(mut self) -> (Config, Report) {
        self.end_of_section();
        if self.interface_line.is_none() {
            let message = "there is no [Interface]";
            let remedy = "add one with PrivateKey and Address";
            let diagnostic = Diagnostic::new(Severity::Error, None, message);
            self.report.push(diagnostic.remedy(remedy));
        }
        let config = Config {
            interface: self.interface,
            peers: self.peers,
        };
        if self.report.errors() == 0 {
            checks::config(&config, &mut self.report);
        }
        (config, self.report)
    }
}

const KEY_WRONG: Wrong = Wrong {
    part: None,
    message: "not a key of 44 base64 characters",
    remedy: "copy it whole, as `wg genkey`, `wg pubkey` or `wg genpsk` printed it",
};

/// Sets a key of the interface; true if it was a command.
fn interface_value(i: &mut Interface, key: Key, value: &str) -> Result<bool, Wrong> {
    let hook = match key {
        Key::PreUp => &mut i.pre_up,
        Key::PostUp => &mut i.post_up,
        Key::PreDown => &mut i.pre_down,
        Key::PostDown => &mut i.post_down,
        _ => {
            interface_setting(i, key, value)?;
            return Ok(false);
        }
    };
    if value.is_empty() {
        return Err(Wrong {
            part: None,
            message: "no command",
            remedy: "write one, or remove the line",
        });
    }
    hook.push(value.to_owned());
    Ok(true)
}

fn interface_setting(i: &mut Interface, key: Key, value: &str) -> Result<(), Wrong> {
    match key {
        Key::Address => i.addresses.extend(values::addresses(value)?),
        Key::Dns => {
            let (servers, domains) = values::dns(value)?;
            i.dns.extend(servers);
            i.dns_search.extend(domains);
        }
        Key::FwMark => i.fwmark = Some(values::fwmark(value)?),
        Key::ListenPort => i.listen_port = Some(values::port(value)?),
        Key::Mtu => i.mtu = Some(values::mtu(value)?),
        Key::PrivateKey => {
            i.private_key = Some(PrivateKey::from_base64(value).map_err(|_| KEY_WRONG)?);
        }
        Key::SaveConfig => i.save_config = values::boolean(value)?,
        Key::Table => i.table = values::table(value)?,
        // Commands were handled above, keys of peers are refused before.
        _ => {}
    }
    Ok(())
}

/// Sets a key of a peer; returns ranges with host bits.
fn peer_value(peer: &mut Peer, key: Key, value: &str) -> Result<Vec<String>, Wrong> {
    match key {
        Key::AllowedIps => {
            let (ranges, unaligned) = values::allowed_ips(value)?;
            peer.allowed_ips.extend(ranges);
            return Ok(unaligned);
        }
        Key::Endpoint => peer.endpoint = Some(values::endpoint(value)?),
        Key::PersistentKeepalive => peer.keepalive = Some(values::keepalive(value)?),
        Key::PresharedKey => {
            peer.preshared_key = PresharedKey::from_base64(value).map_err(|_| KEY_WRONG)?;
        }
        Key::PublicKey => {
            peer.public_key = PublicKey::from_base64(value).map_err(|_| KEY_WRONG)?;
        }
        // Keys of the interface are refused before.
        _ => {}
    }
    Ok(Vec::new())
}

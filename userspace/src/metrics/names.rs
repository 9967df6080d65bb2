//! Names of peers for people: `# friendly_name = …` in a `[Peer]` of a wg-quick
//! file, as `prometheus_wireguard_exporter` reads it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::crypto::PublicKey;

/// Bytes of a file that are read: more than 40,000 peers.
const FILE_MAX: u64 = 16 << 20;

/// Characters of a name; it becomes a label of several series.
const NAME_MAX: usize = 64;

/// Names by peer.
pub type Names = Arc<HashMap<PublicKey, String>>;

/// The names in some files, read again when one of them changed.
#[derive(Debug, Default)]
pub struct NameFiles {
    files: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
    names: Names,
}

impl NameFiles {
    /// Of these files; they need not be there yet.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            ..Self::default()
        }
    }

    /// The names as of now. What cannot be read has none, and that is logged
    /// once per change.
    pub fn names(&mut self) -> Names {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let now: Vec<_> = self.files.iter().map(stamp).collect();
        if now != self.seen {
            let mut all = HashMap::new();
            for path in &self.files {
                match read(path) {
                    Ok(text) => all.extend(parse(&text)),
                    Err(error) => {
                        tracing::warn!(event = "peer_names_unreadable", file = %path.display(), %error, "no names of peers");
                    }
                }
            }
            self.names = Arc::new(all);
            self.seen = now;
        }
        Arc::clone(&self.names)
    }
}

/// The text; it has a private key in it, too.
///
/// # Errors
/// The system's, or it is no UTF-8.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len().min(FILE_MAX);
    // At once as long as it gets: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(len as usize + 1));
    file.take(len).read_to_string(&mut text)?;
    Ok(text)
}

/// Pairs of key and name. Lines that are wrong in other ways are somebody
/// else's to report.
#[must_use]
pub fn parse(text: &str) -> HashMap<PublicKey, String> {
    let mut names = HashMap::new();
    let (mut key, mut name) = (None, None);
    let mut finish = |key: &mut Option<PublicKey>, name: &mut Option<String>| {
        if let (Some(key), Some(name)) = (key.take(), name.take()) {
            names.insert(key, name);
        }
    };
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            // A name above the first section is nobody's.
            finish(&mut key, &mut name);
        } else if let Some(comment) = line.strip_prefix('#') {
            if let Some(("friendly_name", text)) = assignment(comment) {
                name = Some(shortened(text));
            }
        } else {
            key = public_key(line).or(key);
        }
    }
    finish(&mut key, &mut name);
    names
}

/// The key that the lines of a section name.
#[must_use]
pub fn key_of(lines: &[&str]) -> Option<PublicKey> {
    lines
        .iter()
        .filter_map(|line| public_key(line.trim()))
        .next_back()
}

fn public_key(line: &str) -> Option<PublicKey> {
    let (found, value) = assignment(line)?;
    if !found.eq_ignore_ascii_case("PublicKey") {
        return None;
    }
    let value = value.split('#').next().unwrap_or_default().trim();
    PublicKey::from_base64(value).ok()
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 3] = [
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
        "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=",
    ];

    fn key(n: usize) -> PublicKey {
        PublicKey::from_base64(KEYS[n]).unwrap()
    }

    #[test]
    fn a_name_belongs_to_the_peer_of_its_section_before_or_after_the_key() {
        let text = format!(
            "# friendly_name = nobody\n[Interface]\nPrivateKey = x\n[Peer]\n\
             #friendly_name=Anna's phone\nPublicKey = {}\n\n[Peer]\n publickey={} # key\n\
             # friendly_name =  box = 2 \n[Peer]\n# a comment\nPublicKey = {}\n",
            KEYS[0], KEYS[1], KEYS[2]
        );
        let names = parse(&text);
        assert_eq!(names[&key(0)], "Anna's phone");
        assert_eq!(names[&key(1)], "box = 2");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn names_are_short_and_printable() {
        let long = "x".repeat(1000);
        let text = format!(
            "[Peer]\nPublicKey={}\n#friendly_name=\u{7}{long}\n",
            KEYS[0]
        );
        assert_eq!(parse(&text)[&key(0)], "x".repeat(NAME_MAX));
        assert!(parse("[Peer]\n#friendly_name=a\nPublicKey=b\n").is_empty());
    }

    #[test]
    fn a_file_is_read_again_when_it_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut files = NameFiles::new(vec![file.path().into(), "/does/not/exist".into()]);
        assert!(files.names().is_empty());
        let text = format!("[Peer]\nPublicKey={}\n#friendly_name=a\n", KEYS[0]);
        fs::write(file.path(), text).unwrap();
        assert_eq!(files.names()[&key(0)], "a");
    }
}

//! What is wrong, how it is seen, and what mends it.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use crate::control::names::InterfaceName;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to mend.
    Note,
    /// It works, and will perhaps not do what is meant.
    Warning,
    /// It does not work.
    Error,
}

/// What mends it. Several of one finding belong together, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// For a shell of root.
    Command(String),
    /// A line of a file as it has to be.
    Line {
        /// The file.
        file: PathBuf,
        /// Which line is replaced, from 1; none: it is added to the section.
        line: Option<usize>,
        /// What the line has to be.
        text: String,
    },
    /// What nobody but the user can do.
    Advice(String),
}

/// Ids of all findings.
pub const IDS: &[&str] = &[
    "address-missing",
    "answers-dropped",
    "clock-behind",
    "device-down",
    "elsewhere",
    "file",
    "firewall-passed-by",
    "forwarding-off",
    "leftovers",
    "loop",
    "mtu",
    "name-unknown",
    "neighbour-silent",
    "network-twice",
    "no-answer",
    "no-carrier",
    "no-file",
    "no-masquerade",
    "no-rights",
    "no-route",
    "not-up",
    "port-closed",
    "port-taken",
    "route-missing",
    "tun-missing",
    "xdp-taken",
];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind it is, for scripts: the same in all versions.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The device it is about; none for the machine as a whole.
    pub device: Option<String>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// Where that was seen.
    pub seen: Vec<String>,
    /// What mends it.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    /// One of the machine as a whole.
    #[must_use]
    pub fn new(id: &'static str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            device: None,
            what: what.into(),
            seen: Vec::new(),
            remedies: Vec::new(),
        }
    }

    /// It is about this device.
    #[must_use]
    pub fn of(mut self, name: &InterfaceName) -> Self {
        self.device = Some(name.to_string());
        self
    }

    /// Says where it was seen.
    #[must_use]
    pub fn seen(mut self, seen: impl Into<String>) -> Self {
        self.seen.push(seen.into());
        self
    }

    /// Adds a command that mends it.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.remedies.push(Remedy::Command(command.into()));
        self
    }

    /// Adds what the user has to do.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.remedies.push(Remedy::Advice(advice.into()));
        self
    }

    /// Adds another remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }
}

/// As on a terminal:
///
/// ```text
/// error: wg0: the device is down [device-down]
///   seen: ip link show dev wg0: no UP
///   mend: ip link set dev wg0 up
/// ```
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let device = self.device.as_deref().map(|device| format!("{device}: "));
        let device = device.unwrap_or_default();
        writeln!(text, "{severity}: {device}{} [{}]", self.what, self.id)?;
        for seen in &self.seen {
            writeln!(text, "  seen: {seen}")?;
        }
        for remedy in &self.remedies {
            match remedy {
                Remedy::Command(command) => writeln!(text, "  mend: {command}")?,
                Remedy::Advice(advice) => writeln!(text, "  mend: {advice}")?,
                Remedy::Line {
                    file,
                    line,
                    text: to,
                } => {
                    let file = file.display();
                    match line {
                        Some(line) => writeln!(text, "  mend: {file}, line {line}: {to}")?,
                        None => writeln!(text, "  mend: add to {file}: {to}")?,
                    }
                }
            }
        }
        f.write_str(&printable(&text))
    }
}

/// Nothing of what was found on the machine moves the cursor of a terminal.
fn printable(text: &str) -> String {
    let escaped = text.chars().map(|c| {
        if c.is_control() && c != '\n' {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    });
    escaped.collect()
}

/// As one word for a shell.
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_=+.-/:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn ids_of_the_sources_are_those_of_the_list_and_of_the_guide() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = fs::read_dir(package.join("src/control/doctor")).unwrap();
        let mut made = BTreeSet::new();
        for source in sources {
            let text = fs::read_to_string(source.unwrap().path()).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let calls = text.split("Finding::new(").skip(1);
            let ids = calls.map(|call| call.trim_start().strip_prefix('"').expect("an id"));
            made.extend(ids.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        assert!(made.iter().eq(IDS), "{made:?}");
        let guide = package.join("../docs/guide/troubleshooting.md");
        let guide = fs::read_to_string(guide).unwrap();
        for id in IDS {
            assert!(guide.contains(&format!("`{id}`")), "{id}");
        }
    }

    #[test]
    fn a_finding_is_a_line_of_what_lines_of_where_and_lines_of_how() {
        let finding = Finding::new("device-down", Severity::Error, "the device is down")
            .of(&"wg0".parse().unwrap())
            .seen("ip link show dev wg0: no UP")
            .command("ip link set dev wg0 up")
            .remedy(Remedy::Line {
                file: "/etc/wireguard/wg0.conf".into(),
                line: Some(3),
                text: "ListenPort = 51821".into(),
            })
            .remedy(Remedy::Line {
                file: "/etc/wireguard/wg0.conf".into(),
                line: None,
                text: "MTU = 1420".into(),
            })
            .advice("ask somebody");
        assert_eq!(
            finding.to_string(),
            "error: wg0: the device is down [device-down]\n  seen: ip link show dev wg0: no UP\n  \
             mend: ip link set dev wg0 up\n  mend: /etc/wireguard/wg0.conf, line 3: ListenPort = 51821\n  \
             mend: add to /etc/wireguard/wg0.conf: MTU = 1420\n  mend: ask somebody\n"
        );
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["severity"], "error");
        assert_eq!(json["remedies"][0]["command"], "ip link set dev wg0 up");
        assert_eq!(json["remedies"][1]["line"]["line"], 3);
    }

    #[test]
    fn nothing_that_was_found_reaches_the_terminal_as_control() {
        let finding = Finding::new("x", Severity::Note, "\u{1b}[2Jgone\u{7}").seen("a\rb");
        let text = finding.to_string();
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r']), "{text:?}");
    }

    #[test]
    fn a_word_is_one_word_for_a_shell() {
        assert_eq!(word("/etc/wireguard/wg0.conf"), "/etc/wireguard/wg0.conf");
        for text in ["", "a b", "$(reboot)", "it's", ";", "a\nb"] {
            let script = format!("printf %s {}", word(text));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output();
            assert_eq!(output.unwrap().stdout, text.as_bytes());
        }
    }
}

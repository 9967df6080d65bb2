//! A wg-quick file without its secrets.

use std::fmt::Write as _;
use std::path::Path;

use super::redact::Redactor;
use crate::control::wgquick::{Config, Host};
use crate::metrics::names;

/// Values that are shown, with keys, names and addresses replaced.
const SHOWN: [&str; 11] = [
    "publickey",
    "listenport",
    "fwmark",
    "address",
    "dns",
    "mtu",
    "table",
    "saveconfig",
    "allowedips",
    "endpoint",
    "persistentkeepalive",
];

/// Names in the file that must not be shown.
pub fn learn(config: &Config, redactor: &mut Redactor) {
    if let Some(key) = &config.interface.private_key {
        redactor.know_key(&key.public(), "device");
    }
    for domain in &config.interface.dns_search {
        redactor.know_name(domain);
    }
    for peer in &config.peers {
        redactor.know_key(&peer.public_key, "peer");
        if let Some(Host::Name(name)) = peer.endpoint.as_ref().map(|e| &e.host) {
            redactor.know_name(name);
        }
    }
}

/// The file as it may be shown: sections, keys, and the values that are no secret
/// and no command. Comments are left out.
pub fn render(text: &str, redactor: &mut Redactor) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let shown = match line.split_once('=') {
            None if line.is_empty() => continue,
            None if matches!(line.to_ascii_lowercase().as_str(), "[interface]" | "[peer]") => {
                line.to_owned()
            }
            None => format!("({} characters that are no section and no key)", line.len()),
            Some((key, value)) => {
                let (key, value) = (key.trim(), value.trim());
                if SHOWN.contains(&key.to_ascii_lowercase().as_str()) {
                    format!("{key} = {}", redactor.text(value))
                } else if key.chars().all(|c| c.is_ascii_alphanumeric()) && key.len() < 32 {
                    format!("{key} = ({} characters, not shown)", value.len())
                } else {
                    format!("({} characters, not shown)", line.len())
                }
            }
        };
        let _ = writeln!(out, "{shown}");
    }
    out
}

/// The file of a tunnel.
pub fn of(path: &Path, redactor: &mut Redactor) -> String {
    match names::read(path) {
        Ok(text) => render(&text, redactor),
        Err(error) => format!("cannot be read: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_commands_and_comments_are_not_shown() {
        let secret = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        let text = format!(
            "# Anna's\n[Interface]\nPrivateKey = {secret} # old: hunter2\nPostUp = curl -u me:hunter2 x\n\
             Address = 10.9.8.7/24\npresharedkey={secret}\nhunter2\n[hunter2]\nhunter2 word = hunter2\n\
             [peer]\nAllowedIPs = 0.0.0.0/0\n"
        );
        let shown = render(&text, &mut Redactor::new(Some([3; 32])));
        for hidden in [secret, "hunter2", "Anna", "10.9.8.7"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
        for there in [
            "[Interface]\n",
            "PrivateKey = (44 characters, not shown)\n",
            "PostUp = (20 characters, not shown)\n",
            "Address = 10.",
            "[peer]\nAllowedIPs = 0.0.0.0/0\n",
        ] {
            assert!(shown.contains(there), "{there} is not in {shown}");
        }
    }
}

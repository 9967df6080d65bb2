//! `DNS`: given to whichever resolver manages `/etc/resolv.conf`.

use std::fs;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::program::{self, ProgramError};
use crate::control::names::InterfaceName;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolver {
    /// resolvconf(8) of any make.
    Resolvconf,
    /// systemd-resolved, by resolvectl(1).
    Resolvectl,
}

impl Resolver {
    /// The one that is there: resolvconf first, as wg-quick.
    #[must_use]
    pub fn find() -> Option<Self> {
        if program::exists("resolvconf") {
            Some(Self::Resolvconf)
        } else if program::exists("resolvectl") {
            Some(Self::Resolvectl)
        } else {
            None
        }
    }

    /// Gives it the servers and search domains of the device.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn set(
        self,
        name: &InterfaceName,
        servers: &[IpAddr],
        search: &[String],
    ) -> Result<(), ProgramError> {
        let servers = servers.iter().map(IpAddr::to_string);
        match self {
            Self::Resolvconf => {
                let mut text: String = servers.map(|s| format!("nameserver {s}\n")).collect();
                if !search.is_empty() {
                    text += &format!("search {}\n", search.join(" "));
                }
                program::feed("resolvconf", ["-a", &key(name), "-m", "0", "-x"], &text)?;
            }
            Self::Resolvectl => {
                let words = ["dns".to_owned(), name.to_string()];
                program::run("resolvectl", words.into_iter().chain(servers))?;
                // `~.`: all questions go there, which is what -x is to resolvconf.
                let words = ["domain".to_owned(), name.to_string(), "~.".to_owned()];
                program::run("resolvectl", words.iter().chain(search))?;
            }
        }
        Ok(())
    }

    /// Takes them back.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn unset(self, name: &InterfaceName) -> Result<(), ProgramError> {
        match self {
            Self::Resolvconf => program::run("resolvconf", ["-d", &key(name), "-f"]),
            Self::Resolvectl => program::run("resolvectl", ["revert", name.as_str()]),
        }
        .map(drop)
    }
}

/// The name under which resolvconf knows the device: with the first prefix of
/// `interface-order` that takes names of any kind, as wg-quick does it.
fn key(name: &InterfaceName) -> String {
    let order = fs::read_to_string("/etc/resolvconf/interface-order").unwrap_or_default();
    let is_word =
        |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let mut prefixes = order.lines().filter_map(|line| line.strip_suffix('*'));
    match prefixes.find(|prefix| is_word(prefix)) {
        Some(prefix) => format!("{prefix}.{name}"),
        None => name.to_string(),
    }
}

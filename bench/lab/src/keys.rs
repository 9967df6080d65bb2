//! WireGuard keys for tests, made by `wg`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::netns::{finish, finish_with_input};

/// A key pair, in base64 as `wg` prints it.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The private key.
    pub private: String,
    /// The public key.
    pub public: String,
}

impl Keys {
    /// A fresh pair.
    ///
    /// # Errors
    /// `wg` cannot run.
    pub fn generate() -> Result<Keys> {
        let private = wg("genkey", "")?;
        let public = wg("pubkey", &private)?;
        Ok(Keys { private, public })
    }
}

/// A fresh preshared key.
///
/// # Errors
/// `wg` cannot run.
pub fn preshared() -> Result<String> {
    wg("genpsk", "")
}

fn wg(subcommand: &str, input: &str) -> Result<String> {
    let mut command = Command::new("wg");
    command.arg(subcommand);
    let output = if input.is_empty() {
        finish(command.stdin(Stdio::null()))
    } else {
        finish_with_input(&mut command, input.as_bytes())
    };
    let output = output.context("wg (apt-get install wireguard-tools)")?;
    Ok(output.trim().to_owned())
}

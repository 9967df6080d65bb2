//! `ringtun genkey`, `genpsk` and `pubkey`, as `wg` has them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use super::output::print;
use crate::crypto::encoding::BASE64_LEN;
use crate::crypto::{PresharedKey, PrivateKey, os_rng};

/// Prints a new private key.
pub fn genkey() -> Result<ExitCode> {
    warn_if_others_can_read();
    print_secret(&PrivateKey::generate(&mut os_rng()).to_base64())
}

/// Prints a new preshared key.
pub fn genpsk() -> Result<ExitCode> {
    warn_if_others_can_read();
    print_secret(&PresharedKey::generate(&mut os_rng()).to_base64())
}

/// Reads a private key and prints its public key.
pub fn pubkey() -> Result<ExitCode> {
    // A key, and as much white space as a text editor may leave behind it.
    const LONGEST: u64 = 4096;
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    io::stdin()
        .lock()
        .take(LONGEST)
        .read_to_end(&mut text)
        .context("cannot read the private key")?;
    let Some((key, rest)) = text.split_at_checked(BASE64_LEN) else {
        bail!(
            "the private key is too short: it has {BASE64_LEN} characters, as `ringtun genkey` prints it"
        );
    };
    if !rest.iter().all(|b| b.is_ascii_whitespace() || *b == 0) || text.len() as u64 == LONGEST {
        bail!("there is something after the private key; give it the key alone");
    }
    let key = std::str::from_utf8(key)
        .ok()
        .and_then(|key| PrivateKey::from_base64(key).ok())
        .context(
            "this is no private key: it has 44 base64 characters, as `ringtun genkey` prints it",
        )?;
    print(&format!("{}\n", key.public()))?;
    Ok(ExitCode::SUCCESS)
}

fn print_secret(key: &str) -> Result<ExitCode> {
    let mut line = Zeroizing::new(String::with_capacity(key.len() + 1));
    line.push_str(key);
    line.push('\n');
    print(&line)?;
    Ok(ExitCode::SUCCESS)
}

fn warn_if_others_can_read() {
    let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned() else {
        return;
    };
    let Ok(metadata) = File::from(stdout).metadata() else {
        return;
    };
    if metadata.is_file() && metadata.permissions().mode() & 0o007 != 0 {
        eprintln!(
            "Warning: writing to a file that everybody can open.\n\
             Set the umask to 077 (`umask 077`) and try again."
        );
    }
}

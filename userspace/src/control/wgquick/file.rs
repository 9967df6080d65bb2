//! A configuration as a file: how it is found, read and guarded.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::MAX_FILE;
use super::config::Config;
use super::diagnostic::{Diagnostic, Report, Severity};
use super::parser::parse;
use crate::control::names::InterfaceName;

/// Where wg-quick keeps its files.
pub const DIRECTORY: &str = "/etc/wireguard";

/// `wg0` stands for `/etc/wireguard/wg0.conf`, as with wg-quick; anything that
/// is no device name is a path.
#[must_use]
pub fn locate(name_or_path: &str) -> PathBuf {
    match name_or_path.parse::<InterfaceName>() {
        Ok(name) if !name_or_path.ends_with(".conf") => {
            Path::new(DIRECTORY).join(format!("{name}.conf"))
        }
        _ => PathBuf::from(name_or_path),
    }
}

/// Reads and parses a file.
///
/// # Errors
/// The file cannot be read. What is wrong inside is in the report.
pub fn read(path: &Path) -> io::Result<(Config, Report)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // One byte more than allowed, for the parser to see that it is too much.
    let limit = MAX_FILE as u64 + 1;
    // Reserved at once: growing would leave copies of keys behind.
    let expected = usize::try_from(metadata.len().min(limit)).unwrap_or(MAX_FILE);
    let mut text = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(limit).read_to_end(&mut text)?;
    let (config, mut report) = parse(&text);
    guard(path, &metadata, &config, &mut report);
    Ok((config, report))
}

fn guard(path: &Path, metadata: &Metadata, config: &Config, report: &mut Report) {
    let mut warn = |message: String, remedy: String| {
        report.push(Diagnostic::new(Severity::Warning, None, message).remedy(remedy));
    };
    let secret = config.interface.private_key.is_some()
        || config.peers.iter().any(|p| p.preshared_key.is_set());
    let mode = metadata.permissions().mode() & 0o777;
    if secret && metadata.is_file() && mode & 0o077 != 0 {
        let message = format!(
            "others than its owner can open this file (mode {mode:04o}), and it holds keys"
        );
        warn(message, format!("chmod 600 {}", path.display()));
    }
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let device = name.strip_suffix(".conf").map(str::parse::<InterfaceName>);
    if metadata.is_file() && !matches!(device, Some(Ok(_))) {
        let message = "wg-quick wants the file to be called after the device".to_owned();
        warn(
            message,
            "name it such as wg0.conf, 15 characters at most before the dot".to_owned(),
        );
    }
}

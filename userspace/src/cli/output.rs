//! Standard output that may be closed by whoever reads it.

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes all of it. A reader that has had enough, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the output"),
    }
}

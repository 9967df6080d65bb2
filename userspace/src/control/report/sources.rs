//! What is asked of the machine, within bounds of time and size.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::control::quick::program;

/// Bytes of one section.
pub const SECTION_MAX: usize = 512 << 10;
/// How long a program or a page may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a program prints, or why there is nothing; words are separated by blanks.
pub fn command(words: &str) -> String {
    let mut split = words.split_ascii_whitespace();
    let name = split.next().unwrap_or_default();
    if !program::exists(name) {
        return format!("{name} is not installed\n");
    }
    let mut command = program::command(name);
    command
        .args(split)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return format!("cannot be run: {error}\n"),
    };
    let Some(stdout) = child.stdout.take() else {
        return String::new();
    };
    let (tell, heard) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is worth having.
        let _ = stdout.take(SECTION_MAX as u64 + 1).read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    let read = heard.recv_timeout(PATIENCE);
    // It has said all that is heard, or has had its time.
    let ended = child.try_wait();
    let _ = child.kill();
    let status = child.wait();
    match read {
        Err(_) => format!("gave no answer within {} s\n", PATIENCE.as_secs()),
        Ok(bytes) if bytes.is_empty() => match (ended, status) {
            (Ok(Some(status)), _) if !status.success() => format!("failed: {status}\n"),
            _ => String::from("nothing\n"),
        },
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Files of one line each, by their paths.
pub fn settings(paths: &[&str]) -> String {
    let line = |path: &&str| {
        let text = fs::read_to_string(path);
        let text = text.as_ref().map_or("(not there)", |text| text.trim());
        format!("{path} {text}\n")
    };
    paths.iter().map(line).collect()
}

/// The metrics page at this address, without what there is of each peer.
pub fn metrics(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /metrics HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.take(16 << 20).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let lines = body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("public_key="));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_within_bounds() {
        assert_eq!(command("echo a b"), "a b\n");
        assert_eq!(command("true"), "nothing\n");
        assert!(command("no-such-program-here x").contains("not installed"));
        assert_eq!(command("yes").len(), SECTION_MAX + 1);
        assert!(command("sleep 60").contains("no answer within 5 s"));
    }
}

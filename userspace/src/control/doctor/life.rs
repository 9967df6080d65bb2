//! The file, and whether what it says runs.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::finding::{Finding, Remedy, Severity, word};
use super::machine;
use super::subject::Subject;
use crate::control::wgquick::{Severity as Mistake, diagnostic::Diagnostic};

/// Processes that are asked whether a socket is theirs.
const PROCESSES_MAX: usize = 1 << 16;

/// What is wrong with the file, and with its not running if it should.
#[must_use]
pub fn examine(subject: &Subject, asked_for: bool) -> Vec<Finding> {
    let mut found: Vec<Finding> = match &subject.file {
        Some((_, report)) => report
            .sorted()
            .into_iter()
            .map(|d| mistake(subject, d))
            .collect(),
        None => Vec::new(),
    };
    if subject.runs() {
        return found;
    }
    let taken = port_taken(subject);
    found.extend(if subject.journal.is_some() {
        Some(leftovers(subject))
    } else if asked_for {
        not_up(subject, taken.is_some())
    } else {
        None
    });
    found.extend(taken.filter(|_| asked_for));
    found
}

fn mistake(subject: &Subject, diagnostic: &Diagnostic) -> Finding {
    let severity = match diagnostic.severity {
        Mistake::Error => Severity::Error,
        Mistake::Warning => Severity::Warning,
    };
    let file = subject.path.display();
    let place = match diagnostic.line {
        Some(line) => format!("{file}, line {line}"),
        None => file.to_string(),
    };
    let what = match (diagnostic.key, &diagnostic.value) {
        (Some(key), Some(value)) => format!("{key} = {value}: {}", diagnostic.message),
        (Some(key), None) => format!("{key}: {}", diagnostic.message),
        (None, _) => diagnostic.message.clone(),
    };
    let finding = Finding::new("file", severity, what)
        .of(&subject.name)
        .seen(place);
    // The remedy for the file's mode is a command, all others are words.
    if diagnostic.remedy.starts_with("chmod ") {
        let file = subject.path.to_string_lossy();
        finding.command(format!("chmod 600 {}", word(&file)))
    } else {
        finding.advice(diagnostic.remedy.clone())
    }
}

fn leftovers(subject: &Subject) -> Finding {
    let name = &subject.name;
    let what = "the process has ended without taking back addresses, routes and rules";
    Finding::new("leftovers", Severity::Error, what)
        .of(name)
        .seen(format!(
            "/run/ringtun/{name}.json is there, and nobody answers for the device"
        ))
        .command(format!("ringtun down {}", word(name.as_str())))
}

fn not_up(subject: &Subject, port_taken: bool) -> Option<Finding> {
    let name = &subject.name;
    let Some((_, report)) = &subject.file else {
        let finding = Finding::new(
            "no-file",
            Severity::Error,
            "there is neither such a device nor such a file",
        );
        let finding = finding
            .of(name)
            .seen(format!("{} cannot be read", subject.path.display()));
        return Some(
            finding.advice("name another (`ringtun show` lists devices), or write the file"),
        );
    };
    if report.errors() > 0 {
        return None;
    }
    let finding = Finding::new("not-up", Severity::Error, "the tunnel is not up");
    let finding = finding
        .of(name)
        .seen(format!("nobody answers at /var/run/wireguard/{name}.sock"));
    // First things first.
    Some(if port_taken {
        finding
    } else {
        let file = subject.path.to_string_lossy();
        finding.command(format!("ringtun up {}", word(&file)))
    })
}

fn port_taken(subject: &Subject) -> Option<Finding> {
    let config = subject.config()?;
    let port = config.interface.listen_port.filter(|port| *port != 0)?;
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let texts = tables.map(|table| machine::read(Path::new(table)).unwrap_or_default());
    let sockets: Vec<(u16, u64)> = texts.iter().flat_map(|text| sockets(text)).collect();
    let inode = sockets.iter().find(|(taken, _)| *taken == port)?.1;
    let taken: HashSet<u16> = sockets.iter().map(|(port, _)| *port).collect();
    let free = (port..=u16::MAX).find(|port| !taken.contains(port));
    let owner = owner(inode).map_or_else(String::new, |owner| format!(", of {owner}"));
    let what = format!("UDP port {port} is taken by somebody else");
    let finding = Finding::new("port-taken", Severity::Error, what)
        .of(&subject.name)
        .seen(format!("/proc/net/udp: a socket on port {port}{owner}"));
    let Some(free) = free else {
        return Some(finding);
    };
    Some(
        finding
            .remedy(Remedy::Line {
                file: subject.path.clone(),
                line: line_of(subject, "ListenPort"),
                text: format!("ListenPort = {free}"),
            })
            .advice("and the new port in the Endpoint of the other sides; or end that process"),
    )
}

/// Local ports and inodes in `/proc/net/udp`.
fn sockets(text: &str) -> impl Iterator<Item = (u16, u64)> {
    text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let inode = fields.nth(7)?.parse().ok()?;
        Some((u16::from_str_radix(port, 16).ok()?, inode))
    })
}

/// The process that a socket belongs to.
fn owner(inode: u64) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    for process in processes {
        let Ok(open) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let is_it = |link: std::path::PathBuf| link.as_os_str() == socket.as_str();
        let mut links = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        if links.any(is_it) {
            let name = machine::read(&process.path().join("comm"))?;
            let pid = process.file_name();
            return Some(format!("{} (process {})", name.trim(), pid.display()));
        }
    }
    None
}

/// Where the file says this, from 1.
pub(super) fn line_of(subject: &Subject, key: &str) -> Option<usize> {
    let text = machine::read(&subject.path)?;
    let is_it = |line: &str| {
        let said = line.split_once('=').map(|(key, _)| key.trim());
        said.is_some_and(|said| said.eq_ignore_ascii_case(key))
    };
    text.lines().position(is_it).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_what_the_kernel_lists() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
             7: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0 0\n \
             8: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 77 2 0 0\n";
        assert_eq!(sockets(text).collect::<Vec<_>>(), [(51820, 4242), (53, 77)]);
        for wrong in [
            "",
            "x",
            "x\n1: y",
            "x\n1: a:zzzz b c d e f g h i",
            "x\n:::::\n\n",
        ] {
            assert_eq!(sockets(wrong).count(), 0, "{wrong:?}");
        }
    }
}

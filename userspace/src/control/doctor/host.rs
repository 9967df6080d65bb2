//! What any tunnel needs of the machine.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::{Finding, Severity};
use super::machine;

const TUN: &str = "/dev/net/tun";
/// `CAP_NET_ADMIN`, as a bit of what a process may.
const NET_ADMIN: u32 = 12;
/// No clock that is right says a time before this: 2026-01-01, in seconds since 1970.
const BEGUN: u64 = 1_767_225_600;

/// What is missing.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(tun());
    if let Some(status) = machine::read(Path::new("/proc/self/status")) {
        found.extend(rights(&status));
    }
    found.extend(clock(SystemTime::now()));
    found
}

fn tun() -> Option<Finding> {
    if Path::new(TUN).exists() {
        return None;
    }
    let finding = Finding::new(
        "tun-missing",
        Severity::Error,
        "there is no TUN device, so no tunnel can be made",
    );
    let finding = finding.seen(format!("{TUN} is not there"));
    Some(if Path::new("/sys/class/misc/tun").exists() {
        finding.command(format!("mkdir -p /dev/net && mknod -m 666 {TUN} c 10 200"))
    } else {
        finding.command("modprobe tun")
    })
}

/// `status` is that of this process (proc_pid_status(5)).
fn rights(status: &str) -> Option<Finding> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let may = u64::from_str_radix(line.trim(), 16).ok()?;
    if may >> NET_ADMIN & 1 == 1 {
        return None;
    }
    let finding = Finding::new(
        "no-rights",
        Severity::Warning,
        "this user may not see rules, sockets and processes of others: much is left out here",
    );
    Some(
        finding
            .seen(format!("CapEff in /proc/self/status: {}", line.trim()))
            .command("sudo ringtun doctor"),
    )
}

fn clock(now: SystemTime) -> Option<Finding> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    if now.as_secs() >= BEGUN {
        return None;
    }
    let finding = Finding::new(
        "clock-behind",
        Severity::Error,
        "the clock is years behind: peers that have seen a later time refuse every handshake",
    );
    Some(
        finding
            .seen(format!("{} seconds since 1970", now.as_secs()))
            .command("timedatectl set-ntp true"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_from_what_the_kernel_says() {
        assert_eq!(rights("Name:\tx\nCapEff:\t000001ffffffffff\n"), None);
        let found = rights("CapEff:\t0000000000000000\n").unwrap();
        assert_eq!(found.id, "no-rights");
        for wrong in ["", "CapEff:", "CapEff:\tzz", "CapEff:\t1ffffffffffffffffff"] {
            assert_eq!(rights(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_of_1970_is_behind_and_the_one_of_this_machine_is_not() {
        assert_eq!(clock(SystemTime::now()), None);
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(clock(first).unwrap().id, "clock-behind");
    }
}

//! `process_*`: what the kernel says of this process, with the names that every
//! Prometheus client library uses.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::family::Family;

/// The families; what `/proc` does not tell is left out.
pub(super) fn families() -> Vec<Family> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count);
    let stat = Stat::read(&stat);
    let gauge = |name, help, value: Option<f64>| {
        let mut family = Family::gauge(name, help, &[]);
        value.into_iter().for_each(|value| family.add(&[], value));
        family
    };
    let mut cpu = Family::counter(
        "process_cpu_seconds_total",
        "Processor time of all threads, user and system, in seconds.",
        &[],
    );
    if let Some(stat) = &stat {
        cpu.add(&[], stat.cpu);
    }
    vec![
        cpu,
        gauge(
            "process_resident_memory_bytes",
            "Memory in RAM.",
            stat.as_ref().map(|stat| stat.resident),
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Memory mapped, in RAM or not.",
            stat.as_ref().map(|stat| stat.mapped),
        ),
        gauge(
            "process_threads",
            "Threads.",
            stat.as_ref().map(|stat| stat.threads),
        ),
        gauge(
            "process_start_time_seconds",
            "When the process began, Unix time.",
            stat.as_ref()
                .and_then(|stat| Some(boot_time(&boot)? + stat.started)),
        ),
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            // One of them is that of the directory.
            open.ok().map(|open| open.saturating_sub(1) as f64),
        ),
        gauge(
            "process_max_fds",
            "Open file descriptors that are allowed.",
            max_fds(&limits),
        ),
    ]
}

/// Fields of `/proc/self/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    /// Seconds.
    cpu: f64,
    threads: f64,
    /// Seconds after boot.
    started: f64,
    /// Bytes.
    mapped: f64,
    /// Bytes.
    resident: f64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        let per_second = system(SysconfVar::CLK_TCK)?;
        let page = system(SysconfVar::PAGE_SIZE)?;
        // The name of the program may have blanks and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // `rest` begins with field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu: (field(14)? + field(15)?) / per_second,
            threads: field(20)?,
            started: field(22)? / per_second,
            mapped: field(23)?,
            resident: field(24)? * page,
        })
    }
}

fn system(what: SysconfVar) -> Option<f64> {
    Some(sysconf(what).ok()?? as f64)
}

/// When the machine was started, Unix time.
fn boot_time(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// The soft limit; none if it is unlimited.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_blanks_and_parentheses_in_its_name_is_read() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 5 0 4200 1000000 300 18446744073709551615";
        let stat = Stat::read(text).unwrap();
        let ticks = system(SysconfVar::CLK_TCK).unwrap();
        assert_eq!(stat.cpu, 200.0 / ticks);
        assert_eq!((stat.threads, stat.mapped), (5.0, 1e6));
        assert_eq!(stat.started, 4200.0 / ticks);
        assert_eq!(
            stat.resident,
            300.0 * system(SysconfVar::PAGE_SIZE).unwrap()
        );
        assert_eq!(Stat::read("7 (x) S 1"), None);
    }

    #[test]
    fn limits_and_boot_time_are_read() {
        let limits = "Limit Soft Hard Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        let none = limits.replace("1024", "unlimited");
        assert_eq!(max_fds(&none), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1.7e9));
    }
}

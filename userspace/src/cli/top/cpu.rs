//! Processor time of a daemon's threads, by their names, from `/proc`.

use std::collections::HashMap;
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Threads of a process that are looked at.
const THREADS_MAX: usize = 512;

/// Seconds that each thread has used, by thread id. A worker is `worker-0`.
pub type Times = HashMap<u32, (String, f64)>;

/// Of this process; empty where it is gone or belongs to another PID namespace.
#[must_use]
pub fn times(pid: u32) -> Times {
    let Some(per_second) = sysconf(SysconfVar::CLK_TCK).ok().flatten() else {
        return Times::new();
    };
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Times::new();
    };
    let ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let read = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{id}/stat")).ok()?;
        let (name, ticks) = parse(&text)?;
        #[expect(clippy::cast_precision_loss, reason = "ticks of 10 ms")]
        let seconds = ticks as f64 / per_second as f64;
        // The thread that began the process has its name, and serves control.
        let name = if id == pid { "control".into() } else { name };
        Some((id, (name, seconds)))
    };
    ids.take(THREADS_MAX).filter_map(read).collect()
}

/// Name, and ticks in user and system mode: fields 2, 14 and 15, see proc_pid_stat(5).
fn parse(text: &str) -> Option<(String, u64)> {
    let (before, rest) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let field = |number: usize| {
        // `rest` begins with field 3.
        let word = rest.split_ascii_whitespace().nth(number - 3)?;
        word.parse::<u64>().ok()
    };
    Some((name.to_owned(), field(14)? + field(15)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_any_name_is_read() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 5 0 4200";
        assert_eq!(parse(text), Some(("a b) c".to_owned(), 200)));
        for wrong in [
            "",
            "7",
            "7 (x) S 1",
            "7 (x) S 1 7 7 0 -1 4194304 9 0 0 0 a b",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_own_threads_are_there() {
        let own = times(std::process::id());
        assert!(own.values().any(|(name, _)| name == "control"));
        assert!(times(u32::MAX).is_empty());
    }
}

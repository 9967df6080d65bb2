//! Processor time and memory used, by a process and by the machine.

use anyhow::{Context, Result};

use crate::sys;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time in user space and in the kernel on its behalf, seconds.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub resident: u64,
    /// The most there has been of it, bytes.
    pub peak: u64,
}

/// What process `pid` has used so far.
///
/// # Errors
/// There is no such process.
pub fn of(pid: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| -> Result<u64> {
        Ok(fields.get(at).context("/proc/PID/stat is short")?.parse()?)
    };
    // proc(5): utime is field 14, stime 15, rss (pages) 24; the first here is field 3.
    let ticks = number(11)? + number(12)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |field: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    };
    Ok(Usage {
        cpu: ticks as f64 / sys::ticks_per_second() as f64,
        resident: bytes("VmRSS:"),
        peak: bytes("VmHWM:"),
    })
}

/// Processor time the calling thread has used so far, seconds; as of the last tick of the scheduler.
///
/// # Errors
/// The kernel has no `/proc/PID/schedstat` (CONFIG_SCHED_INFO).
pub fn thread() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().unwrap_or_default();
    let nanoseconds: u64 = first.parse().context("/proc/thread-self/schedstat")?;
    Ok(nanoseconds as f64 / 1e9)
}

/// Keeps the calling thread on processor number `at`, counted over as often as it takes.
///
/// # Errors
/// That processor is offline, or not for this process.
pub fn pin(at: usize) -> Result<()> {
    let processors = std::thread::available_parallelism()?.get();
    sys::pin(at % processors).context("sched_setaffinity")
}

/// How often the calling thread had to leave a processor that it wanted to keep.
///
/// # Errors
/// The kernel does not tell.
pub fn preemptions() -> Result<u64> {
    sys::involuntary_switches().context("getrusage")
}

/// Bytes on the heap of this process that are in use, with what the allocator adds to each piece.
#[must_use]
pub fn heap() -> usize {
    sys::allocated()
}

/// Processor time the whole machine has spent busy since boot, seconds over all processors.
///
/// # Errors
/// `/proc/stat` is not readable.
pub fn machine() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // proc(5): user nice system idle iowait irq softirq steal; guest time is in user already.
    let busy: u64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|at| ticks.get(*at))
        .sum();
    Ok(busy as f64 / sys::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_grows_by_what_is_kept_and_shrinks_by_what_is_not() {
        // A piece that the allocator maps on its own, and pieces that it cuts from its heap. Tests
        // on other threads use the heap too, by far less.
        for (pieces, bytes) in [(1, 64 << 20), (1 << 16, 1 << 10)] {
            let before = heap();
            let kept: Vec<_> = (0..pieces).map(|_| vec![1_u8; bytes]).collect();
            let grown = heap().saturating_sub(before);
            let expected = pieces * bytes;
            assert!((expected..expected * 5 / 4).contains(&grown), "{grown}");
            drop(kept);
            let left = heap().saturating_sub(before);
            assert!(left < expected / 4, "{left}");
        }
    }

    #[test]
    fn a_thread_that_gives_its_processor_away_is_counted() {
        let before = preemptions().unwrap();
        // Where another thread wants the same processor, one of these is a switch.
        let others: Vec<_> = (0..2 * std::thread::available_parallelism().unwrap().get())
            .map(|_| {
                std::thread::spawn(|| {
                    let begin = std::time::Instant::now();
                    while begin.elapsed() < std::time::Duration::from_millis(200) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        while others.iter().any(|other| !other.is_finished()) {
            std::thread::yield_now();
        }
        assert!(preemptions().unwrap() > before);
    }
}

//! Passes: short stretches of work, begun by all threads at the same moment.
//!
//! A pass takes a fraction of a millisecond, and the two sides take turns, pass by pass. So what
//! else runs on the machine meets both alike. A pass in which it took a thread's processor away is
//! not counted: a lock that is held, or a thread that is slow, is ringtun's doing and counts.

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Release},
};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use ringtun_lab::usage;

use crate::report::median;

/// What one thread does in each pass.
pub trait Part: Send {
    /// Makes ready what the pass works on. Not measured.
    fn prepare(&mut self) -> Result<()>;
    /// The work.
    fn run(&mut self);
}

/// Threads whose begins are further apart than this part of a pass did not begin it together: one
/// of them had no processor.
const SKEW: f64 = 0.05;

/// One thread's part of a pass.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: Instant,
    end: Instant,
    /// The thread had to leave its processor meanwhile.
    preempted: bool,
}

/// What a run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Units of work per second of both sides; 0 if no pass counts.
    pub rates: [f64; 2],
    /// Passes that count.
    pub counted: [usize; 2],
}

/// The parts of both sides, one of each for every thread.
pub type Sides = [Vec<Box<dyn Part>>; 2];

/// Lets both sides make this many passes, and a first one that does not count. `units` is what
/// one thread does in one pass.
pub fn measure(sides: &mut Sides, passes: usize, units: usize) -> Result<Sample> {
    let [ours, theirs] = sides;
    let gate = Gate::new(ours.len());
    let spans = thread::scope(|scope| {
        let pairs = ours.iter_mut().zip(theirs);
        let threads: Vec<_> = pairs
            .enumerate()
            .map(|(at, (ours, theirs))| {
                let gate = &gate;
                let parts = [ours.as_mut(), theirs.as_mut()];
                // Each on a processor of its own, or two might share one for a while.
                let work = move || {
                    usage::pin(at)?;
                    passes_of(parts, gate, passes + 1)
                };
                scope.spawn(move || work().inspect_err(|_| gate.abandon()))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            let spans = thread.join();
            spans.map_err(|_| anyhow!("a thread panicked"))?
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    let rates = [0, 1].map(|side| {
        let rates = (1..=passes).filter_map(|pass| {
            let spans: Vec<Span> = spans.iter().map(|spans| spans[side][pass]).collect();
            rate(&spans, units)
        });
        rates.collect::<Vec<_>>()
    });
    Ok(Sample {
        rates: rates.each_ref().map(|rates| median(rates)),
        counted: rates.map(|rates| rates.len()),
    })
}

fn passes_of(
    mut parts: [&mut (dyn Part + 'static); 2],
    gate: &Gate,
    passes: usize,
) -> Result<[Vec<Span>; 2]> {
    let mut spans = [const { Vec::new() }; 2];
    for pass in 0..passes {
        for (side, part) in parts.iter_mut().enumerate() {
            part.prepare()?;
            if !gate.wait(2 * pass + side + 1) {
                return Err(anyhow!("another thread failed"));
            }
            let before = usage::preemptions()?;
            let begin = Instant::now();
            part.run();
            let end = Instant::now();
            spans[side].push(Span {
                begin,
                end,
                preempted: usage::preemptions()? != before,
            });
        }
    }
    Ok(spans)
}

/// Units per second of a pass, from the first to begin to the last to end; none if others kept a
/// thread from its work.
fn rate(spans: &[Span], units: usize) -> Option<f64> {
    let begins = || spans.iter().map(|span| span.begin);
    let (begin, last) = begins().min().zip(begins().max())?;
    let end = spans.iter().map(|span| span.end).max()?;
    let seconds = (end - begin).as_secs_f64();
    let apart = (last - begin).as_secs_f64();
    let disturbed = spans.iter().any(|span| span.preempted) || apart > SKEW * seconds;
    (!disturbed).then(|| (spans.len() * units) as f64 / seconds)
}

/// Where threads wait for each other without sleeping: waking up takes longer than a pass.
struct Gate {
    threads: usize,
    arrived: AtomicUsize,
    abandoned: AtomicBool,
}

impl Gate {
    fn new(threads: usize) -> Gate {
        Gate {
            threads,
            arrived: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Waits until all threads came for the `time`th time, counted from one; false if one of them
    /// never will.
    fn wait(&self, time: usize) -> bool {
        self.arrived.fetch_add(1, AcqRel);
        while self.arrived.load(Acquire) < time * self.threads {
            if self.abandoned.load(Acquire) {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    fn abandon(&self) {
        self.abandoned.store(true, Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn span(begin: u64, end: u64) -> Span {
        static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let at = |micros| *ZERO.get_or_init(Instant::now) + Duration::from_micros(micros);
        Span {
            begin: at(begin),
            end: at(end),
            preempted: false,
        }
    }

    #[test]
    fn a_pass_lasts_from_the_first_begin_to_the_last_end() {
        let is = |spans: &[Span], expected: f64| {
            let rate = rate(spans, 100).unwrap();
            assert!(
                (rate - expected).abs() < 1e-6,
                "{rate} in place of {expected}"
            );
        };
        is(&[span(0, 1000)], 100_000.0);
        is(&[span(0, 1000), span(0, 1000)], 200_000.0);
        is(&[span(1, 2000), span(0, 1000)], 100_000.0);
    }

    #[test]
    fn a_pass_counts_only_if_all_threads_had_their_processors() {
        assert!(rate(&[span(0, 1000), span(50, 1000)], 1).is_some());
        assert!(rate(&[span(0, 1000), span(51, 1000)], 1).is_none());
        let preempted = Span {
            preempted: true,
            ..span(0, 1000)
        };
        assert!(rate(&[span(0, 1000), preempted], 1).is_none());
        assert!(rate(&[], 1).is_none());
    }

    /// Counts its passes, and sees how many the other thread began meanwhile.
    struct Counting {
        prepared: usize,
        began: Arc<AtomicUsize>,
        fails_at: usize,
        together: Arc<AtomicBool>,
    }

    impl Part for Counting {
        fn prepare(&mut self) -> Result<()> {
            self.prepared += 1;
            anyhow::ensure!(self.prepared != self.fails_at, "as it should");
            Ok(())
        }

        fn run(&mut self) {
            let before = self.began.fetch_add(1, AcqRel);
            // Two threads: whoever begins the nth pass finds both through with the one before.
            if before / 2 + 1 != self.prepared {
                self.together.store(false, Release);
            }
        }
    }

    fn counting(fails_at: usize) -> (Sides, Arc<AtomicBool>) {
        let together = Arc::new(AtomicBool::new(true));
        let sides = [0, 1].map(|side| {
            let began = Arc::new(AtomicUsize::new(0));
            let part = |thread| {
                Box::new(Counting {
                    prepared: 0,
                    began: Arc::clone(&began),
                    fails_at: if side + thread == 2 { fails_at } else { 0 },
                    together: Arc::clone(&together),
                }) as Box<dyn Part>
            };
            vec![part(0), part(1)]
        });
        (sides, together)
    }

    #[test]
    fn no_thread_begins_a_pass_before_the_others_are_ready() {
        let (mut sides, together) = counting(0);
        let sample = measure(&mut sides, 200, 1).unwrap();
        assert!(together.load(Acquire));
        assert!(sample.counted.iter().all(|n| *n <= 200), "{sample:?}");
    }

    #[test]
    fn a_thread_that_fails_does_not_leave_the_other_waiting() {
        let (mut sides, _) = counting(7);
        assert!(measure(&mut sides, 200, 1).is_err());
    }
}

//! The highest rate at which next to nothing is lost.

use anyhow::Result;

/// Two rates this close are the same.
const PRECISION: f64 = 1.02;
/// Where it gives up, packets per second.
const RATE_MIN: f64 = 100.0;
/// More is not tried.
const RATE_MAX: f64 = 50e6;
/// Short trials before the long one.
const TRIALS_MAX: usize = 24;
/// What a rate that the long trial refuses is multiplied with, one after the other.
const STEPS_DOWN: [f64; 7] = [0.97, 0.95, 0.92, 0.9, 0.85, 0.75, 0.6];

/// How thorough a trial shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// To find the rate.
    Short,
    /// To confirm it.
    Long,
}

/// Doubles or halves from `start` until the rate is between two, halves the interval until it is
/// within 2 %, and confirms with a long trial; what that refuses is lowered.
///
/// `holds` gives what it has measured if a rate is held. `None`: no rate is.
///
/// # Errors
/// What `holds` returns.
pub fn search<T>(
    start: f64,
    mut holds: impl FnMut(f64, Trial) -> Result<Option<T>>,
) -> Result<Option<(f64, T)>> {
    let (mut low, mut high) = (RATE_MIN, RATE_MAX);
    let mut rate = start.clamp(RATE_MIN, RATE_MAX);
    for _ in 0..TRIALS_MAX {
        if holds(rate, Trial::Short)?.is_some() {
            low = rate;
        } else {
            high = rate;
        }
        if high <= low * PRECISION {
            break;
        }
        rate = match (low > RATE_MIN, high < RATE_MAX) {
            (true, true) => (low * high).sqrt(),
            (true, false) => (low * 2.0).min(RATE_MAX),
            (false, _) => (high / 2.0).max(RATE_MIN),
        };
    }
    for step in [1.0].iter().chain(&STEPS_DOWN) {
        low *= step;
        if let Some(measured) = holds(low, Trial::Long)? {
            return Ok(Some((low, measured)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loses nothing up to `limit`; a long trial sees what a short one does not.
    fn find(start: f64, short: f64, long: f64) -> (Option<f64>, usize) {
        let mut trials = 0;
        let found = search(start, |rate, trial| {
            trials += 1;
            let limit = if trial == Trial::Short { short } else { long };
            Ok((rate <= limit).then_some(()))
        });
        (found.unwrap().map(|(rate, ())| rate), trials)
    }

    #[test]
    fn a_limit_is_found_within_two_percent_from_any_start() {
        for limit in [1_234.0, 77_000.0, 1_000_000.0, 7_654_321.0] {
            for start in [500.0, 20_000.0, limit, 9e6] {
                let (found, trials) = find(start, limit, limit);
                let found = found.unwrap();
                assert!(
                    found <= limit && found * PRECISION >= limit,
                    "{start}: {found} of {limit}"
                );
                assert!(trials <= TRIALS_MAX + 1, "{trials}");
            }
        }
    }

    #[test]
    fn what_the_long_trial_refuses_is_lowered() {
        let (found, _) = find(20_000.0, 100_000.0, 90_000.0);
        let found = found.unwrap();
        assert!((80_000.0..=90_000.0).contains(&found), "{found}");
    }

    #[test]
    fn nothing_is_found_where_all_is_lost_and_the_most_where_nothing_is() {
        let (found, trials) = find(20_000.0, 0.0, 0.0);
        assert_eq!(found, None);
        assert!(trials <= TRIALS_MAX + 1 + STEPS_DOWN.len());
        let (found, _) = find(20_000.0, f64::INFINITY, f64::INFINITY);
        assert_eq!(found, Some(RATE_MAX));
    }
}

//! When how many may be sent: tokens that come at a rate.

use std::time::Duration;

/// What is missed for longer than this is not made up for: a burst would be lost at any rate.
const MADE_UP: Duration = Duration::from_millis(5);
/// The shortest pause: many short ones would cost more than sending does.
const PAUSE_MIN: Duration = Duration::from_micros(100);

/// Tokens at a rate.
#[derive(Debug)]
pub struct Schedule {
    rate: f64,
    tokens: f64,
    last: Duration,
}

impl Schedule {
    /// `rate` tokens a second, from time 0 on.
    pub fn new(rate: f64) -> Schedule {
        Schedule {
            rate,
            tokens: 0.0,
            last: Duration::ZERO,
        }
    }

    /// Takes the whole tokens that there are at this time.
    pub fn take(&mut self, now: Duration) -> usize {
        let passed = now.saturating_sub(self.last).as_secs_f64();
        let most = (self.rate * MADE_UP.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + self.rate * passed).min(most);
        self.last = self.last.max(now);
        let whole = self.tokens.floor();
        self.tokens -= whole;
        whole as usize
    }

    /// How long after the last time there is another.
    pub fn pause(&self) -> Duration {
        Duration::from_secs_f64((1.0 - self.tokens) / self.rate).max(PAUSE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_rate_says() {
        let mut schedule = Schedule::new(12_345.0);
        let taken: usize = (1..=20_000)
            .map(|at| schedule.take(Duration::from_micros(at * 100)))
            .sum();
        assert!((24_688..=24_690).contains(&taken), "{taken} in two seconds");
    }

    #[test]
    fn what_was_missed_for_long_is_not_made_up() {
        let mut schedule = Schedule::new(100_000.0);
        assert_eq!(schedule.take(Duration::from_secs(3)), 500);
        assert_eq!(schedule.take(Duration::from_secs(3)), 0);
    }

    #[test]
    fn a_pause_ends_with_a_token_even_of_a_slow_one() {
        let mut schedule = Schedule::new(7.0);
        let mut now = Duration::ZERO;
        for _ in 0..5 {
            now += schedule.pause() + Duration::from_nanos(2);
            assert_eq!(schedule.take(now), 1);
        }
        assert!(now < Duration::from_millis(5 * 143));
        assert_eq!(Schedule::new(1e7).pause(), PAUSE_MIN);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut schedule = Schedule::new(1000.0);
        schedule.take(Duration::from_secs(2));
        assert_eq!(schedule.take(Duration::from_secs(1)), 0);
        assert_eq!(schedule.take(Duration::from_millis(2001)), 1);
    }
}

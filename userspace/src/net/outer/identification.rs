//! Distinct identifications.

/// The IPv4 identifications of one worker, each another until they wrap.
///
/// Data is sent with DF clear, so that routers may fragment it; fragments of
/// two packets with the same identification, addresses and protocol are put
/// together wrongly (RFC 6864 section 4.2). Workers that send to the same
/// endpoint share no counter: worker `w` takes the numbers that are `w` modulo
/// a power of two, so that no two workers ever use the same one.
#[derive(Clone, Debug)]
pub struct Identifications {
    next: u16,
    step: u16,
}

impl Identifications {
    /// Those of `worker` (from 0) of `workers`, beginning near `start`, which
    /// should be random: a restarted agent does not repeat the last ones.
    #[must_use]
    pub const fn new(worker: u16, workers: u16, start: u16) -> Self {
        // More than 2^15 workers would share numbers; there are no such machines.
        let step = match workers.checked_next_power_of_two() {
            Some(0) | None => 1 << 15,
            Some(step) => step,
        };
        Self {
            next: (start & !(step - 1)) | (worker & (step - 1)),
            step,
        }
    }

    /// The next one.
    #[inline]
    pub const fn take(&mut self) -> u16 {
        let id = self.next;
        self.next = id.wrapping_add(self.step);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_use_the_same_one_and_none_repeats_before_it_wraps() {
        for workers in [1u16, 2, 3, 4, 5, 64] {
            let step = workers.next_power_of_two();
            let each = (1 << 16) / usize::from(step);
            let mut seen = vec![false; 1 << 16];
            for worker in 0..workers {
                let mut ids = Identifications::new(worker, workers, 0xfff0u16.wrapping_add(worker));
                for _ in 0..each {
                    let id = usize::from(ids.take());
                    assert!(!seen[id], "{id} twice, {workers} workers");
                    seen[id] = true;
                }
            }
        }
    }

    #[test]
    fn they_begin_where_they_are_told() {
        assert_eq!(Identifications::new(0, 1, 4711).take(), 4711);
        assert_eq!(Identifications::new(3, 4, 4711).take(), 4711);
    }
}

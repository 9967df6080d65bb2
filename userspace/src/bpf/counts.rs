//! What the XDP program counted.

use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;

/// Packets and bytes by verdict and by class, summed over the CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    verdicts: [Counter; Verdict::COUNT],
    classes: [Counter; Class::COUNT],
}

impl Counts {
    /// From a function that reads the counter of a verdict, and one for a class.
    pub(super) fn read<E>(
        verdict: impl Fn(Verdict) -> Result<Counter, E>,
        class: impl Fn(Class) -> Result<Counter, E>,
    ) -> Result<Self, E> {
        let mut counts = Self {
            verdicts: [Counter::default(); Verdict::COUNT],
            classes: [Counter::default(); Class::COUNT],
        };
        for (counter, of) in counts.verdicts.iter_mut().zip(Verdict::ALL) {
            *counter = verdict(*of)?;
        }
        for (counter, of) in counts.classes.iter_mut().zip(Class::ALL) {
            *counter = class(*of)?;
        }
        Ok(counts)
    }

    /// What left the program with this verdict.
    #[must_use]
    pub const fn verdict(&self, verdict: Verdict) -> Counter {
        self.verdicts[verdict.index() as usize]
    }

    /// What was of this class.
    #[must_use]
    pub const fn class(&self, class: Class) -> Counter {
        self.classes[class.index() as usize]
    }

    /// All packets that the program saw.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.verdicts.iter().map(|counter| counter.packets).sum()
    }
}

/// The sum over the CPUs.
pub(super) fn sum(per_cpu: impl IntoIterator<Item = Counter>) -> Counter {
    per_cpu
        .into_iter()
        .fold(Counter::default(), |sum, one| Counter {
            packets: sum.packets.wrapping_add(one.packets),
            bytes: sum.bytes.wrapping_add(one.bytes),
        })
}

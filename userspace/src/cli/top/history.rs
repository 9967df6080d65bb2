//! The last rates of a peer or a device: a ring of fixed length.

use std::collections::VecDeque;

/// Samples that are kept: as wide as the widest graph.
pub const SAMPLES_MAX: usize = 120;

/// Rates in bit/s, received and sent together, the newest last. What never moved
/// anything takes no memory: 10,000 peers are mostly silent.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<f32>);

impl History {
    /// Appends a rate; the oldest goes when there are [`SAMPLES_MAX`].
    #[expect(clippy::cast_possible_truncation, reason = "a graph has eight steps")]
    pub fn push(&mut self, rate: f64) {
        if self.0.is_empty() && rate <= 0.0 {
            return;
        }
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(rate as f32);
    }

    /// The newest samples as a graph of `width` columns, in steps of the highest among
    /// them. Anything above nothing is seen.
    #[must_use]
    pub fn graph(&self, width: usize, steps: &[char]) -> String {
        let len = self.0.len().min(width);
        let newest = self.0.range(self.0.len() - len..);
        let highest = newest.clone().copied().fold(0.0, f32::max);
        let top = steps.len() - 1;
        let blank = std::iter::repeat_n(steps[0], width - len);
        let bars = newest.map(|&rate| {
            if rate <= 0.0 {
                return steps[0];
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "between 1 and the number of steps"
            )]
            let step = (rate / highest * top as f32).ceil() as usize;
            steps[step.clamp(1, top)]
        });
        blank.chain(bars).collect()
    }

    /// Samples kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_shows_the_newest_and_scales_to_the_highest() {
        let steps = [' ', '1', '2', '3', '4'];
        let mut history = History::default();
        history.push(0.0);
        assert_eq!(history.len(), 0);
        assert_eq!(history.graph(3, &steps), "   ");
        for rate in [1.0, 400.0, 0.0, 200.0] {
            history.push(rate);
        }
        assert_eq!(history.graph(6, &steps), "  14 2");
        assert_eq!(history.graph(1, &steps), "4");
        assert_eq!(history.graph(0, &steps), "");
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        for _ in 0..10 * SAMPLES_MAX {
            history.push(1.0);
        }
        assert_eq!(history.len(), SAMPLES_MAX);
    }
}

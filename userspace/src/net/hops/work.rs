//! Whose answer has to be found.

use crate::net::outer::Flow;
use std::collections::{HashSet, VecDeque};

/// A queue in which each flow stands once.
#[derive(Debug, Default)]
pub(super) struct Work {
    queue: VecDeque<Flow>,
    queued: HashSet<Flow>,
}

impl Work {
    pub(super) fn push(&mut self, flow: Flow) {
        if self.queued.insert(flow) {
            self.queue.push_back(flow);
        }
    }

    pub(super) fn front(&self) -> Option<Flow> {
        self.queue.front().copied()
    }

    pub(super) fn pop(&mut self) {
        if let Some(flow) = self.queue.pop_front() {
            self.queued.remove(&flow);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

//! The ordering stage: one lane per peer and direction.
//!
//! Work on a peer's packets may be done by any thread and end in any order;
//! what follows (replay window, delivery) must see it in the order of arrival,
//! or TCP inside takes the shuffle for loss. A thread takes a [`Ticket`] when a
//! batch arrives and hands in the result with it. Whoever hands in the oldest
//! missing result gets the [`Turn`]: it delivers that one and all finished ones
//! behind it, until it gives the turn back.
//!
//! The lock is taken twice per batch and is uncontended while one worker
//! serves the peer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Batches of one peer that are under way when one worker serves it: what one receive call brings.
/// Room for more is made when there are more, and stays.
const USUAL: usize = 8;

/// Batches of one peer that may be under way at once.
pub const DEPTH: usize = 256;

#[derive(Debug)]
enum Slot<T> {
    Pending,
    Done(T),
    Skipped,
}

#[derive(Debug)]
struct State<T> {
    /// Sequence number of `slots[0]`.
    head: u64,
    slots: VecDeque<Slot<T>>,
    /// Some thread is delivering, outside the lock.
    delivering: bool,
}

/// The lane of one peer; clones are the same lane.
#[derive(Debug)]
pub struct Lane<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
        }
    }
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                head: 0,
                slots: VecDeque::with_capacity(USUAL),
                delivering: false,
            })),
        }
    }
}

/// A place in a lane. Dropped without a result (the thread panicked, the batch
/// came to nothing), it is skipped and the lane goes on.
#[derive(Debug)]
#[must_use = "dropping a ticket skips its place"]
pub struct Ticket<T> {
    lane: Lane<T>,
    seq: u64,
    used: bool,
}

impl<T> Lane<T> {
    /// Takes the next place, or `None` when [`DEPTH`] batches are under way.
    #[must_use]
    pub fn enter(&self) -> Option<Ticket<T>> {
        let mut state = self.lock();
        if state.slots.len() >= DEPTH {
            return None;
        }
        let seq = state.head + state.slots.len() as u64;
        state.slots.push_back(Slot::Pending);
        Some(Ticket {
            lane: self.clone(),
            seq,
            used: false,
        })
    }

    /// Batches that wait for an older one or are being worked on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, seq: u64, slot: Slot<T>) -> Option<Turn<T>> {
        let mut state = self.lock();
        let at = usize::try_from(seq - state.head).expect("within DEPTH");
        state.slots[at] = slot;
        state.turn(self)
    }
}

impl<T> State<T> {
    fn ready(&self) -> bool {
        self.slots
            .front()
            .is_some_and(|s| !matches!(s, Slot::Pending))
    }

    /// The right to deliver, if there is something and nobody else has it.
    fn turn(&mut self, lane: &Lane<T>) -> Option<Turn<T>> {
        if self.delivering || !self.ready() {
            return None;
        }
        self.delivering = true;
        Some(Turn { lane: lane.clone() })
    }
}

impl<T> Ticket<T> {
    /// Hands in the result. `None` if an older batch is still missing, or if
    /// somebody has the turn already: they take this result along.
    #[must_use = "whoever gets the turn must deliver"]
    pub fn complete(mut self, result: T) -> Option<Turn<T>> {
        self.used = true;
        self.lane.fill(self.seq, Slot::Done(result))
    }

    /// Gives the place up, as if it had never been taken.
    #[must_use = "whoever gets the turn must deliver"]
    pub fn skip(mut self) -> Option<Turn<T>> {
        self.used = true;
        self.lane.fill(self.seq, Slot::Skipped)
    }
}

/// The right to deliver a lane's finished batches. While it is held nobody
/// else delivers from this lane, so the order holds until the write is done.
#[derive(Debug)]
#[must_use = "finished batches wait while a turn is held"]
pub struct Turn<T> {
    lane: Lane<T>,
}

impl<T> Turn<T> {
    /// The oldest finished batch; `None` when the next one is still missing.
    #[expect(
        clippy::should_implement_trait,
        reason = "a turn is not spent by running dry once"
    )]
    pub fn next(&mut self) -> Option<T> {
        let mut state = self.lane.lock();
        while state.ready() {
            state.head += 1;
            if let Some(Slot::Done(result)) = state.slots.pop_front() {
                return Some(result);
            }
        }
        None
    }

    /// Ends the turn, or gives it back if a batch was finished meanwhile.
    #[must_use = "a batch may have come in meanwhile"]
    pub fn release(self) -> Option<Self> {
        let lane = self.lane.clone();
        drop(self);
        lane.lock().turn(&lane)
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        self.lane.lock().delivering = false;
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        // No deliverer is at hand: mark it, whoever comes next goes past it.
        let mut state = self.lane.lock();
        let at = usize::try_from(self.seq - state.head).expect("within DEPTH");
        state.slots[at] = Slot::Skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deliver<T>(mut turn: Option<Turn<T>>, mut to: impl FnMut(T)) {
        while let Some(mut held) = turn {
            while let Some(result) = held.next() {
                to(result);
            }
            turn = held.release();
        }
    }

    proptest! {
        #[test]
        fn results_leave_in_the_order_of_arrival(order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(), skip in prop::collection::hash_set(0..40usize, 0..10), lose in prop::collection::hash_set(0..39usize, 0..10)) {
            let lane = Lane::default();
            let mut tickets: Vec<_> = (0..40).map(|_| lane.enter()).collect();
            let mut out = Vec::new();
            for i in order {
                let ticket = tickets[i].take().expect("each once");
                let turn = if lose.contains(&i) { drop(ticket); None }
                else if skip.contains(&i) { ticket.skip() }
                else { ticket.complete(i) };
                deliver(turn, |r| out.push(r));
            }
            // What waited behind a dropped ticket leaves with the next one.
            deliver(lane.enter().expect("room").skip(), |r| out.push(r));
            let expected: Vec<_> = (0..40).filter(|i| !skip.contains(i) && !lose.contains(i)).collect();
            prop_assert_eq!(out, expected);
            prop_assert!(lane.is_empty());
        }
    }

    #[test]
    fn a_lane_is_bounded() {
        let lane = Lane::<()>::default();
        let tickets: Vec<_> = std::iter::from_fn(|| lane.enter()).collect();
        assert_eq!(tickets.len(), DEPTH);
    }

    #[test]
    fn many_threads_deliver_each_result_once_and_in_order() {
        let lane = Lane::<u64>::default();
        let out = Mutex::new(Vec::new());
        let arrivals = Mutex::new(0u64);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..2_000 {
                        let (ticket, n) = {
                            let mut next = arrivals.lock().expect("lock");
                            let ticket = loop {
                                if let Some(t) = lane.enter() {
                                    break t;
                                }
                            };
                            let n = *next;
                            *next += 1;
                            (ticket, n)
                        };
                        if n % 7 == 0 {
                            std::thread::yield_now();
                        }
                        deliver(ticket.complete(n), |r| out.lock().expect("lock").push(r));
                    }
                });
            }
        });
        let out = out.into_inner().expect("lock");
        assert_eq!(out, (0..8_000).collect::<Vec<_>>());
    }
}

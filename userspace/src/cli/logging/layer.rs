//! The layer that events come to, and the thread that writes the counts of those that
//! were repeated.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::fold::{Folder, Line};
use super::record::Record;
use crate::net::clock;
use crate::tunnel::time::BootTime;

/// Where lines go.
pub trait Sink: Send + Sync + 'static {
    /// Writes one; what cannot be written is lost.
    fn write(&self, line: Line<'_>);
}

/// Folds events and writes what is left of them. What the filter holds back does not
/// get here: no lock is taken and nothing allocated for it.
pub struct Folding<S>(Arc<Shared<S>>);

struct Shared<S> {
    sink: S,
    state: Mutex<State>,
    /// Something is due earlier than the thread knows.
    earlier: Condvar,
}

#[derive(Default)]
struct State {
    folder: Folder,
    /// The thread sleeps until then.
    wakes: Option<BootTime>,
}

impl<S: Sink> Folding<S> {
    /// With a thread of its own for the counts, until the process ends.
    pub fn start(sink: S) -> Self {
        let shared = Arc::new(Shared {
            sink,
            state: Mutex::default(),
            earlier: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned());
        // Without it counts are written when the process ends.
        let _ = thread.spawn(move || {
            // It is there before the process gives up its own.
            let _ = crate::confine::capabilities();
            own.work();
        });
        Self(shared)
    }

    /// Writes the counts that are not written yet, before the process ends.
    pub fn flush(&self) -> impl Fn() + Send + Sync + use<S> {
        let shared = Arc::clone(&self.0);
        move || shared.flush(shared.state())
    }

    /// The same unless an event is just being written, perhaps by the same thread.
    pub fn flush_now(&self) -> impl Fn() + Send + Sync + use<S> {
        let shared = Arc::clone(&self.0);
        move || {
            if let Ok(state) = shared.state.try_lock() {
                shared.flush(state);
            }
        }
    }
}

impl<S: Sink> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        // The table is good after each step; a panic in a sink must not end the log.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, record: Record) {
        let mut state = self.state();
        let folder = &mut state.folder;
        let due = folder.event(clock::boot(), record, &mut |line| self.sink.write(line));
        if let Some(due) = due
            && state.wakes.is_none_or(|wakes| due < wakes)
        {
            state.wakes = Some(due);
            self.earlier.notify_one();
        }
    }

    fn flush(&self, mut state: MutexGuard<'_, State>) {
        let folder = &mut state.folder;
        folder.write_all(clock::boot(), &mut |line| self.sink.write(line));
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            let now = clock::boot();
            let folder = &mut state.folder;
            folder.write_due(now, &mut |line| self.sink.write(line));
            if let Some(kinds) = folder.crowded(now) {
                drop(state);
                tracing::warn!(
                    event = "log_crowded",
                    kinds,
                    "too many kinds of events at once: equal ones may have lines of their own"
                );
                state = self.state();
                continue;
            }
            state.wakes = folder.due();
            let wait = state.wakes.map(|wakes| wakes.since(now));
            // Awake for no reason: nothing is due then.
            state = match wait {
                None => self
                    .earlier
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let waited = self.earlier.wait_timeout(state, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<S: Sink, T: Subscriber> Layer<T> for Folding<S> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, T>) {
        self.0.event(Record::of(event));
    }
}

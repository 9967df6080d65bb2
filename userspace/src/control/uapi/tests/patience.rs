//! How long the server waits for a client, by a clock that the tests turn.

use std::cell::RefCell;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, advance};

use super::model::Model;
use crate::control::uapi::server::{IDLE, LONGEST_SET, STALLED, connection};

/// Serves one connection until it ends; what the client got, how long it took,
/// and the device.
fn conversation(client: impl AsyncFnOnce(&mut UnixStream)) -> (String, Duration, Model) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let (target, setting) = (RefCell::new(Model::default()), Mutex::new(()));
        let begin = Instant::now();
        let mut answer = String::new();
        tokio::join!(connection(theirs, "wg0", &target, &setting), async {
            client(&mut ours).await;
            // A connection closed with requests unread ends with a reset.
            drop(ours.read_to_string(&mut answer).await);
        });
        (answer, begin.elapsed(), target.into_inner())
    })
}

/// The timers of the runtime have milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let (answer, time, _) = conversation(async |_| {});
    assert_eq!(answer, "");
    assert!(time >= IDLE && time <= IDLE + GRAIN, "{time:?}");
}

#[test]
fn a_set_that_stalls_is_answered_and_what_it_did_published() {
    let (answer, time, model) = conversation(async |stream| {
        stream.write_all(b"set=1\nfwmark=7\n").await.unwrap();
    });
    assert_eq!(answer, "errno=-5\n\n");
    assert!(time >= STALLED && time <= STALLED + GRAIN, "{time:?}");
    assert_eq!((model.fwmark, model.commits, model.dirty), (7, 1, false));
}

#[test]
fn a_set_that_never_pauses_ends_too() {
    let step = Duration::from_secs(10);
    // More than one read takes, so that there is always something to read.
    let plenty = b"fwmark=7\n".repeat(10_000);
    let mut steps = 0;
    let (_, time, model) = conversation(async |stream| {
        stream.write_all(b"set=1\n").await.unwrap();
        while stream.write_all(&plenty).await.is_ok() {
            steps += 1;
            assert!(step * steps < 5 * LONGEST_SET, "it goes on");
            advance(step).await;
        }
    });
    assert!(time <= LONGEST_SET + 2 * step, "{time:?}");
    assert_eq!((model.fwmark, model.commits, model.dirty), (7, 1, false));
}

//! Serves the UAPI socket of one device.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};
use zeroize::{Zeroize, Zeroizing};

use super::parser::{Event, Operation, ParseError, Parser};
use super::reply::{self, GetReply};
use super::session::SetSession;
use super::socket::UapiSocket;
use super::target::UapiTarget;
use crate::control::capture::CaptureRequest;
use crate::control::errno::Errno;
use crate::control::log;

/// Connections served at once. Others wait in the backlog of the socket.
pub const MAX_CONNECTIONS: usize = 64;

/// A connection between operations may be silent for this long.
pub const IDLE: Duration = Duration::from_secs(120);

/// A `set` keeps others from setting, so within one, and for an answer that
/// nobody reads, patience is shorter.
pub const STALLED: Duration = Duration::from_secs(10);

/// No `set` takes longer than this, however steadily it drips.
pub const LONGEST_SET: Duration = Duration::from_secs(120);

const READ_SIZE: usize = 16 * 1024;

/// Serves connections until the socket file is removed, and returns then. Run
/// it on the control thread; dropping it ends all connections and removes the
/// file.
///
/// # Errors
/// The socket file cannot be watched any more.
pub async fn serve<T: UapiTarget>(socket: UapiSocket, target: Rc<RefCell<T>>) -> io::Result<()> {
    let setting = Mutex::new(());
    let path = socket.path().to_owned();
    // The log's field.
    let device = path.file_stem().and_then(|stem| stem.to_str());
    let device = device.unwrap_or_default();
    let mut connections = FuturesUnordered::new();
    let removed = socket.removed();
    tokio::pin!(removed);
    loop {
        tokio::select! {
            result = &mut removed => return result,
            Some(()) = connections.next(), if !connections.is_empty() => {}
            accepted = socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok(stream) => connections.push(connection(stream, device, &target, &setting)),
                Err(error) => {
                    tracing::warn!(event = "uapi_accept_failed", device, %error, "cannot accept a UAPI connection");
                    // Out of descriptors, most likely: the condition lasts, and
                    // the next attempt would fail as fast as this one.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// One connection until it ends, by itself or for lack of patience.
pub(super) async fn connection<T: UapiTarget>(
    mut stream: UnixStream,
    device: &str,
    target: &RefCell<T>,
    setting: &Mutex<()>,
) {
    let mut conversation = Conversation {
        device,
        target,
        setting,
        set: None,
    };
    if let Err(error) = conversation.run(&mut stream).await {
        tracing::debug!(event = "uapi_connection_ended", device, %error, "UAPI connection ended");
    }
    conversation.abandon();
}

struct Conversation<'a, T> {
    device: &'a str,
    target: &'a RefCell<T>,
    /// Held during a `set`: the commit of one must not publish half of another.
    setting: &'a Mutex<()>,
    set: Option<Set<'a>>,
}

struct Set<'a> {
    session: SetSession,
    since: Instant,
    turn: MutexGuard<'a, ()>,
}

impl<T: UapiTarget> Conversation<'_, T> {
    async fn run(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        let mut parser = Parser::new(zone_index);
        let mut buffer = Zeroizing::new(vec![0; READ_SIZE]);
        loop {
            let patience = self.set.as_ref().map_or(IDLE, |set| {
                STALLED.min(LONGEST_SET.saturating_sub(set.since.elapsed()))
            });
            let read = if patience.is_zero() {
                // Not even what waits to be read: there may always be more.
                None
            } else {
                timeout(patience, stream.read(&mut buffer)).await.ok()
            };
            let Some(read) = read else {
                if self.set.is_some() {
                    let status = reply::status(Some(Operation::Set), Err(Errno::IO));
                    write(stream, status.as_bytes()).await?;
                }
                return Err(io::ErrorKind::TimedOut.into());
            };
            let read = read?;
            let mut input = &buffer[..read];
            while let Some(event) = parser.next(&mut input) {
                if let Event::End(Operation::Capture(request)) = event {
                    if self.capture(&request, stream).await? {
                        return Ok(());
                    }
                } else {
                    self.event(event, stream).await?;
                }
            }
            buffer[..read].zeroize();
            if read == 0 {
                if let Some(event) = parser.end_of_input() {
                    self.event(event, stream).await?;
                }
                return Ok(());
            }
            // A long `set` shares the thread with the protocol's timers.
            tokio::task::yield_now().await;
        }
    }

    /// Has the connection carry a capture until it ends; false if it is refused.
    async fn capture(&self, request: &CaptureRequest, stream: &mut UnixStream) -> io::Result<bool> {
        let begun = self.target.borrow_mut().capture(request);
        let result = begun.as_ref().map(|_| ()).map_err(|errno| *errno);
        let status = reply::status(Some(Operation::Capture(*request)), result);
        write(stream, status.as_bytes()).await?;
        match begun {
            Ok(capture) => capture.run(stream).await.map(|()| true),
            Err(errno) => {
                tracing::warn!(event = "capture_refused", device = self.device, error = %errno, "capture refused");
                Ok(false)
            }
        }
    }

    async fn event(&mut self, event: Event, stream: &mut UnixStream) -> io::Result<()> {
        match event {
            Event::Begin(Operation::Set) => {
                let turn = self.setting.lock().await;
                self.set = Some(Set {
                    session: SetSession::default(),
                    since: Instant::now(),
                    turn,
                });
            }
            // The end of a capture is the caller's.
            Event::Begin(_) | Event::End(Operation::Capture(_)) => {}
            Event::Line(line) => {
                // No session: an earlier line was refused by the device, was
                // answered, and what follows is skipped.
                let Some(set) = &mut self.set else {
                    return Ok(());
                };
                // The borrow ends here, before anything else asks the device.
                let result = set.session.line(&mut *self.target.borrow_mut(), line);
                if let Err(errno) = result {
                    tracing::warn!(event = "uapi_set_refused", device = self.device, error = %errno, "UAPI set refused");
                    self.abandon();
                    let status = reply::status(Some(Operation::Set), Err(errno));
                    write(stream, status.as_bytes()).await?;
                }
            }
            Event::End(Operation::Set) => {
                let Some(set) = self.set.take() else {
                    return Ok(());
                };
                let result = set.session.end(&mut *self.target.borrow_mut());
                drop(set.turn);
                if let Err(errno) = result {
                    tracing::warn!(event = "uapi_set_refused", device = self.device, error = %errno, "UAPI set refused");
                }
                let status = reply::status(Some(Operation::Set), result);
                write(stream, status.as_bytes()).await?;
            }
            Event::End(Operation::Get) => {
                let state = self.target.borrow().state();
                for chunk in GetReply::new(state) {
                    write(stream, chunk.as_bytes()).await?;
                }
                let status = reply::status(Some(Operation::Get), Ok(()));
                write(stream, status.as_bytes()).await?;
            }
            Event::End(Operation::Info) => {
                let mut text = reply::info(&self.target.borrow().info());
                text.push_str(&reply::status(Some(Operation::Info), Ok(())));
                write(stream, text.as_bytes()).await?;
            }
            Event::End(operation @ Operation::Io(mode)) => {
                let result = self.target.borrow_mut().set_io(mode);
                let status = reply::status(Some(operation), result);
                write(stream, status.as_bytes()).await?;
            }
            Event::End(operation @ Operation::Log(level)) => {
                let status = reply::status(Some(operation), log::set(level));
                write(stream, status.as_bytes()).await?;
            }
            Event::Refused { operation, error } => {
                let ParseError {
                    errno,
                    line,
                    reason,
                } = &error;
                let answered = operation == Some(Operation::Set) && self.set.is_none();
                self.abandon();
                if !answered {
                    tracing::warn!(event = "uapi_request_refused", device = self.device, line, %reason, "UAPI request refused");
                    let status = reply::status(operation, Err(*errno));
                    write(stream, status.as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a `set` that goes no further. What it did already stays, and is
    /// made visible.
    fn abandon(&mut self) {
        if let Some(set) = self.set.take() {
            if let Err(errno) = self.target.borrow_mut().commit() {
                tracing::warn!(event = "uapi_set_not_published", device = self.device, error = %errno, "cannot publish a partial UAPI set");
            }
            drop(set.turn);
        }
    }
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    timeout(STALLED, stream.write_all(bytes)).await?
}

fn zone_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

//! From the daemon's socket to a file or pipe: whole blocks only, counted, and
//! without hanging on whoever does not read.
//!
//! A thread of its own writes, since a pipe can stand still; this one listens to
//! the daemon, to signals and to the clock. To end, it closes its side of the
//! connection: the daemon then sends what still waits, and how much was missed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::control::capture::blocks::{Block, Blocks};

/// Bytes of one read.
const READ: usize = 256 << 10;
/// Pieces that may wait for the writing thread.
const PIECES: usize = 16;
/// How long the end may take after a signal, where the reader takes nothing.
const ENDING: Duration = Duration::from_secs(15);

/// How often it is looked whether anybody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After so many packets.
    pub count: Option<u64>,
    /// After so many seconds.
    pub seconds: Option<u64>,
}

/// What ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Signal,
    Count,
    Seconds,
    Device,
    Reader,
}

impl EndedBy {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Device => "device",
            Self::Reader => "reader",
        }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Self::Signal => "a signal",
            Self::Count => "--count",
            Self::Seconds => "--seconds",
            Self::Device => "the device",
            Self::Reader => "the reader",
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Copied {
    /// Packets written, outer and inner.
    pub packets: [u64; 2],
    /// Packets that the daemon had no room for.
    pub missed: [u64; 2],
    pub ended_by: EndedBy,
    /// The file could not be written.
    pub failure: Option<io::Error>,
}

/// Copies until something ends it. `begun` is what was received already.
pub fn copy(stream: StdUnixStream, begun: &[u8], out: File, limits: Limits) -> Result<Copied> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for packets")?;
    runtime.block_on(async {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Copying::new(stream, out, limits)?.run(begun).await
    })
}

struct Copying {
    stream: UnixStream,
    /// None once there is nothing more to write.
    writer: Option<mpsc::Sender<Vec<u8>>>,
    written: oneshot::Receiver<io::Result<()>>,
    /// The same file or pipe, to see whether its reader has gone.
    out: File,
    signals: [Signal; 3],
    blocks: Blocks,
    /// Whole blocks for the writing thread.
    piece: Vec<u8>,
    limits: Limits,
    packets: [u64; 2],
    missed: [u64; 2],
    ended_by: Option<EndedBy>,
    /// When `--seconds` are over; once the end has begun, when that is given up.
    deadline: Option<Instant>,
}

/// What the copying thread woke for.
enum Woke {
    Received(io::Result<usize>),
    Written(io::Result<()>),
    Room,
    Signal,
    Time,
    Look,
}

impl Copying {
    fn new(stream: UnixStream, out: File, limits: Limits) -> Result<Self> {
        let (writer, pieces) = mpsc::channel(PIECES);
        let (done, written) = oneshot::channel();
        let writing = out.try_clone().context("cannot share the output")?;
        thread::Builder::new()
            .name("capture".to_owned())
            // Whoever waited for it may have given up.
            .spawn(move || drop(done.send(write(writing, pieces))))
            .context("cannot start a thread")?;
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self {
            stream,
            writer: Some(writer),
            written,
            out,
            signals: [interrupt?, terminate?, hangup?],
            blocks: Blocks::default(),
            piece: Vec::new(),
            limits,
            packets: [0; 2],
            missed: [0; 2],
            ended_by: None,
            deadline: limits
                .seconds
                .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        })
    }

    async fn run(mut self, begun: &[u8]) -> Result<Copied> {
        let mut buffer = vec![0; READ];
        self.take(begun).await?;
        let failure = loop {
            match self.wake(&mut buffer).await {
                Woke::Room => {}
                Woke::Received(Ok(len @ 1..)) => self.take(&buffer[..len]).await?,
                Woke::Received(Ok(0) | Err(_)) => {
                    self.begin_end(EndedBy::Device);
                    self.writer = None;
                }
                Woke::Signal | Woke::Time if self.ended_by.is_some() => {
                    bail!("given up: its reader takes nothing, and the capture is cut off")
                }
                Woke::Signal => self.end(EndedBy::Signal).await,
                Woke::Time => self.end(EndedBy::Seconds).await,
                Woke::Look => {
                    if reader_has_gone(&self.out) {
                        self.begin_end(EndedBy::Reader);
                        break None;
                    }
                }
                Woke::Written(Ok(())) => break None,
                Woke::Written(Err(error)) => {
                    self.begin_end(EndedBy::Reader);
                    break Some(error).filter(|e| e.kind() != io::ErrorKind::BrokenPipe);
                }
            }
        };
        Ok(Copied {
            packets: self.packets,
            missed: self.missed,
            ended_by: self.ended_by.unwrap_or(EndedBy::Device),
            failure,
        })
    }

    async fn wake(&mut self, buffer: &mut [u8]) -> Woke {
        let [interrupt, terminate, hangup] = &mut self.signals;
        let writer = self.writer.as_ref();
        let waiting = writer.filter(|_| !self.piece.is_empty());
        tokio::select! {
            biased;
            _ = interrupt.recv() => Woke::Signal,
            _ = terminate.recv() => Woke::Signal,
            _ = hangup.recv() => Woke::Signal,
            () = time(self.deadline) => Woke::Time,
            written = &mut self.written => {
                // It says how it ended, or it panicked.
                let lost = || Err(io::Error::other("the writing thread is gone"));
                Woke::Written(written.unwrap_or_else(|_| lost()))
            }
            permit = room(waiting), if waiting.is_some() => {
                if let Ok(permit) = permit {
                    permit.send(std::mem::take(&mut self.piece));
                }
                Woke::Room
            }
            read = self.stream.read(buffer), if writer.is_some() && waiting.is_none() => {
                Woke::Received(read)
            }
            () = sleep(LOOK_EVERY) => Woke::Look,
        }
    }

    /// Takes in what was received.
    async fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.blocks.push(bytes);
        let mut full = false;
        while let Some((block, holds)) = self.blocks.next_block()? {
            match holds {
                Block::Packet(side) => {
                    let count = self.packets.iter().sum::<u64>();
                    if self.limits.count.is_some_and(|limit| count >= limit) {
                        continue;
                    }
                    self.packets[side as usize] += 1;
                    full = self.limits.count == Some(count + 1);
                }
                Block::Missed(side, missed) => self.missed[side as usize] = missed,
                Block::Head => {}
            }
            self.piece.extend_from_slice(block);
        }
        if full {
            self.end(EndedBy::Count).await;
        }
        Ok(())
    }

    /// Asks the daemon to end: it sends what waits, then closes.
    async fn end(&mut self, by: EndedBy) {
        self.begin_end(by);
        // If the daemon has gone, reading says so.
        let _ = self.stream.shutdown().await;
    }

    fn begin_end(&mut self, by: EndedBy) {
        if self.ended_by.is_none() {
            self.ended_by = Some(by);
            // Who asked for the end does not wait for long; a pager may be read to
            // its end.
            self.deadline = (by == EndedBy::Signal).then(|| Instant::now() + ENDING);
        }
    }
}

/// Ends at that time; never if there is none.
async fn time(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn room(
    writer: Option<&mpsc::Sender<Vec<u8>>>,
) -> Result<mpsc::Permit<'_, Vec<u8>>, mpsc::error::SendError<()>> {
    match writer {
        Some(writer) => writer.reserve().await,
        None => std::future::pending().await,
    }
}

/// Writes the pieces, until there are no more.
fn write(mut out: File, mut pieces: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        out.write_all(&piece)?;
    }
    Ok(())
}

/// Whether nobody can read any more what is written to this pipe: without
/// packets, writing would not tell.
fn reader_has_gone(out: &File) -> bool {
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let gone = |polled: &PollFd<'_>| {
        polled
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLERR))
    };
    poll(&mut polled, PollTimeout::ZERO).is_ok() && gone(&polled[0])
}

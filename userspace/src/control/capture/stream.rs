//! A capture as the daemon sends it, until either side closes.
//!
//! A client that does not read holds up nobody but itself: what waits for it is
//! bounded, and what it misses is told in the stream (interface statistics, once
//! a second while they grow, and at the end).

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::outer;
use super::pcapng::{Packet, Side, Sides, Start, Writer};
use super::request::{CaptureRequest, SNAP_MIN};
use crate::datapath::taps::{Attached, Batch, Counts, Link};
use crate::net::clock;

/// Bytes that are put together before others of the control thread get their turn.
const CHUNK: usize = 128 << 10;
/// Packets that follow one another closely leave together.
const LINGER: Duration = Duration::from_millis(1);
/// How often it is told what was missed.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A client that has said that it wants no more takes the rest within this time.
const ENDING: Duration = Duration::from_secs(10);

/// A capture that has begun.
#[derive(Debug)]
pub struct Capture {
    attached: Attached,
    writer: Writer<Vec<u8>>,
    frame: Vec<u8>,
    told: [Counts; 2],
}

impl Capture {
    /// Of a device with this name, whose encrypted packets travel by `outer`.
    ///
    /// # Errors
    /// None: it is written to memory.
    pub fn new(
        attached: Attached,
        request: &CaptureRequest,
        inner: &str,
        outer: &str,
    ) -> io::Result<Self> {
        let sides = Sides {
            outer,
            inner,
            snap: request.snap.max(SNAP_MIN),
        };
        Ok(Self {
            attached,
            writer: Writer::new(Vec::new(), &sides)?,
            frame: Vec::new(),
            told: [Counts::default(); 2],
        })
    }

    /// Sends it. The client ends it by closing its side; what it sends instead is
    /// no request any more and ends it as well.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn run(mut self, stream: &mut UnixStream) -> io::Result<()> {
        let (mut requests, mut out) = stream.split();
        let mut byte = [0];
        let client = requests.read(&mut byte);
        tokio::pin!(client);
        let mut tell = Instant::now() + TELL_EVERY;
        loop {
            self.fill()?;
            if Instant::now() >= tell {
                self.tell(false)?;
                tell = Instant::now() + TELL_EVERY;
            }
            if !self.writer.out().is_empty() {
                if !self.send(&mut out, client.as_mut()).await? {
                    break;
                }
                // A socket that always has room would leave no turn to others.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                // An error is an end too: a client that has gone resets.
                _ = &mut client => break,
                () = self.attached.wait() => {}
                () = sleep_until(tell) => continue,
            }
            tokio::select! {
                _ = &mut client => break,
                () = sleep(LINGER) => {}
            }
        }
        self.attached.close();
        timeout(ENDING, self.end(&mut out)).await?
    }

    /// Sends what was put together; false if the client ends meanwhile. What it
    /// did not take yet stays, to the byte.
    async fn send(
        &mut self,
        out: &mut (impl AsyncWriteExt + Unpin),
        mut client: std::pin::Pin<&mut impl Future<Output = io::Result<usize>>>,
    ) -> io::Result<bool> {
        let bytes = self.writer.out();
        let mut sent = 0;
        let goes_on = loop {
            tokio::select! {
                written = out.write(&bytes[sent..]) => {
                    sent += written?;
                    if sent == bytes.len() {
                        break true;
                    }
                }
                _ = &mut client => break false,
            }
        };
        bytes.drain(..sent);
        Ok(goes_on)
    }

    /// What still waits, and the last word on what was missed.
    async fn end(&mut self, out: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
        loop {
            let more = self.fill()?;
            if !more {
                self.tell(true)?;
            }
            out.write_all(self.writer.out()).await?;
            self.writer.out().clear();
            if !more {
                return out.shutdown().await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Puts packets together until there are enough, or no more: then false.
    fn fill(&mut self) -> io::Result<bool> {
        while self.writer.out().len() < CHUNK {
            let Some(batch) = self.attached.pop() else {
                return Ok(false);
            };
            self.write(&batch)?;
        }
        Ok(true)
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let headers = outer::headers(&batch.link, batch.direction);
        for kept in batch.packets() {
            let mut packet = Packet {
                side: batch.side,
                direction: batch.direction,
                start: match batch.link {
                    Link::Ip => Start::Ip,
                    _ => Start::Ethernet,
                },
                time: batch.time,
                bytes: kept.bytes,
                len: kept.len,
            };
            if let Some(headers) = &headers {
                let added = outer::assemble(&mut self.frame, headers, kept.bytes, kept.len);
                packet.bytes = &self.frame;
                packet.len += added;
            }
            self.writer.write(&packet)?;
        }
        Ok(())
    }

    /// Tells what was missed, of the sides where that changed, or of all.
    fn tell(&mut self, all: bool) -> io::Result<()> {
        for side in Side::ALL {
            let counts = self.attached.counts(side);
            let told = &mut self.told[side as usize];
            if all || counts.missed != told.missed {
                *told = counts;
                let passed = counts.kept + counts.missed;
                self.writer
                    .statistics(side, clock::wall(), passed, counts.missed)?;
            }
        }
        Ok(())
    }
}

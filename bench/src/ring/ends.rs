//! What frames arrive at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use ringtun::xsk::{Frame, Socket, SocketConfig, Umem, UmemConfig};
use ringtun_lab::wait;

use super::line::{End, Line, Redirect};
use super::source::{BATCH, drained};

/// Frames that wait for packets: half of those there are.
const PREFILL: u32 = 2048;
/// Turns without a frame before a thread sleeps.
const SPINS: u32 = 64;
/// How long it sleeps at most: it also has to see that the run is over.
const NAP: Duration = Duration::from_millis(10);

fn config(prefill: u32) -> SocketConfig {
    SocketConfig {
        prefill,
        ..SocketConfig::default()
    }
}

/// A socket without frames: the kernel drops what arrives, and counts it.
pub struct Sink {
    socket: Socket,
    _umem: Umem,
    _redirect: Redirect,
}

impl Sink {
    /// At the far end of a link.
    pub fn new(line: &Line) -> Result<Sink> {
        Sink::at(line.far())
    }

    /// At this end.
    pub fn at(end: &End) -> Result<Sink> {
        let mut umem = Umem::new(UmemConfig {
            frames: 1,
            ..UmemConfig::default()
        })?;
        let socket = end.bind(&mut umem, &config(0))?;
        let redirect = end.redirect(&socket)?;
        Ok(Sink {
            socket,
            _umem: umem,
            _redirect: redirect,
        })
    }

    /// Frames that have arrived so far.
    pub fn arrived(&self) -> Result<u64> {
        Ok(self.socket.statistics()?.rx_dropped)
    }
}

/// Receives, and gives the frames back at once.
pub struct Receiver {
    umem: Umem,
    socket: Socket,
    _redirect: Redirect,
    frames: Vec<Frame>,
    idle: u32,
}

impl Receiver {
    /// At the far end of a link.
    pub fn new(line: &Line) -> Result<Box<Receiver>> {
        let mut umem = Umem::new(UmemConfig::default())?;
        let socket = line.far().bind(&mut umem, &config(PREFILL))?;
        let redirect = line.far().redirect(&socket)?;
        Ok(Box::new(Receiver {
            umem,
            socket,
            _redirect: redirect,
            frames: Vec::with_capacity(BATCH),
            idle: 0,
        }))
    }

    /// One batch, counted in `received`.
    pub fn turn(&mut self, received: &AtomicU64) -> Result<()> {
        let count = self.socket.rx.receive(&mut self.umem, &mut self.frames)?;
        for frame in self.frames.drain(..) {
            self.umem.give_back(frame);
        }
        self.socket.fill.refill(&mut self.umem, BATCH as u32)?;
        self.socket.wake_rx()?;
        received.fetch_add(count as u64, Relaxed);
        rest(&mut self.idle, count, &self.socket)
    }

    pub fn audit(&mut self) -> Result<()> {
        drained(&mut self.umem, std::slice::from_mut(&mut self.socket))
    }
}

/// Receives on one device, and transmits the same frames on another.
pub struct Forwarder {
    umem: Umem,
    /// In, out.
    sockets: [Socket; 2],
    _redirect: Redirect,
    /// Hardware addresses of what leaves: to, from.
    macs: [[u8; 6]; 2],
    frames: Vec<Frame>,
    idle: u32,
}

impl Forwarder {
    /// From the far end of one link to the near end of the next.
    pub fn new(from: &Line, to: &Line) -> Result<Box<Forwarder>> {
        let mut umem = Umem::new(UmemConfig {
            frames: 2 * UmemConfig::default().frames,
            ..UmemConfig::default()
        })?;
        let sockets = [
            from.far().bind(&mut umem, &config(PREFILL))?,
            to.near().bind(&mut umem, &config(0))?,
        ];
        let redirect = from.far().redirect(&sockets[0])?;
        Ok(Box::new(Forwarder {
            umem,
            sockets,
            _redirect: redirect,
            macs: to.macs()?,
            frames: Vec::with_capacity(BATCH),
            idle: 0,
        }))
    }

    /// One batch.
    pub fn turn(&mut self) -> Result<()> {
        let [from, to] = &mut self.sockets;
        let count = from.rx.receive(&mut self.umem, &mut self.frames)?;
        let mut batch = to.tx.batch(&mut self.umem, count as u32)?;
        for mut frame in self.frames.drain(..) {
            let packet = frame.packet_mut();
            packet[..6].copy_from_slice(&self.macs[0]);
            packet[6..12].copy_from_slice(&self.macs[1]);
            // One that is refused by a full ring is dropped, and free again.
            let _ = batch.push(frame);
        }
        batch.submit();
        let left = to.wake_tx()?;
        to.completion.complete(&mut self.umem, u32::MAX)?;
        from.fill.refill(&mut self.umem, BATCH as u32)?;
        from.wake_rx()?;
        // What could not leave is tried again, not waited for.
        rest(&mut self.idle, count + left as usize, from)
    }

    pub fn audit(&mut self) -> Result<()> {
        drained(&mut self.umem, &mut self.sockets)
    }
}

/// Sleeps until something arrives, once nothing has for a while.
fn rest(idle: &mut u32, done: usize, socket: &Socket) -> Result<()> {
    *idle = if done > 0 { 0 } else { *idle + 1 };
    if *idle > SPINS {
        let fd = socket.fd().context("a socket of the kernel")?;
        // Nothing within this time is no failure.
        let _ = wait::ready(&[fd], NAP);
        *idle = 0;
    }
    Ok(())
}

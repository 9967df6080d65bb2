//! What sends frames as fast as it can.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringtun::xsk::{Frame, RX_HEADROOM, Socket, SocketConfig, Umem, UmemConfig};
use ringtun_lab::{PacketSocket, wait};

use super::line::Line;

/// Frames of one batch, and of one `sendmmsg`.
pub const BATCH: usize = 64;
/// How long the kernel may take to give back what was sent.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one and the same frame, again and again.
pub enum Source {
    Ring(Box<RingSource>),
    Packet(PacketSocket, Vec<Vec<u8>>),
}

impl Source {
    /// One batch.
    pub fn turn(&mut self) -> Result<()> {
        match self {
            Source::Ring(ring) => ring.turn(),
            Source::Packet(socket, frames) => match socket.send(frames) {
                Ok(_) => Ok(()),
                // The device's queue is full.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
                Err(error) => Err(error).context("send by a packet socket"),
            },
        }
    }

    /// Waits until all that was sent is through, and counts the frames.
    pub fn audit(&mut self) -> Result<()> {
        match self {
            Source::Ring(ring) => {
                // What the ring had no room for.
                ring.frames.clear();
                drained(&mut ring.umem, std::slice::from_mut(&mut ring.socket))
            }
            Source::Packet(..) => Ok(()),
        }
    }
}

/// An AF_XDP socket that only transmits.
pub struct RingSource {
    umem: Umem,
    socket: Socket,
    frames: Vec<Frame>,
    size: usize,
}

impl RingSource {
    /// On the near end of a link, with frames of `size` bytes.
    pub fn new(line: &Line, size: usize) -> Result<Box<RingSource>> {
        let mut umem = Umem::new(UmemConfig::default())?;
        let socket = line.near().bind(&mut umem, &SocketConfig::default())?;
        let bytes = line.frame(size)?;
        // Written once: a frame that comes back still holds what was sent.
        let mut all = Vec::new();
        while let Some(mut frame) = umem.take() {
            frame.write(RX_HEADROOM as usize, &bytes)?;
            all.push(frame);
        }
        drop(all);
        Ok(Box::new(RingSource {
            umem,
            socket,
            frames: Vec::with_capacity(BATCH),
            size,
        }))
    }

    fn turn(&mut self) -> Result<()> {
        let Self {
            umem,
            socket,
            frames,
            size,
        } = self;
        socket.completion.complete(umem, u32::MAX)?;
        while frames.len() < BATCH
            && let Some(mut frame) = umem.take()
        {
            let at = RX_HEADROOM as usize;
            frame.set_range(at..at + *size)?;
            frames.push(frame);
        }
        let mut batch = socket.tx.batch(umem, BATCH as u32)?;
        while batch.room() > 0
            && let Some(frame) = frames.pop()
        {
            batch.push(frame)?;
        }
        batch.submit();
        socket.wake_tx()?;
        Ok(())
    }
}

/// Waits until the kernel has given back all that was sent; fails unless every frame is free or
/// waits for a packet.
pub fn drained(umem: &mut Umem, sockets: &mut [Socket]) -> Result<()> {
    let count = wait::until("every sent frame comes back", PATIENCE, || {
        for socket in &mut *sockets {
            socket.wake_tx()?;
            socket.completion.complete(umem, u32::MAX)?;
        }
        let count = umem.audit();
        Ok((count.sent == 0).then_some(count))
    })?;
    ensure!(
        count.total() == umem.frames() && count.held == 0 && count.lost == 0,
        "frames are unaccounted for: {count:?}"
    );
    for socket in sockets {
        let statistics = socket.statistics()?;
        let rejected = socket.rx.rejected() + socket.completion.rejected();
        ensure!(
            statistics.tx_invalid_descs == 0 && statistics.rx_invalid_descs == 0 && rejected == 0,
            "descriptors were refused: {statistics:?}, {rejected} by ringtun"
        );
    }
    Ok(())
}

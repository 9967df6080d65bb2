//! What sends frames, each written anew.

use std::time::{Duration, Instant};

use anyhow::Result;
use ringtun::xsk::{Frame, RX_HEADROOM, Socket, SocketConfig, Umem, UmemConfig};

use crate::ring::line::End;
use crate::ring::source::{BATCH, drained};

/// A sender at one end of a link.
pub struct Generator {
    umem: Umem,
    socket: Socket,
    frames: Vec<Frame>,
}

impl Generator {
    /// At this end.
    pub fn new(end: &End) -> Result<Generator> {
        let mut umem = Umem::new(UmemConfig::default())?;
        let socket = end.bind(&mut umem, &SocketConfig::default())?;
        Ok(Generator {
            umem,
            socket,
            frames: Vec::with_capacity(BATCH),
        })
    }

    /// Sends frames of `len` bytes that `write` makes, for as long as `goes_on` says, at `rate` per
    /// second or as fast as it can; returns how many.
    pub fn send(
        &mut self,
        len: usize,
        mut write: impl FnMut(&mut [u8]),
        rate: Option<u32>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<u64> {
        let begin = Instant::now();
        let mut sent = 0u64;
        while goes_on() {
            let due = rate.map_or(u64::MAX, |rate| due(begin.elapsed(), rate));
            let wanted = BATCH.min(usize::try_from(due.saturating_sub(sent)).unwrap_or(BATCH));
            self.socket.completion.complete(&mut self.umem, u32::MAX)?;
            while self.frames.len() < wanted
                && let Some(mut frame) = self.umem.take()
            {
                let range = RX_HEADROOM as usize..RX_HEADROOM as usize + len;
                write(&mut frame.bytes_mut()[range.clone()]);
                frame.set_range(range)?;
                self.frames.push(frame);
            }
            let mut batch = self.socket.tx.batch(&mut self.umem, BATCH as u32)?;
            let room = (batch.room() as usize).min(self.frames.len());
            for frame in self.frames.drain(..room) {
                batch.push(frame)?;
                sent += 1;
            }
            batch.submit();
            self.socket.wake_tx()?;
        }
        self.frames.clear();
        drained(&mut self.umem, std::slice::from_mut(&mut self.socket))?;
        Ok(sent)
    }
}

/// Packets that are to be sent within this time.
fn due(time: Duration, rate: u32) -> u64 {
    (time.as_nanos() * u128::from(rate) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_packets_per_second() {
        assert_eq!(due(Duration::from_millis(1500), 200_000), 300_000);
        assert_eq!(due(Duration::ZERO, 200_000), 0);
        assert_eq!(
            due(Duration::from_secs(100_000), u32::MAX),
            429_496_729_500_000
        );
    }
}

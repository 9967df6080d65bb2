//! One queue of a network card as its worker has it: an AF_XDP socket, its
//! frames, and what is on the way in and out.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::stats::RingStats;
use crate::datapath::forward::{self, NextHop};
use crate::net::checksum;
use crate::net::outer::{Checksum, HEADERS_MAX, Identifications, Outer, Template};
use crate::tunnel::time::BootTime;
use crate::tunnel::transport::Ecn;
use crate::xsk::{
    Frame, RX_HEADROOM, RingSizes, Socket, TX_METADATA_LEN, TxChecksum, Umem, XskError,
};

/// Frames that one turn receives.
pub const BATCH: usize = 64;
/// How long a ring whose device is down is left alone.
const DOWN_FOR: Duration = Duration::from_millis(100);

const _: () = assert!(
    RX_HEADROOM as usize >= HEADERS_MAX + TX_METADATA_LEN,
    "headers and metadata fit in front of a payload that begins where received packets do"
);

/// What became of packets given to a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transmitted {
    /// Packets that the ring took.
    pub packets: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// There was no room for the rest: try again soon.
    pub full: bool,
}

/// Frames that a ring of these sizes needs: every receive slot and every
/// transmit slot can be taken, and neither direction takes the other's.
#[must_use]
pub const fn frames_for(sizes: &RingSizes) -> u32 {
    for_receiving(sizes) + sizes.tx
}

const fn for_receiving(sizes: &RingSizes) -> u32 {
    sizes.fill + sizes.rx + BATCH as u32
}

/// One queue of a network card.
#[derive(Debug)]
pub struct Ring {
    ifindex: u32,
    queue: u32,
    socket: Socket,
    ids: Identifications,
    received: Vec<Frame>,
    outgoing: Vec<(Frame, Option<TxChecksum>)>,
    stats: Arc<RingStats>,
    /// There may be something to receive.
    ready: bool,
    /// Frames in the transmit ring that the kernel has not taken yet.
    pending: bool,
    /// Frames that TX may have at once: the others are for receiving.
    tx_budget: u32,
    /// Frames that TX has.
    tx_frames: u32,
    /// Frames that the kernel has to receive into: in the fill ring, in rings of
    /// the device, in the receive ring.
    rx_frames: u32,
    down_until: BootTime,
    broken: bool,
    /// Why, until somebody took it.
    failure: Option<XskError>,
    /// The last to be dropped: frames go back to it.
    umem: Umem,
}

impl Ring {
    /// A bound socket with its memory, for the worker that `ids` are of.
    #[must_use]
    pub fn new(
        ifindex: u32,
        queue: u32,
        (mut umem, socket): (Umem, Socket),
        sizes: &RingSizes,
        ids: Identifications,
        stats: Arc<RingStats>,
    ) -> Self {
        Self {
            rx_frames: umem.frames() - umem.free_frames(),
            tx_budget: umem.frames().saturating_sub(for_receiving(sizes)).max(1),
            tx_frames: 0,
            ifindex,
            queue,
            socket,
            ids,
            received: Vec::with_capacity(BATCH),
            outgoing: Vec::with_capacity(BATCH),
            stats,
            ready: true,
            pending: false,
            down_until: BootTime::ZERO,
            broken: false,
            failure: None,
            umem,
        }
    }

    /// The interface.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Its queue.
    #[must_use]
    pub const fn queue(&self) -> u32 {
        self.queue
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> &RingStats {
        &self.stats
    }

    /// What the worker waits on; none for rings in memory.
    #[must_use]
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.socket.fd().map(|fd| fd.as_raw_fd())
    }

    /// The kernel said that there is something to receive.
    pub fn mark_ready(&mut self) {
        self.ready = true;
    }

    /// Whether there may be something to receive.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ready && !self.broken
    }

    /// Whether frames wait for another wake-up call.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.pending && !self.broken
    }

    /// How long until such a call may be of use; none while no frames wait for one.
    #[must_use]
    pub fn next_kick(&self, now: BootTime) -> Option<Duration> {
        self.is_pending().then(|| self.down_until.since(now))
    }

    /// Why the ring is of no use any more, once.
    pub fn take_failure(&mut self) -> Option<XskError> {
        self.failure.take()
    }

    /// Whether packets can leave here now; else by the socket.
    #[must_use]
    pub fn is_up(&self, now: BootTime) -> bool {
        !self.broken && now >= self.down_until
    }

    /// Takes up to [`BATCH`] received frames, each to be given back by
    /// [`free`](Self::free); then comes [`refill`](Self::refill).
    pub fn receive(&mut self) -> Vec<Frame> {
        let mut frames = std::mem::take(&mut self.received);
        let rejected = self.socket.rx.rejected();
        match self.socket.rx.receive(&mut self.umem, &mut frames) {
            // Short of a batch: what comes next is an event.
            Ok(count) => {
                let rejected = self.socket.rx.rejected() - rejected;
                self.ready = count as u64 + rejected >= BATCH as u64;
            }
            Err(corrupt) => self.fail(corrupt.into()),
        }
        self.rx_frames = self.rx_frames.saturating_sub(frames.len() as u32);
        self.stats.rx_packets.add(frames.len() as u64);
        frames
    }

    /// Gives a received frame back.
    pub fn free(&mut self, frame: Frame) {
        self.umem.give_back(frame);
    }

    /// Gives up a batch that nobody has a place for.
    pub fn discard(&mut self, now: BootTime) {
        let mut frames = self.receive();
        self.stats.stray.add(frames.len() as u64);
        frames.drain(..).for_each(|frame| self.free(frame));
        self.refill(frames, now);
    }

    /// Ends a batch: keeps the empty list for the next one, and lets the kernel
    /// have frames to receive into, but not those for transmitting: a device that
    /// receives into the UMEM itself would keep them all in rings of its own.
    pub fn refill(&mut self, frames: Vec<Frame>, now: BootTime) {
        debug_assert!(frames.is_empty(), "frames are freed one by one");
        self.received = frames;
        let most = self.umem.frames().saturating_sub(self.tx_budget);
        let more = most.saturating_sub(self.rx_frames);
        let given = self.socket.fill.refill(&mut self.umem, more);
        let pending = self.socket.fill.pending();
        match (given, pending) {
            (Ok(given), Ok(pending)) => {
                self.rx_frames += given;
                self.stats.fill_pending.set(pending.into());
            }
            (Err(corrupt), _) | (_, Err(corrupt)) => self.fail(corrupt.into()),
        }
        self.wake_rx(now);
    }

    /// Looks once more before the worker sleeps: the kernel may have asked for a
    /// call just after the last refill, and would receive nothing until it comes.
    pub fn settle(&mut self, now: BootTime) {
        if self.socket.waits_for_frames() && self.is_up(now) {
            self.wake_rx(now);
        }
    }

    fn wake_rx(&mut self, now: BootTime) {
        if let Err(error) = self.socket.wake_rx() {
            self.judge(error, now);
        }
        self.stats.rx_wakeups.set(self.socket.wakeups().rx);
    }

    /// Whether a payload of `len` bytes can leave here by this template.
    #[must_use]
    pub fn takes(&self, template: &Template, len: usize) -> bool {
        len <= template.payload_max() && RX_HEADROOM as usize + len <= self.umem.frame_size()
    }

    /// Transmits packets of `segment` bytes, the last perhaps shorter, which
    /// [`takes`](Self::takes) agreed to. The kernel is called by
    /// [`kick`](Self::kick).
    pub fn transmit(
        &mut self,
        template: &Template,
        payloads: &[u8],
        segment: usize,
        ecn: Ecn,
    ) -> Transmitted {
        match self.try_transmit(template, payloads, segment, ecn) {
            Ok(transmitted) => transmitted,
            Err(error) => {
                self.fail(error);
                Transmitted {
                    full: true,
                    ..Transmitted::default()
                }
            }
        }
    }

    fn try_transmit(
        &mut self,
        template: &Template,
        payloads: &[u8],
        segment: usize,
        ecn: Ecn,
    ) -> Result<Transmitted, XskError> {
        let mut result = Transmitted::default();
        let mut room = self.find_room()?;
        let mut bytes = 0;
        let metadata = self.socket.tx.finishes_checksums();
        for payload in payloads.chunks(segment) {
            let Some(mut frame) = (room > 0).then(|| self.umem.take()).flatten() else {
                result.full = true;
                break;
            };
            let Some(checksum) = write(
                &mut frame,
                template,
                payload,
                ecn,
                self.ids.take(),
                metadata,
            ) else {
                // Not what `takes` agreed to; the whole run stays.
                self.umem.give_back(frame);
                result.full = true;
                break;
            };
            room -= 1;
            result.packets += 1;
            result.bytes += payload.len();
            bytes += frame.range().len();
            self.outgoing.push((frame, checksum));
        }
        self.submit(bytes)?;
        if result.full {
            self.stats.tx_full.add(1);
        }
        Ok(result)
    }

    /// How many packets the transmit ring takes now.
    fn find_room(&mut self) -> Result<u32, XskError> {
        self.complete()?;
        let slots = self.socket.tx.size() - self.socket.tx.pending()?;
        Ok(slots.min(self.tx_budget.saturating_sub(self.tx_frames)))
    }

    /// Lets the kernel have what is in `outgoing`, `bytes` of frames.
    fn submit(&mut self, bytes: usize) -> Result<(), XskError> {
        let count = self.outgoing.len() as u32;
        let mut batch = self.socket.tx.batch(&mut self.umem, count)?;
        for (frame, checksum) in self.outgoing.drain(..) {
            let pushed = match checksum {
                Some(checksum) => batch.push_with(frame, checksum),
                None => batch.push(frame),
            };
            if let Err(refused) = pushed {
                unreachable!("there was room and the packet is sound: {refused}");
            }
        }
        batch.submit();
        self.stats.tx_packets.add(count.into());
        self.stats.tx_bytes.add(bytes as u64);
        self.tx_frames += count;
        self.pending |= count > 0;
        Ok(())
    }

    /// Bytes of the longest packet that can leave here by this hop.
    #[must_use]
    pub fn longest(&self, hop: &NextHop) -> usize {
        let room = self.umem.frame_size().saturating_sub(RX_HEADROOM as usize);
        hop.mtu().min(room)
    }

    /// Transmits packets that came out of a tunnel, none longer than
    /// [`longest`](Self::longest), with one hop less. Returns how many
    /// there was room for. The kernel is called by [`kick`](Self::kick).
    pub fn forward<'a>(
        &mut self,
        mut packets: impl Iterator<Item = (&'a NextHop, &'a [u8])>,
    ) -> usize {
        let mut done = 0;
        loop {
            match self.try_forward(&mut packets) {
                Ok(0) => return done,
                Ok(count) => done += count,
                Err(error) => {
                    self.fail(error);
                    return done;
                }
            }
        }
    }

    /// As much as is submitted at once.
    fn try_forward<'a>(
        &mut self,
        packets: &mut impl Iterator<Item = (&'a NextHop, &'a [u8])>,
    ) -> Result<usize, XskError> {
        let room = (self.find_room()? as usize).min(BATCH);
        let mut bytes = 0;
        while self.outgoing.len() < room
            && let Some(mut frame) = self.umem.take()
        {
            let Some((hop, packet)) = packets.next() else {
                self.umem.give_back(frame);
                break;
            };
            let (at, header) = (RX_HEADROOM as usize, hop.header());
            let end = at + packet.len();
            let start = at - header.len();
            let to = &mut frame.bytes_mut()[start..end];
            to[..header.len()].copy_from_slice(header);
            to[header.len()..].copy_from_slice(packet);
            forward::packet::lower_hop_limit(&mut to[header.len()..]);
            frame
                .set_range(start..end)
                .expect("a frame has room for it");
            bytes += end - start;
            self.outgoing.push((frame, None));
        }
        let count = self.outgoing.len();
        self.submit(bytes)?;
        Ok(count)
    }

    /// Calls the kernel for what is in the transmit ring, if it has to be
    /// called, and frees what it has transmitted. Once per batch, and again while
    /// [`is_pending`](Self::is_pending).
    pub fn kick(&mut self, now: BootTime) {
        if self.pending && self.is_up(now) {
            match self.socket.wake_tx() {
                Ok(left) => {
                    self.pending = left > 0;
                    self.stats.tx_pending.set(left.into());
                }
                Err(error) => self.judge(error, now),
            }
            let wakeups = self.socket.wakeups();
            self.stats.tx_wakeups.set(wakeups.tx);
            self.stats.tx_again.set(wakeups.tx_again);
        }
        if self.tx_frames > 0
            && let Err(error) = self.complete()
        {
            self.fail(error);
        }
    }

    /// Frees what the kernel has transmitted.
    fn complete(&mut self) -> Result<(), XskError> {
        let freed = self.socket.completion.complete(&mut self.umem, u32::MAX)?;
        self.tx_frames = self.tx_frames.saturating_sub(freed);
        Ok(())
    }

    /// The device may come up again; all else ends the ring.
    fn judge(&mut self, error: XskError, now: BootTime) {
        if matches!(error, XskError::Down) {
            self.down_until = now.saturating_add(DOWN_FOR);
        } else {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: XskError) {
        if !self.broken {
            self.broken = true;
            self.stats.failed.set(1);
            self.failure = Some(error);
        }
    }

    /// Where the ring's frames are. For tests: all must be accounted for.
    #[must_use]
    pub fn audit(&mut self) -> crate::xsk::Accounting {
        self.umem.audit()
    }
}

/// Writes one packet, headers in front of its payload; `None` if it does not
/// fit. The checksum that the kernel is to finish, if it can.
fn write(
    frame: &mut Frame,
    template: &Template,
    payload: &[u8],
    ecn: Ecn,
    id: u16,
    metadata: bool,
) -> Option<Option<TxChecksum>> {
    let at = RX_HEADROOM as usize;
    let outer = Outer {
        payload_len: payload.len(),
        traffic_class: ecn as u8,
        id,
    };
    let how = if metadata {
        Checksum::Partial
    } else {
        Checksum::Complete(checksum::sum(payload))
    };
    let end = at + payload.len();
    let (room, rest) = frame.bytes_mut().get_mut(..end)?.split_at_mut(at);
    let offload = template.write(room, outer, how).ok()?;
    rest.copy_from_slice(payload);
    frame.set_range(at - template.len()..end).ok()?;
    Some(offload.map(|offload| TxChecksum::udp(offload.start)))
}

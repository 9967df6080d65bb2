//! The other end of a socket in memory: what the kernel would be.

use super::fill::Fill;
use super::metadata::{TX_METADATA_LEN, TxChecksum};
use super::port::Port;
use super::region::Region;
use super::ring::{Consumer, Corrupt, Desc, Producer, pair};
use super::socket::{Opened, Socket, Transfer};
use super::umem::Umem;
use super::{RingSizes, XskError};
use std::sync::Arc;

/// The kernel's ends of the four rings, for tests and fuzzing without a kernel.
///
/// It takes frames from the fill ring to put packets into, and gives transmitted
/// ones back, in the order in which the kernel does in copy mode.
#[derive(Debug)]
pub struct Peer {
    pub(super) fill: Consumer<u64>,
    pub(super) completion: Producer<u64>,
    pub(super) rx: Producer<Desc>,
    pub(super) tx: Consumer<Desc>,
    region: Arc<Region>,
    headroom: usize,
    metadata_len: usize,
    multi_buffer: bool,
    /// Taken from the fill ring, and no packet in them yet.
    spare: Vec<u32>,
}

/// A frame that the program transmitted.
#[derive(Clone, Copy, Debug)]
pub struct Transmitted<'a> {
    /// The packet, or the part of it in this frame.
    pub bytes: &'a [u8],
    /// The checksum that is to be finished.
    pub checksum: Option<TxChecksum>,
    /// The packet goes on in the next frame.
    pub continued: bool,
}

/// Why a packet was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The fill ring is empty.
    #[error("no frame to receive into")]
    NoFrame,
    /// The receive ring is full.
    #[error("the receive ring is full")]
    RingFull,
    /// The packet is longer than a frame has room, or empty.
    #[error("the packet does not fit into a frame")]
    Length,
    /// The program's index cannot be true.
    #[error("{0}")]
    Corrupt(#[from] Corrupt),
}

/// One of the four rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Frames to receive into.
    Fill,
    /// Transmitted frames.
    Completion,
    /// Received packets.
    Rx,
    /// Packets to transmit.
    Tx,
}

impl Socket {
    /// A socket whose other end is in this process; indices of its rings start at
    /// `start`.
    ///
    /// # Errors
    /// The sizes, or too many sockets.
    pub fn in_memory(
        umem: &mut Umem,
        sizes: &RingSizes,
        start: u32,
    ) -> Result<(Self, Peer), XskError> {
        sizes.check()?;
        let key = umem.new_key()?;
        let port = Arc::new(Port::in_memory(key));
        umem.add_port(&port);
        let (fill, peer_fill) = pair(sizes.fill, start);
        let (peer_completion, completion) = pair(sizes.completion, start);
        let (peer_rx, rx) = pair(sizes.rx, start);
        let (tx, peer_tx) = pair(sizes.tx, start);
        let socket = Self::new(Opened {
            port,
            fill: Fill::new(fill, key),
            completion,
            rx,
            tx,
            transfer: Transfer::Copy,
            why_copy: None,
            busy_poll: false,
            metadata: umem.tx_metadata_len() > 0,
        });
        let peer = Peer {
            fill: peer_fill,
            completion: peer_completion,
            rx: peer_rx,
            tx: peer_tx,
            region: Arc::clone(umem.region()),
            headroom: umem.rx_headroom(),
            metadata_len: umem.tx_metadata_len(),
            multi_buffer: umem.multi_buffer(),
            spare: Vec::new(),
        };
        Ok((socket, peer))
    }
}

impl Peer {
    /// Puts a packet into frames of the fill ring and onto the receive ring: into
    /// one frame, or as many as it takes in a multi-buffer UMEM.
    ///
    /// # Errors
    /// Why not; nothing happened then.
    pub fn deliver(&mut self, packet: &[u8]) -> Result<(), Undelivered> {
        let room = self.region.chunk_size() - self.headroom;
        let frames = packet.len().div_ceil(room);
        if frames == 0 || (frames > 1 && !self.multi_buffer) {
            return Err(Undelivered::Length);
        }
        while self.spare.len() < frames {
            match self.next_filled()? {
                Some(index) => self.spare.push(index),
                None => return Err(Undelivered::NoFrame),
            }
        }
        let mut slots = self.rx.reserve(frames as u32)?;
        if (slots.room() as usize) < frames {
            return Err(Undelivered::RingFull);
        }
        for (at, part) in packet.chunks(room).enumerate() {
            let Some(index) = self.spare.pop() else {
                unreachable!("there were enough");
            };
            let chunk = self.region.chunk(index);
            // SAFETY: headroom and part fit the chunk, by the size of `part`; the
            // program gave it away through the fill ring and has no token for it.
            unsafe {
                let to = chunk.add(self.headroom).as_ptr();
                std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
            let more = at + 1 < frames;
            let written = slots.write(Desc {
                addr: self.region.offset(index) + self.headroom as u64,
                len: part.len() as u32,
                options: if more { libc::XDP_PKT_CONTD } else { 0 },
            });
            debug_assert!(written.is_ok(), "there was room");
        }
        slots.submit();
        Ok(())
    }

    /// Hands up to `n` transmitted frames to `f` and completes them; returns how
    /// many. None while the completion ring is full.
    ///
    /// # Errors
    /// The program's index cannot be true.
    pub fn collect(&mut self, n: u32, mut f: impl FnMut(Transmitted<'_>)) -> Result<u32, Corrupt> {
        let mut slots = self.completion.reserve(n)?;
        let mut packets = self.tx.peek(slots.room())?;
        while let Some(desc) = packets.read() {
            let Some(index) = self.region.index(desc.addr) else {
                continue;
            };
            let size = self.region.chunk_size();
            let at = (desc.addr & (size as u64 - 1)) as usize;
            let end = (at + desc.len as usize).min(size);
            let chunk = self.region.chunk(index);
            // SAFETY: the program gave the chunk away through the transmit ring
            // and has no token for it until it is completed, below.
            let bytes = unsafe { std::slice::from_raw_parts(chunk.as_ptr(), size) };
            let metadata = if desc.options & libc::XDP_TX_METADATA != 0 {
                at.checked_sub(self.metadata_len)
                    .and_then(|from| bytes[from..].first_chunk::<TX_METADATA_LEN>())
                    .and_then(TxChecksum::decode)
            } else {
                None
            };
            f(Transmitted {
                bytes: &bytes[at..end],
                checksum: metadata,
                continued: desc.options & libc::XDP_PKT_CONTD != 0,
            });
            let written = slots.write(desc.addr);
            debug_assert!(written.is_ok(), "room was reserved");
        }
        packets.release();
        Ok(slots.submit())
    }

    /// Frames that the program gave to receive into and that hold no packet: in
    /// the fill ring, or taken from it.
    ///
    /// # Errors
    /// The program's index cannot be true.
    pub fn waiting(&mut self) -> Result<u32, Corrupt> {
        Ok(self.fill.peek(u32::MAX)?.left() + self.spare.len() as u32)
    }

    /// Puts any descriptor onto the receive ring, as only a broken kernel would;
    /// false if it is full. A frame that it names is given back by that: what is
    /// delivered later goes into others.
    ///
    /// # Errors
    /// The program's index cannot be true.
    pub fn inject(&mut self, desc: Desc) -> Result<bool, Corrupt> {
        self.post(usize::MAX)?;
        let mut slots = self.rx.reserve(1)?;
        let written = slots.write(desc).is_ok();
        slots.submit();
        if written && let Some(index) = self.region.index(desc.addr) {
            self.spare.retain(|spare| *spare != index);
        }
        Ok(written)
    }

    /// Moves the kernel's index of a ring to where it cannot be.
    pub fn corrupt(&mut self, which: Which) {
        match which {
            Which::Fill => self.fill.corrupt(),
            Which::Completion => self.completion.corrupt(),
            Which::Rx => self.rx.corrupt(),
            Which::Tx => self.tx.corrupt(),
        }
    }

    /// Takes up to `n` frames from the fill ring ahead of the packets that they
    /// are for, as a device does that receives into the UMEM itself; returns how
    /// many.
    ///
    /// # Errors
    /// The program's index cannot be true.
    pub fn post(&mut self, n: usize) -> Result<usize, Corrupt> {
        let before = self.spare.len();
        while self.spare.len() - before < n
            && let Some(index) = self.next_filled()?
        {
            self.spare.push(index);
        }
        Ok(self.spare.len() - before)
    }

    /// Tells the program to call after submitting to the fill and transmit rings.
    pub fn set_needs_wakeup(&mut self, needed: bool) {
        self.fill.set_needs_wakeup(needed);
        self.tx.set_needs_wakeup(needed);
    }

    fn next_filled(&mut self) -> Result<Option<u32>, Corrupt> {
        let mut entries = self.fill.peek(1)?;
        let index = entries
            .read()
            .and_then(|address| self.region.index(address));
        entries.release();
        Ok(index)
    }
}

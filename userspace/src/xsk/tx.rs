//! The transmit ring: packets on their way out.

use super::frame::Frame;
use super::metadata::{TX_METADATA_LEN, TxChecksum};
use super::port::PortKey;
use super::ring::{Corrupt, Desc, Producer, Reservation};
use super::umem::Umem;

/// An Ethernet header. The kernel takes what is shorter for one all the same.
const SHORTEST: usize = 14;

/// Frames of one packet at most. A packet with more than the kernel's limit (18
/// in copy mode) is dropped by it without giving the frames back.
pub const CHAIN_MAX: usize = 16;

/// The program's end of the transmit ring.
#[derive(Debug)]
pub struct Tx {
    ring: Producer<Desc>,
    key: PortKey,
    /// The kernel finishes checksums.
    metadata: bool,
}

/// A frame that was not taken, and why.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The frame, untouched.
    pub frame: Frame,
    /// Why.
    pub reason: Reason,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The ring, or what was reserved of it, is full.
    #[error("the transmit ring is full")]
    Full,
    /// The frame belongs to another UMEM.
    #[error("the frame belongs to another UMEM")]
    Foreign,
    /// The packet is shorter than an Ethernet header.
    #[error("the packet is shorter than an Ethernet header")]
    TooShort,
    /// The kernel or the driver does not finish checksums.
    #[error("this socket does not finish checksums; compute it before")]
    NoMetadata,
    /// There are less than [`TX_METADATA_LEN`] bytes before the packet.
    #[error("no room for metadata before the packet; leave 24 bytes")]
    NoHeadroom,
    /// The checksum lies behind the packet's end.
    #[error("the checksum lies behind the end of the packet")]
    OutsidePacket,
    /// The socket was opened without multi-buffer, or the packet has more than
    /// [`CHAIN_MAX`] frames.
    #[error("a packet of so many frames needs multi-buffer, and has at most 16")]
    Chain,
}

impl Tx {
    pub(super) const fn new(ring: Producer<Desc>, key: PortKey, metadata: bool) -> Self {
        Self {
            ring,
            key,
            metadata,
        }
    }

    /// Slots for up to `n` frames. What is not submitted is not sent: its frames
    /// are free again.
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    ///
    /// # Panics
    /// `umem` is not that of the socket.
    pub fn batch<'a>(&'a mut self, umem: &'a mut Umem, n: u32) -> Result<TxBatch<'a>, Corrupt> {
        umem.check(self.key);
        // Of a batch that was forgotten instead of dropped.
        umem.cancel_batch();
        Ok(TxBatch {
            metadata: self.metadata,
            key: self.key,
            slots: self.ring.reserve(n)?,
            umem,
        })
    }

    /// Frames in the ring that the kernel has not taken yet.
    ///
    /// # Errors
    /// The kernel's index cannot be true.
    pub fn pending(&mut self) -> Result<u32, Corrupt> {
        self.ring.pending()
    }

    /// Slots of the ring.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.ring.size()
    }

    /// The kernel finishes checksums of packets that ask for it. Unknown, so
    /// false, in zero-copy mode: a driver that cannot ignores the request.
    #[must_use]
    pub const fn finishes_checksums(&self) -> bool {
        self.metadata
    }

    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// Frames that are about to be transmitted.
#[must_use = "dropping a batch drops its packets; submit it"]
#[derive(Debug)]
pub struct TxBatch<'a> {
    slots: Reservation<'a, Desc>,
    umem: &'a mut Umem,
    key: PortKey,
    metadata: bool,
}

impl TxBatch<'_> {
    /// Frames that can still be added.
    #[must_use]
    pub const fn room(&self) -> u32 {
        self.slots.room()
    }

    /// Adds a frame with its packet.
    ///
    /// # Errors
    /// The frame, when the batch is full or the packet cannot be sent so.
    pub fn push(&mut self, frame: Frame) -> Result<(), Refused> {
        match self.judge(&frame) {
            Some(reason) => Err(Refused { frame, reason }),
            None => {
                self.write(frame, 0);
                Ok(())
            }
        }
    }

    /// Adds a frame with a packet whose checksum the kernel is to finish. The
    /// [`TX_METADATA_LEN`] bytes before the packet are overwritten.
    ///
    /// # Errors
    /// The frame, when the batch is full or the packet cannot be sent so.
    pub fn push_with(&mut self, mut frame: Frame, checksum: TxChecksum) -> Result<(), Refused> {
        let range = frame.range();
        let room = range.start.checked_sub(TX_METADATA_LEN);
        let reason = match (self.judge(&frame), room) {
            (Some(reason), _) => reason,
            _ if !self.metadata => Reason::NoMetadata,
            _ if !checksum.is_within(range.len()) => Reason::OutsidePacket,
            (None, Some(at)) => {
                frame.bytes_mut()[at..range.start].copy_from_slice(&checksum.encode());
                self.write(frame, libc::XDP_TX_METADATA);
                return Ok(());
            }
            _ => Reason::NoHeadroom,
        };
        Err(Refused { frame, reason })
    }

    /// Adds one packet that lies in several frames, all of it or nothing.
    ///
    /// # Errors
    /// Why not; the frames stay where they are.
    pub fn push_chain(&mut self, frames: &mut Vec<Frame>) -> Result<(), Reason> {
        let many = frames.len();
        if many > CHAIN_MAX || (many > 1 && !self.umem.multi_buffer()) {
            return Err(Reason::Chain);
        }
        if (self.room() as usize) < many {
            return Err(Reason::Full);
        }
        for (at, frame) in frames.iter().enumerate() {
            match self.judge(frame) {
                // Only the first holds the Ethernet header.
                Some(Reason::TooShort) if at > 0 && !frame.range().is_empty() => {}
                Some(reason) => return Err(reason),
                None => {}
            }
        }
        for (at, frame) in frames.drain(..).enumerate() {
            let more = if at + 1 < many {
                libc::XDP_PKT_CONTD
            } else {
                0
            };
            self.write(frame, more);
        }
        Ok(())
    }

    /// Lets the kernel have the batch; returns how many frames. It may have to
    /// be woken up ([`Socket::wake_tx`](super::Socket::wake_tx)).
    pub fn submit(self) -> u32 {
        let mut this = self;
        this.umem.submit_batch(this.key.id);
        this.slots.commit()
    }

    /// Why a frame cannot be sent. The kernel skips descriptors that it finds
    /// invalid and never gives their frames back, so none may get there.
    fn judge(&self, frame: &Frame) -> Option<Reason> {
        if self.slots.room() == 0 {
            Some(Reason::Full)
        } else if !self.umem.owns(frame) {
            Some(Reason::Foreign)
        } else if frame.range().len() < SHORTEST {
            Some(Reason::TooShort)
        } else {
            None
        }
    }

    fn write(&mut self, frame: Frame, options: u32) {
        let len = frame.range().len() as u32;
        let addr = self.umem.queue(frame);
        let written = self.slots.write(Desc { addr, len, options });
        debug_assert!(written.is_ok(), "there was room");
    }
}

impl Drop for TxBatch<'_> {
    fn drop(&mut self) {
        // Empty after a submission.
        self.umem.cancel_batch();
    }
}

//! Frames that the rings take from a UMEM and give back to it.

use super::RX_HEADROOM;
use super::Umem;
use crate::xsk::frame::Frame;
use crate::xsk::metadata::TX_METADATA_LEN;
use crate::xsk::port::PortKey;
use crate::xsk::region::Region;
use crate::xsk::ring::Desc;
use crate::xsk::states::{PortId, State};
use std::sync::Arc;

impl Umem {
    /// Panics when a ring is used with another UMEM than its own: its addresses
    /// mean nothing here.
    pub(in crate::xsk) fn check(&self, key: PortKey) {
        assert_eq!(key.umem, self.id, "a ring was used with another UMEM");
    }

    /// Gives a free frame to the kernel to receive into; its address.
    pub(in crate::xsk) fn fill(&mut self, port: PortId) -> Option<u64> {
        let index = self.pop(State::Filled(port))?;
        Some(self.region.offset(index))
    }

    /// Takes back a frame that the kernel received a packet into, if it is one
    /// that this socket gave it for that, and the packet lies within it.
    pub(in crate::xsk) fn received(&mut self, port: PortId, desc: &Desc) -> Option<Frame> {
        let index = self.region.index(desc.addr)?;
        let size = self.region.chunk_size();
        // Below the chunk size, so it fits.
        let at = (desc.addr & (size as u64 - 1)) as u16;
        let len = u16::try_from(desc.len).ok()?;
        if usize::from(at) + usize::from(len) > size
            || !self.states.change(index, State::Filled(port), State::Held)
        {
            return None;
        }
        let continued = desc.options & libc::XDP_PKT_CONTD != 0;
        // SAFETY: the state says that the kernel had it from this socket, and it
        // just gave it back; nobody else has a token.
        Some(unsafe { Frame::new(self.region_ptr(), index, at..at + len, continued) })
    }

    /// Frees a frame that the kernel has transmitted, if this socket gave it for that.
    pub(in crate::xsk) fn completed(&mut self, port: PortId, address: u64) -> bool {
        let Some(index) = self.region.index(address) else {
            return false;
        };
        let sent = self.states.change(index, State::Sent(port), State::Free);
        if sent {
            self.free.push(index);
        }
        sent
    }

    /// Whether a frame is one of this UMEM's.
    pub(in crate::xsk) fn owns(&self, frame: &Frame) -> bool {
        frame.is_of(&self.region)
    }

    /// Puts a frame into the batch; the offset of its packet.
    pub(in crate::xsk) fn queue(&mut self, frame: Frame) -> u64 {
        let index = frame.index();
        let address = self.region.offset(index) + frame.range().start as u64;
        frame.forget();
        self.batch.push(index);
        address
    }

    /// The batch goes to the kernel.
    pub(in crate::xsk) fn submit_batch(&mut self, port: PortId) {
        for index in self.batch.drain(..) {
            let held = self.states.change(index, State::Held, State::Sent(port));
            debug_assert!(held, "frame {index} was queued without being held");
        }
    }

    /// The batch does not go: its packets are dropped.
    pub(in crate::xsk) fn cancel_batch(&mut self) {
        while let Some(index) = self.batch.pop() {
            self.free_held(index);
        }
    }

    /// Bytes before a packet that the kernel reads as metadata; 0: none.
    pub(in crate::xsk) const fn tx_metadata_len(&self) -> usize {
        if self.plain { 0 } else { TX_METADATA_LEN }
    }

    pub(in crate::xsk) const fn multi_buffer(&self) -> bool {
        self.config.multi_buffer
    }

    pub(in crate::xsk) const fn rx_headroom(&self) -> usize {
        (RX_HEADROOM + self.config.headroom) as usize
    }

    pub(in crate::xsk) fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

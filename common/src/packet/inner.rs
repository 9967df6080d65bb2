//! The packet inside a tunnel that does not encrypt.

use super::network::{Network, Part};
use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Unreadable};
use crate::cursor::Editor;
use crate::ip::GRE;

impl Network {
    /// Goes from a whole packet with GRE of version 0 (RFC 2784, RFC 2890) to the
    /// IP packet inside. Returns the bytes of headers that are around it now.
    ///
    /// `None` for what is no such GRE, carries anything else, or has a checksum
    /// over it all (or the routing of RFC 1701), so that it may not be changed:
    /// then this is the packet outside still.
    ///
    /// # Errors
    /// [`Unreadable`], also if the packet inside says that it is longer than
    /// GRE's payload.
    #[inline(always)]
    pub fn enter_gre<C: Editor>(&mut self, frame: &mut C) -> Result<Option<usize>, Unreadable> {
        const CHECKSUM_OR_ROUTING: u8 = 0xc0;
        const KEY: u8 = 0x20;
        const SEQUENCE: u8 = 0x10;
        if self.protocol != GRE || self.part != Part::Whole {
            return Ok(None);
        }
        let (start, end) = (self.start, self.at + self.len);
        frame.seek(self.at)?;
        let [flags, version, kind @ ..]: [u8; 4] = frame.take()?;
        let v4 = match u16::from_be_bytes(kind) {
            ETHERTYPE_IPV4 => true,
            ETHERTYPE_IPV6 => false,
            _ => return Ok(None),
        };
        if version & 0x07 != 0 || flags & CHECKSUM_OR_ROUTING != 0 {
            return Ok(None);
        }
        for optional in [KEY, SEQUENCE] {
            if flags & optional != 0 {
                frame.skip(4)?;
            }
        }
        self.read(frame, v4)?;
        if self.at + self.len > end {
            return Err(Unreadable::Malformed);
        }
        Ok(Some(self.start.saturating_sub(start)))
    }
}

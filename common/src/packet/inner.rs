//! The packet inside a tunnel that does not encrypt.

use super::network::{Network, Part};
use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Unreadable};
use crate::cursor::{Cursor, Editor, Truncated};
use crate::hash::mix;
use crate::ip::{GRE, IPV4_LEN, IPV6_LEN, TCP, UDP};

/// Source and destination port.
const PORTS_LEN: usize = 4;

/// What tells apart the flows inside of a tunnel that has nothing else for that:
/// a number made of addresses and protocol and, where each packet has them, ports;
/// never 0. 0 for what is no IP, or has no room for its header. The packet begins
/// `before` bytes further on, where the tunnel has `room` bytes left: behind those
/// is padding.
///
/// It is not checked: a packet that lies about itself stays in one flow as well.
///
/// # Errors
/// [`Truncated`]: its header is not whole.
#[inline(always)]
pub(super) fn flow<C: Cursor>(
    cursor: &mut C,
    room: usize,
    before: usize,
    ethertype: u16,
) -> Result<u32, Truncated> {
    let room = room.saturating_sub(before);
    cursor.skip(before)?;
    let (mut hash, protocol, header_len, options) = match ethertype {
        ETHERTYPE_IPV4 if room >= IPV4_LEN => {
            let header: [u8; IPV4_LEN] = cursor.take()?;
            let options = (usize::from(header[0] & 0x0f) * 4).saturating_sub(IPV4_LEN);
            let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
            let hash = mix(mix(0, word(&header, 12)), word(&header, 16));
            // The later fragments of a datagram have no ports.
            let protocol = if is_fragment { 0 } else { header[9] };
            (hash, protocol, IPV4_LEN, options)
        }
        ETHERTYPE_IPV6 if room >= IPV6_LEN => {
            let header: [u8; IPV6_LEN] = cursor.take()?;
            let mut hash = 0;
            for at in 0..8 {
                hash = mix(hash, word(&header, 8 + 4 * at));
            }
            (hash, header[6], IPV6_LEN, 0)
        }
        _ => return Ok(0),
    };
    if matches!(protocol, TCP | UDP) && room >= header_len + options + PORTS_LEN {
        cursor.skip(options)?;
        let ports: [u8; PORTS_LEN] = cursor.take().unwrap_or_default();
        hash = mix(hash, u32::from_be_bytes(ports).into());
    }
    Ok((hash >> u32::BITS) as u32 | 1)
}

#[inline(always)]
fn word(header: &[u8], at: usize) -> u64 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]).into()
}

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

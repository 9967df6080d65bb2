//! IPv4 (RFC 791) and IPv6 (RFC 8200) with its extension headers.

use super::Unreadable;
use crate::cursor::Cursor;
use crate::ip::{IPV4_LEN, IPV6_LEN};

/// IPv6 extension headers that are walked. The kernel's verifier must see the
/// end of the loop, and no sane packet has more.
pub const MAX_EXTENSION_HEADERS: usize = 8;

// Assigned Internet Protocol Numbers, IANA.
const NEXT_HOP_BY_HOP: u8 = 0;
const NEXT_ROUTING: u8 = 43;
const NEXT_FRAGMENT: u8 = 44;
const NEXT_DESTINATION: u8 = 60;

/// Which part of an IP packet a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The beginning, with the transport header.
    First,
    /// A later fragment.
    Later,
}

/// An address of either family; IPv4 as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
pub type Address = [u8; 16];

/// `address` as an [`Address`].
#[must_use]
#[inline]
pub const fn mapped(address: [u8; 4]) -> Address {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether this is an IPv4 address as an [`Address`].
#[must_use]
#[inline]
pub const fn is_mapped(address: &Address) -> bool {
    matches!(
        address,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, _, _, _, _]
    )
}

/// What an IP header says, extension headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Whether it is IPv4, else it is IPv6.
    pub v4: bool,
    /// Where the packet comes from.
    pub source: Address,
    /// Where the packet goes.
    pub destination: Address,
    /// The whole packet, or which fragment of it.
    pub part: Part,
    /// First byte of the IP header, from the start of the frame.
    pub start: usize,
    /// TTL, or hop limit.
    pub hop_limit: u8,
    /// TOS byte, or traffic class.
    pub traffic_class: u8,
    /// Number of the protocol that is carried.
    pub protocol: u8,
    /// First byte of what is carried, from the start of the frame.
    pub at: usize,
    /// Bytes that are carried.
    pub len: usize,
}

impl Network {
    /// Whether an IPv6 packet has an IPv4 address as an [`Address`], which would
    /// be taken for IPv4 from here on. No host puts those on a wire (RFC 4291,
    /// section 2.5.5.2), and Linux drops them.
    #[must_use]
    #[inline]
    pub const fn is_ambiguous(&self) -> bool {
        !self.v4 && (is_mapped(&self.source) || is_mapped(&self.destination))
    }

    /// Reads the headers under `cursor`, which then stands at what they carry.
    ///
    /// # Errors
    /// [`Unreadable`].
    #[inline(always)]
    pub fn read<C: Cursor>(&mut self, cursor: &mut C, v4: bool) -> Result<(), Unreadable> {
        self.v4 = v4;
        self.start = cursor.offset();
        (self.protocol, self.len) = if v4 {
            self.read_v4(cursor)?
        } else {
            self.read_v6(cursor)?
        };
        self.at = cursor.offset();
        Ok(())
    }

    #[inline(always)]
    fn read_v4<C: Cursor>(&mut self, cursor: &mut C) -> Result<Carried, Unreadable> {
        let room = cursor.frame_len().saturating_sub(cursor.offset());
        let header: [u8; IPV4_LEN] = cursor.take()?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 {
            return Err(Unreadable::Malformed);
        }
        self.source = mapped([header[12], header[13], header[14], header[15]]);
        self.destination = mapped([header[16], header[17], header[18], header[19]]);
        self.hop_limit = header[8];
        self.traffic_class = header[1];
        if header_len < IPV4_LEN || total_len < header_len || total_len > room {
            return Err(Unreadable::Malformed);
        }
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        self.part = part(fragment & 0x1fff, fragment & 0x2000 != 0);
        cursor.skip(header_len - IPV4_LEN)?;
        Ok((header[9], total_len - header_len))
    }

    #[inline(always)]
    fn read_v6<C: Cursor>(&mut self, cursor: &mut C) -> Result<Carried, Unreadable> {
        let header: [u8; IPV6_LEN] = cursor.take()?;
        let mut rest = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let room = cursor.frame_len().saturating_sub(cursor.offset());
        if header[0] >> 4 != 6 {
            return Err(Unreadable::Malformed);
        }
        self.source.copy_from_slice(&header[8..24]);
        self.destination.copy_from_slice(&header[24..40]);
        self.hop_limit = header[7];
        self.traffic_class = header[0] << 4 | header[1] >> 4;
        if rest > room {
            return Err(Unreadable::Malformed);
        }
        self.part = Part::Whole;
        let mut next = header[6];
        for depth in 0..=MAX_EXTENSION_HEADERS {
            match next {
                NEXT_HOP_BY_HOP | NEXT_ROUTING | NEXT_FRAGMENT | NEXT_DESTINATION => {}
                _ => return Ok((next, rest)),
            }
            if depth == MAX_EXTENSION_HEADERS {
                break;
            }
            let start: [u8; 4] = cursor.take()?;
            let len = if next == NEXT_FRAGMENT {
                let fragment = u16::from_be_bytes([start[2], start[3]]);
                self.part = part(fragment >> 3, fragment & 1 != 0);
                if self.part == Part::Later {
                    // What follows belongs to the middle of something.
                    return Ok((start[0], 0));
                }
                8
            } else {
                // In units of 8 bytes, not counting the first 8 (section 4.3).
                (usize::from(start[1]) + 1) * 8
            };
            rest = rest.checked_sub(len).ok_or(Unreadable::Malformed)?;
            cursor.skip(len - start.len())?;
            next = start[0];
        }
        Err(Unreadable::TooDeep)
    }
}

/// The number of the transport protocol, and the bytes that it may be long.
type Carried = (u8, usize);

/// From the offset and the "more fragments" flag. An IPv6 packet may say that it
/// is its own only fragment (RFC 6946).
#[inline]
const fn part(offset: u16, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

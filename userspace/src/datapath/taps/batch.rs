//! Packets on their way to a capture.

use std::net::{IpAddr, SocketAddr};

use super::{Direction, Side, Size};
use crate::net::outer::Template;
use crate::tunnel::time::WallTime;

/// What the packets of a batch begin with, or what belongs in front of them.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// They begin with an IP header.
    Ip,
    /// They begin with an Ethernet header.
    Ethernet,
    /// WireGuard messages that left by a ring, behind these headers.
    Ring {
        /// The headers.
        template: Template,
        /// TOS byte or traffic class.
        tos: u8,
    },
    /// WireGuard messages that a socket sent or received.
    Socket {
        /// The peer's address.
        peer: SocketAddr,
        /// Ours, if it is known.
        local: Option<IpAddr>,
        /// Our port.
        port: u16,
        /// TOS byte or traffic class, or as much as is known of it.
        tos: u8,
    },
}

/// A packet of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// As many of its first bytes as were kept.
    pub bytes: &'a [u8],
    /// How many it had.
    pub len: usize,
}

/// Packets that passed together.
///
/// ```text
/// length (4) ─ bytes kept (4) ─ bytes ─ length ─ …
/// ```
#[derive(Debug)]
pub struct Batch {
    /// Where.
    pub side: Side,
    /// Which way they went.
    pub direction: Direction,
    /// What they begin with.
    pub link: Link,
    /// When.
    pub time: WallTime,
    packets: usize,
    bytes: Vec<u8>,
}

const HEAD: usize = 8;

impl Batch {
    pub(super) const fn new(side: Side, direction: Direction, link: Link, time: WallTime) -> Self {
        Self {
            side,
            direction,
            link,
            time,
            packets: 0,
            bytes: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, packet: &[u8], snap: usize, size: Size) {
        let kept = &packet[..packet.len().min(snap)];
        if self.packets == 0 {
            let all = size.bytes.min(size.packets.saturating_mul(snap));
            let expected = all + size.packets * HEAD;
            self.bytes.reserve_exact(expected.max(HEAD + kept.len()));
        }
        self.packets += 1;
        let word = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        self.bytes.extend_from_slice(&word(packet.len()));
        self.bytes.extend_from_slice(&word(kept.len()));
        self.bytes.extend_from_slice(kept);
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// How many packets there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packets
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The packets, in the order in which they passed.
    pub fn packets(&self) -> impl Iterator<Item = Kept<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let ([len, kept], after) = rest.split_first_chunk::<HEAD>().map(|(head, after)| {
                let (words, _) = head.as_chunks::<4>();
                ([words[0], words[1]].map(u32::from_le_bytes), after)
            })?;
            let (bytes, after) = after.split_at_checked(kept as usize)?;
            rest = after;
            Some(Kept {
                bytes,
                len: len as usize,
            })
        })
    }
}

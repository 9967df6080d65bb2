//! The MSS clamp: SYN and SYN-ACK are told what fits through the tunnel.
//!
//! Where the way back of "fragmentation needed" is blocked, a TCP connection
//! through a tunnel opens and then carries nothing: both ends believe in the
//! MTU of their own Ethernet. Lowering the option with which they tell each
//! other their maximum segment size (RFC 9293, section 3.7.1) ends that.
//!
//! The option is only ever lowered, and none is added. A checksum that is
//! right stays right (RFC 1624); one that is *partial*, the sum of the pseudo
//! header, to be finished by whoever sends the packet, is left as it is; and a
//! packet whose checksum is neither is not touched.
//!
//! One code for packets in the agent's memory ([`clamp`]) and for frames in the
//! XDP program ([`Syn`]): both are an [`Editor`].
//!
//! * `options`: TCP options, in a copy.

mod options;

use crate::checksum::{Sum, update};
use crate::cursor::{Editor, SliceCursor, Truncated};
use crate::ip::{IPV4_LEN, IPV6_LEN, TCP, TCP_LEN, TCP_SYN, Tcp, version};
use crate::packet::{Network, Part};
pub use options::Options;

/// Bytes of a TCP segment's headers over IPv4, without options.
const HEADERS_V4: usize = IPV4_LEN + TCP_LEN;
/// Bytes of a TCP segment's headers over IPv6, without options and extensions.
const HEADERS_V6: usize = IPV6_LEN + TCP_LEN;
/// The least that is asked for, whatever the MTU: Linux's `TCP_MIN_MSS`.
pub const MSS_MIN: u16 = 88;
/// The longest payload of a SYN that is summed up, in bytes: what a jumbo frame
/// holds. Work has a bound, which the kernel's verifier wants to see.
pub const PAYLOAD_MAX: usize = 9216;

/// Bytes of the option.
const MSS_LEN: usize = 4;
/// The checksum's place in the TCP header.
const CHECKSUM_AT: usize = 16;

/// The largest segments that fit, in bytes of payload. A value of a BPF map, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    v4: u16,
    v6: u16,
}

impl Limits {
    /// For a tunnel of this MTU, bytes.
    #[inline]
    #[must_use]
    pub const fn of_mtu(mtu: usize) -> Self {
        Self {
            v4: bounded(mtu.saturating_sub(HEADERS_V4)),
            v6: bounded(mtu.saturating_sub(HEADERS_V6)),
        }
    }

    /// The same for both families.
    #[inline]
    #[must_use]
    pub const fn fixed(mss: u16) -> Self {
        let mss = bounded(mss as usize);
        Self { v4: mss, v6: mss }
    }

    /// The smaller of both, for each family.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        const fn least(a: u16, b: u16) -> u16 {
            if a < b { a } else { b }
        }
        Self {
            v4: least(self.v4, other.v4),
            v6: least(self.v6, other.v6),
        }
    }

    /// For a packet that travels behind `overhead` bytes of further headers.
    #[inline]
    const fn within(self, v4: bool, overhead: usize) -> u16 {
        let limit = if v4 { self.v4 } else { self.v6 };
        bounded((limit as usize).saturating_sub(overhead))
    }
}

#[inline]
const fn bounded(mss: usize) -> u16 {
    if mss < MSS_MIN as usize {
        MSS_MIN
    } else if mss > u16::MAX as usize {
        u16::MAX
    } else {
        mss as u16
    }
}

/// What was done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is no SYN, or none that can be read: left alone.
    NotSyn,
    /// A SYN without the option, or with one that is low enough: left alone.
    Fits,
    /// The option asks for too much, and the checksum is wrong: left alone.
    BadChecksum,
    /// The option asks for too much, and the payload is longer than
    /// [`PAYLOAD_MAX`] or out of the cursor's reach: left alone.
    OutOfReach,
    /// The option was lowered.
    Lowered,
}

/// Lowers the option in `packet`, a whole IP packet that may have bytes behind
/// it, if it is a TCP SYN, or one in GRE (version 0, without checksum).
#[inline(always)]
pub fn clamp(packet: &mut [u8], limits: &Limits) -> Outcome {
    let v4 = match version(packet) {
        4 => true,
        6 => false,
        _ => return Outcome::NotSyn,
    };
    let mut frame = SliceCursor::new(packet);
    let mut network = Network::default();
    if network.read(&mut frame, v4).is_err() {
        return Outcome::NotSyn;
    }
    let Ok(overhead) = network.enter_gre(&mut frame) else {
        return Outcome::NotSyn;
    };
    match Syn::find(&mut frame, &network) {
        Some(syn) => {
            let overhead = overhead.unwrap_or(0);
            syn.clamp(&mut frame, limits, overhead, &mut Options::new())
        }
        None => Outcome::NotSyn,
    }
}

/// A SYN or SYN-ACK in a frame: what there is to know of it but for its options.
#[derive(Clone, Copy, Debug)]
pub struct Syn {
    /// Whether IPv4 carries it, else IPv6 does.
    v4: bool,
    /// First byte of the segment, from the start of the frame.
    at: usize,
    /// Bytes of its header, options included: 20 to 60.
    header_len: usize,
    /// Bytes behind the header.
    payload_len: usize,
    checksum: [u8; 2],
    /// Of the pseudo header.
    pseudo: Sum,
    /// Of the header without its options.
    header: Sum,
}

impl Syn {
    /// The one that `carrier` carries.
    #[inline(always)]
    pub fn find<C: Editor>(frame: &mut C, carrier: &Network) -> Option<Self> {
        if carrier.protocol != TCP || carrier.part != Part::Whole {
            return None;
        }
        frame.seek(carrier.at).ok()?;
        let bytes = frame.take::<TCP_LEN>().ok()?;
        let (tcp, len) = (Tcp(&bytes), carrier.len);
        let header_len = tcp.header_len();
        if tcp.flags() & TCP_SYN == 0 || header_len < TCP_LEN || header_len > len {
            return None;
        }
        Some(Self {
            v4: carrier.v4,
            at: carrier.at,
            header_len,
            payload_len: len - header_len,
            checksum: tcp.checksum(),
            // An IPv4 address in its longer form adds 0xffff, which is zero.
            pseudo: Sum::of(&carrier.source)
                + Sum::pseudo_header(&carrier.destination, TCP, len as u32),
            header: Sum::of(&bytes),
        })
    }

    /// Lowers its options, for which there is `room`; there are `overhead` bytes of
    /// headers around the packet that carries it.
    #[inline(always)]
    pub fn clamp<C: Editor>(
        &self,
        frame: &mut C,
        limits: &Limits,
        overhead: usize,
        room: &mut Options,
    ) -> Outcome {
        let limit = limits.within(self.v4, overhead);
        let outcome = self.try_clamp(frame, limit, room);
        outcome.unwrap_or(Outcome::OutOfReach)
    }

    #[inline(always)]
    fn try_clamp<C: Editor>(
        &self,
        frame: &mut C,
        limit: u16,
        options: &mut Options,
    ) -> Result<Outcome, Truncated> {
        let options_at = self.at + TCP_LEN;
        options.load(frame, options_at, self.header_len - TCP_LEN)?;
        let before = options.sum();
        if !options.lower(frame, limit) {
            return Ok(Outcome::Fits);
        }
        let is_partial = self.checksum == self.pseudo.partial();
        if !is_partial {
            let headers = self.pseudo + self.header + before;
            if self.payload_len > PAYLOAD_MAX {
                return Err(Truncated);
            }
            let payload_at = self.at + self.header_len;
            if !(headers + frame.sum(payload_at, self.payload_len)?).is_valid() {
                return Ok(Outcome::BadChecksum);
            }
        }
        options.store(frame, options_at)?;
        if !is_partial {
            let updated = update(self.checksum, before, options.sum());
            frame.store(self.at + CHECKSUM_AT, &updated, updated.len())?;
        }
        Ok(Outcome::Lowered)
    }
}

#[cfg(test)]
mod tests;

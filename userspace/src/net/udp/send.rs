//! Sending: bursts with a segment size, a pinned source, and ways back from
//! whatever of it the kernel refuses.

use super::{Source, UdpSocket, wire};
use crate::net::sys::{self, Control, Messages, Name};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Most packets of one burst that the kernel cuts up (`UDP_MAX_SEGMENTS` before
/// Linux 6.9; 128 since).
pub const GSO_SEGMENTS_MAX: usize = 64;
/// Most payload bytes of one burst: an IPv4 packet of 65,535 bytes less IP and
/// UDP header.
pub const GSO_BYTES_MAX: usize = 65_507;
/// Destinations of which it is remembered that bursts were refused.
const REFUSALS: usize = 64;
/// Bursts sent packet by packet after a refusal, before the next attempt;
/// doubles with each refusal up to the maximum.
const SKIP_MIN: u16 = 16;
const SKIP_MAX: u16 = 4096;

/// One packet, or a burst of packets of one size, to one destination.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to; of the socket's address family.
    pub to: SocketAddr,
    /// The local address and interface to send from; `None` leaves it to the
    /// routing table. One of the other address family is not used.
    pub source: Option<Source>,
    /// TOS byte or traffic class: DSCP and ECN. 0x88 (AF41) for handshakes.
    pub tos: u8,
    /// The packets, end to end.
    pub bytes: &'a [u8],
    /// Bytes per packet, the last may be shorter; 0 if `bytes` is one packet.
    pub segment: u16,
}

impl Outgoing<'_> {
    /// Bytes per packet, never 0.
    fn size(&self) -> usize {
        match self.segment {
            0 => self.bytes.len().max(1),
            size => usize::from(size),
        }
    }

    /// The number of packets; one, if `bytes` is empty.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.bytes.len().div_ceil(self.size()).max(1)
    }
}

/// What became of an [`Outgoing`].
#[derive(Debug, Default)]
#[must_use]
pub struct Sent {
    /// Packets that the kernel took.
    pub packets: usize,
    /// The pinned source did not work and the routing table's did: forget it.
    pub source_refused: bool,
    /// Why the rest was not sent, if there is a rest.
    pub stopped: Option<Stop>,
}

/// Why packets were not sent.
#[derive(Debug)]
pub enum Stop {
    /// The socket's buffer is full.
    Full,
    /// The kernel refused: no route, a firewall rule, too big, no memory.
    Refused(io::Error),
}

/// A destination that refused bursts of `segment` bytes or more.
#[derive(Clone, Copy, Debug, Default)]
struct Refusal {
    key: u64,
    segment: u16,
    /// Bursts left to be sent packet by packet.
    skip: u16,
    step: u16,
}

/// Where bursts were refused. A burst does not fit where the path's MTU is
/// smaller than a packet (`EMSGSIZE`, formerly `EINVAL`: packets by themselves
/// are fragmented), nor by a device that computes no checksums (`EIO`).
#[derive(Debug)]
pub(super) struct GsoState([Refusal; REFUSALS]);

impl Default for GsoState {
    fn default() -> Self {
        Self([Refusal::default(); REFUSALS])
    }
}

impl GsoState {
    pub(super) fn key(to: SocketAddr) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let ip = match to {
            SocketAddr::V4(v4) => u128::from(v4.ip().to_bits()) | 1 << 32,
            SocketAddr::V6(v6) => v6.ip().to_bits(),
        };
        (((ip >> 64) as u64).wrapping_mul(ODD) ^ ip as u64).wrapping_mul(ODD) | 1
    }

    fn slot(key: u64) -> usize {
        (key >> 40) as usize % REFUSALS
    }

    /// Whether to try a burst.
    pub(super) fn would_try(&self, key: u64, segment: u16) -> bool {
        let refusal = &self.0[Self::slot(key)];
        refusal.key != key || segment < refusal.segment || refusal.skip == 0
    }

    /// Whether to try a burst; counts down where not.
    fn may_try(&mut self, key: u64, segment: u16) -> bool {
        let try_it = self.would_try(key, segment);
        if !try_it {
            self.0[Self::slot(key)].skip -= 1;
        }
        try_it
    }

    fn refused(&mut self, key: u64, segment: u16) {
        let refusal = &mut self.0[Self::slot(key)];
        let step = if refusal.key == key {
            refusal.step.saturating_mul(2).clamp(SKIP_MIN, SKIP_MAX)
        } else {
            SKIP_MIN
        };
        *refusal = Refusal {
            key,
            segment,
            skip: step,
            step,
        };
    }
}

/// The state of sending batches, made once per worker.
#[derive(Debug)]
pub struct SendBatch {
    messages: Messages,
}

impl SendBatch {
    /// For at most `capacity` bursts per system call.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            messages: Messages::new(capacity.max(1)),
        }
    }
}

/// Whether an error can come from a pinned source that is gone, or whose
/// interface is or no longer leads to the destination.
fn is_about_source(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EADDRNOTAVAIL
                | libc::ENODEV
                | libc::ENXIO
                | libc::ENETDOWN
        )
    )
}

/// Whether the send buffer is full, so that room in it will be an event. Want of
/// memory is not: nothing announces its end.
fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

impl UdpSocket {
    /// Sends `out`, in as few system calls as the kernel's limits allow; packet
    /// by packet where bursts are refused; from the routing table's source
    /// where the pinned one is refused.
    pub fn send(&self, out: &Outgoing<'_>) -> Sent {
        let name = wire::encode_name(out.to);
        let key = GsoState::key(out.to);
        let size = out.size();
        let mut sent = Sent::default();
        let mut source = out.source;
        let mut burst = out.packets() > 1 && self.with_gso(|gso| gso.may_try(key, out.segment));
        let mut burst_in_doubt = false;
        let mut at = 0;
        while at < out.bytes.len() || sent.packets == 0 {
            let left = &out.bytes[at..];
            let most = if burst { burst_len(size) } else { size };
            let part = &left[..left.len().min(most)];
            let segment = if part.len() > size { out.segment } else { 0 };
            let Err(error) = self.transmit(&name, source, out.tos, part, segment) else {
                if burst_in_doubt {
                    // Packet by packet it goes: the burst was at fault.
                    self.with_gso(|gso| gso.refused(key, out.segment));
                    burst_in_doubt = false;
                }
                sent.source_refused |= source != out.source;
                sent.packets += part.len().div_ceil(size).max(1);
                at += part.len();
                continue;
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EIO) if segment != 0 => {
                    // This device never will, whatever the size.
                    self.with_gso(|gso| gso.refused(key, 0));
                    burst = false;
                }
                Some(libc::EMSGSIZE) if segment != 0 => {
                    self.with_gso(|gso| gso.refused(key, out.segment));
                    burst = false;
                }
                // Could be the burst or the source: without the burst it shows.
                Some(libc::EINVAL) if segment != 0 => {
                    burst = false;
                    burst_in_doubt = true;
                }
                _ if source.is_some() && is_about_source(&error) => {
                    source = None;
                    burst |= burst_in_doubt;
                    burst_in_doubt = false;
                }
                _ => {
                    sent.stopped = Some(if is_full(&error) {
                        Stop::Full
                    } else {
                        Stop::Refused(error)
                    });
                    break;
                }
            }
        }
        sent
    }

    /// Sends `count` items, `item(i)` the i-th, several to a system call, and
    /// calls `report(i, …)` once for each. After a [`Stop::Full`] the rest is
    /// reported as [`Stop::Full`] without an attempt.
    pub fn send_batch<'a>(
        &self,
        batch: &mut SendBatch,
        count: usize,
        item: impl Fn(usize) -> Outgoing<'a>,
        mut report: impl FnMut(usize, Sent),
    ) {
        let mut at = 0;
        while at < count {
            let together = (at..count)
                .take(batch.messages.capacity())
                .take_while(|&i| self.fits_one_call(&item(i)))
                .count();
            let taken = if together > 1 {
                batch
                    .messages
                    .send(self.fd.as_fd(), together, |i, name, control| {
                        let out = item(at + i);
                        *name = wire::encode_name(out.to);
                        let segment = if out.packets() > 1 { out.segment } else { 0 };
                        wire::encode_control(control, self.v6, out.source, out.tos, segment);
                        out.bytes
                    })
                    .unwrap_or(0)
            } else {
                0
            };
            for i in at..at + taken {
                let packets = item(i).packets();
                report(
                    i,
                    Sent {
                        packets,
                        ..Sent::default()
                    },
                );
            }
            at += taken;
            // What stopped the call short, or does not fit one, goes by itself:
            // there its error shows, and its remedy is tried.
            if at < count && (taken < together || together <= 1) {
                let sent = self.send(&item(at));
                let full = matches!(sent.stopped, Some(Stop::Full));
                report(at, sent);
                at += 1;
                if full {
                    for i in at..count {
                        let stopped = Some(Stop::Full);
                        report(
                            i,
                            Sent {
                                stopped,
                                ..Sent::default()
                            },
                        );
                    }
                    return;
                }
            }
        }
    }

    fn fits_one_call(&self, out: &Outgoing<'_>) -> bool {
        out.packets() == 1
            || (out.bytes.len() <= burst_len(out.size()) && {
                let key = GsoState::key(out.to);
                self.gso.borrow().would_try(key, out.segment)
            })
    }

    fn transmit(
        &self,
        name: &Name,
        source: Option<Source>,
        tos: u8,
        bytes: &[u8],
        segment: u16,
    ) -> io::Result<usize> {
        let mut control = Control::default();
        wire::encode_control(&mut control, self.v6, source, tos, segment);
        sys::send_message(self.fd.as_fd(), name, &control, bytes)
    }

    fn with_gso<T>(&self, f: impl FnOnce(&mut GsoState) -> T) -> T {
        let mut state = self.gso.borrow_mut();
        f(&mut state)
    }
}

/// The longest burst of packets of `size` bytes.
fn burst_len(size: usize) -> usize {
    let packets = (GSO_BYTES_MAX / size).clamp(1, GSO_SEGMENTS_MAX);
    packets * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_at_most_64_packets_and_65507_bytes() {
        assert_eq!(burst_len(1452), 45 * 1452);
        assert_eq!(burst_len(100), 6400);
        assert_eq!(burst_len(60_000), 60_000);
    }

    #[test]
    fn refusals_are_remembered_by_destination_and_size_and_tried_again_ever_more_rarely() {
        let mut gso = GsoState::default();
        let key = GsoState::key("192.0.2.1:1".parse().expect("address"));
        let other = GsoState::key("192.0.2.2:1".parse().expect("address"));
        assert!(gso.may_try(key, 1400));
        gso.refused(key, 1400);
        assert!(gso.may_try(other, 1400));
        assert!(gso.may_try(key, 1399));
        let skipped = |gso: &mut GsoState| (0..).take_while(|_| !gso.may_try(key, 1400)).count();
        assert_eq!(skipped(&mut gso), usize::from(SKIP_MIN));
        gso.refused(key, 1400);
        assert_eq!(skipped(&mut gso), 2 * usize::from(SKIP_MIN));
        for _ in 0..20 {
            gso.refused(key, 1400);
        }
        assert_eq!(skipped(&mut gso), usize::from(SKIP_MAX));
    }
}

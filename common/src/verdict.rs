//! What becomes of a packet, and why: one value of one enum for both sides. How
//! the WAN side chooses it is here, how the LAN side does in [`lan`](crate::lan).

use crate::class::Class;
use crate::labelled::labelled;
use crate::packet::{Packet, Part, Unreadable};
use crate::steer::Group;
use crate::tables::{LocalEndpoint, Tables};

/// What the XDP program does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `XDP_PASS`: on to the kernel's stack.
    Pass,
    /// `XDP_REDIRECT`: into an AF_XDP socket, or to the stack on another CPU.
    Redirect,
}

labelled! {
    /// Why a packet left the XDP program the way it did.
    ///
    /// Each value indexes a per-CPU counter, is a Prometheus label and maps to an
    /// [`Action`].
    Verdict {
        /// WireGuard data for a device of ours: to the AF_XDP socket of its queue.
        Ours = "ours",
        /// As [`Ours`](Self::Ours), but no AF_XDP socket serves its queue.
        NoSocket = "no-socket",
        /// As [`Ours`](Self::Ours), but longer than what an AF_XDP socket takes.
        Oversize = "oversize",
        /// A WireGuard handshake message for a device of ours.
        Handshake = "handshake",
        /// A tunnel's packet that is not for a device of ours.
        Foreign = "foreign",
        /// As [`Foreign`](Self::Foreign), handed to the kernel's stack on the CPU that
        /// its tunnel is steered to.
        Steered = "steered",
        /// A SYN into a tunnel whose MSS option was lowered to what fits.
        Clamped = "clamped",
        /// A SYN into a tunnel without an MSS option, or with one that fits.
        ClampFits = "clamp-fits",
        /// A SYN into a tunnel that asks for too much and has a wrong checksum: it is
        /// left alone, as it will be dropped for that.
        ClampBadChecksum = "clamp-bad-checksum",
        /// A SYN into a tunnel that asks for too much and is too long to be verified:
        /// left alone.
        ClampOutOfReach = "clamp-out-of-reach",
        /// For a network inside a tunnel, past the kernel's stack: to the AF_XDP socket of
        /// its queue. Where that is not possible, [`NoSocket`](Self::NoSocket) and
        /// [`Oversize`](Self::Oversize) say so, too.
        Forwarded = "forwarded",
        /// For a network inside a tunnel, but the kernel's routes say something else, or
        /// it does not forward at all.
        ForwardElsewhere = "forward-elsewhere",
        /// For a network inside a tunnel, and its hop limit ends here: the kernel tells
        /// the sender.
        ForwardExpires = "forward-expires",
        /// For a network inside a tunnel and longer than that takes: the kernel tells the
        /// sender, or makes fragments.
        ForwardTooLong = "forward-too-long",
        /// For a network inside a tunnel, with a VLAN tag, IP options or extension headers,
        /// which the kernel looks at.
        ForwardSpecial = "forward-special",
        /// A fragment of an IP packet, the first or a later one.
        Fragment = "fragment",
        /// IP that belongs to no tunnel.
        Other = "other",
        /// Neither IPv4 nor IPv6.
        NotIp = "not-ip",
        /// The frame ends before its headers do.
        Truncated = "truncated",
        /// Header fields that contradict each other or the frame's length.
        Malformed = "malformed",
        /// More VLAN tags or IPv6 extension headers than are walked.
        TooDeep = "too-deep",
    }
}

impl Verdict {
    /// What the XDP program does with the packet.
    #[must_use]
    #[inline]
    pub const fn action(self) -> Action {
        match self {
            Self::Ours | Self::Steered | Self::Forwarded => Action::Redirect,
            _ => Action::Pass,
        }
    }

    /// Whether an operator should know of such packets on the WAN side, which are
    /// rare there: see [`notice`](crate::notice).
    #[must_use]
    #[inline(always)]
    pub const fn is_noticed(self) -> bool {
        matches!(
            self,
            Self::NoSocket | Self::Oversize | Self::Truncated | Self::Malformed | Self::TooDeep
        )
    }
}

impl From<Unreadable> for Verdict {
    #[inline]
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Truncated => Self::Truncated,
            Unreadable::Malformed => Self::Malformed,
            Unreadable::TooDeep => Self::TooDeep,
        }
    }
}

/// Judges a frame of `len` bytes, of which the parser said `parsed`. If the
/// verdict is [`Verdict::Ours`] or [`Verdict::Steered`], `tables` has handed the frame
/// to its socket or CPU.
#[inline(always)]
pub fn judge(
    parsed: &Result<Packet, Unreadable>,
    len: usize,
    tables: &mut impl Tables,
) -> (Class, Verdict) {
    match parsed {
        Err(why) => (Class::Unreadable, (*why).into()),
        Ok(packet) => (packet.class, verdict(packet, len, tables)),
    }
}

#[inline(always)]
fn verdict(packet: &Packet, len: usize, tables: &mut impl Tables) -> Verdict {
    if !packet.ip {
        return Verdict::NotIp;
    }
    if packet.network.part != Part::Whole {
        return Verdict::Fragment;
    }
    if !packet.class.is_tunnel() {
        return Verdict::Other;
    }
    if packet.class.is_wireguard()
        && let Some(verdict) = wireguard(packet, len, tables)
    {
        return verdict;
    }
    if steer(packet, len, tables).is_some() {
        Verdict::Steered
    } else {
        Verdict::Foreign
    }
}

/// `None` if the packet stays on the CPU where it arrived.
#[inline(always)]
fn steer(packet: &Packet, len: usize, tables: &mut impl Tables) -> Option<()> {
    let group = Group::of(packet.class)?;
    let cpu = tables.steering(group)?.cpu(packet)?;
    tables.to_cpu(cpu, len).then_some(())
}

/// `None` if the packet is for no device of ours: another host's frame, another
/// host's address, or a port that no device listens on.
#[inline(always)]
fn wireguard(packet: &Packet, len: usize, tables: &mut impl Tables) -> Option<Verdict> {
    if !tables.has_port(packet.destination_port) {
        return None;
    }
    let interface = tables.interface()?;
    if packet.network.is_ambiguous() {
        return None;
    }
    if packet.destination_mac != interface.mac {
        return None;
    }
    if !tables.is_ours(&LocalEndpoint::new(
        packet.network.destination,
        packet.destination_port,
    )) {
        return None;
    }
    Some(if packet.class != Class::WireGuardData {
        Verdict::Handshake
    } else if len > interface.frame_max as usize {
        Verdict::Oversize
    } else if tables.to_socket(&interface) {
        Verdict::Ours
    } else {
        Verdict::NoSocket
    })
}

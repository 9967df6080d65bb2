//! What the XDP program for the LAN side does with a frame: TCP connections
//! into a tunnel are told what fits through it, and other packets into it may go
//! past the kernel's stack ([`forward`](crate::forward)).

use crate::class::Class;
use crate::cursor::Editor;
use crate::forward;
use crate::mss::{Limits, Options, Outcome, Syn};
use crate::packet::{Network, Packet, Part, Unreadable};
use crate::tables::Interface;
use crate::verdict::Verdict;

/// Name of the XDP program for the LAN side in the BPF object.
pub const LAN_PROGRAM: &str = "ringtun_lan";
/// Name of the program that it hands SYNs into tunnels to: the verifier and the
/// stack of one program have no room for all.
pub const CLAMP_PROGRAM: &str = "ringtun_lan_clamp";
/// Name of the program that it hands GRE into tunnels to, and that goes on to
/// [`CLAMP_PROGRAM`].
pub const GRE_PROGRAM: &str = "ringtun_lan_gre";
/// Name of the program that it hands what may be fast-forwarded to.
pub const FORWARD_PROGRAM: &str = "ringtun_lan_forward";
/// Name of the array of programs by which they do that.
pub const LAN_STEPS_MAP: &str = "LAN_STEPS";
/// Place of [`CLAMP_PROGRAM`] in it.
pub const CLAMP_STEP: u32 = 0;
/// Place of [`GRE_PROGRAM`] in it.
pub const GRE_STEP: u32 = 1;
/// Place of [`FORWARD_PROGRAM`] in it.
pub const FORWARD_STEP: u32 = 2;
/// Programs in it.
pub const LAN_STEPS: u32 = 3;
/// Name of the longest-prefix map from IPv4 networks to [`Inside`].
pub const PREFIXES_V4_MAP: &str = "PREFIXES_V4";
/// Name of the longest-prefix map from IPv6 networks to [`Inside`]. A map of
/// its own: IPv6's default route is no route for IPv4.
pub const PREFIXES_V6_MAP: &str = "PREFIXES_V6";
/// Networks per family that are inside tunnels. Only those that there are take
/// memory.
pub const PREFIXES_MAX: u32 = 256 * 1024;

/// What is known of a network inside a tunnel. A value of a BPF map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Inside {
    /// What segments on their way there are limited to.
    pub limits: Limits,
    /// Index of the tunnel's device, if packets for the network may go past the
    /// kernel's stack, else 0.
    pub tunnel: u32,
}

impl From<Limits> for Inside {
    /// A network to which the kernel forwards.
    fn from(limits: Limits) -> Self {
        Self { limits, tunnel: 0 }
    }
}

/// A packet into a tunnel that may be, or hold, a SYN.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    class: Class,
    /// The packet; the one inside once that is known.
    network: Network,
    /// Bytes of headers around it.
    overhead: usize,
    limits: Limits,
}

impl Candidate {
    /// For a packet with this destination's limits.
    #[inline(always)]
    #[must_use]
    pub const fn new(packet: &Packet, limits: Limits) -> Self {
        Self {
            class: packet.class,
            network: packet.network,
            overhead: 0,
            limits,
        }
    }

    /// What it is.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Goes to the packet inside GRE.
    ///
    /// # Errors
    /// The verdict, if none is there that can be read.
    #[inline(always)]
    pub fn enter_gre(&mut self, frame: &mut impl Editor) -> Result<(), Verdict> {
        match self.network.enter_gre(frame) {
            Ok(Some(overhead)) => {
                self.overhead = overhead;
                Ok(())
            }
            Ok(None) | Err(_) => Err(unconcerned(self.class)),
        }
    }

    /// Lowers the option, if the packet is a SYN; there is `room` for all of its.
    #[inline(always)]
    pub fn clamp(&self, frame: &mut impl Editor, room: &mut Options) -> Verdict {
        let Some(syn) = Syn::find(frame, &self.network) else {
            return unconcerned(self.class);
        };
        match syn.clamp(frame, &self.limits, self.overhead, room) {
            Outcome::NotSyn => unconcerned(self.class),
            Outcome::Fits => Verdict::ClampFits,
            Outcome::BadChecksum => Verdict::ClampBadChecksum,
            Outcome::OutOfReach => Verdict::ClampOutOfReach,
            Outcome::Lowered => Verdict::Clamped,
        }
    }
}

/// The maps, as the verdict function needs them for one frame.
pub trait LanTables {
    /// What is known of the network of the destination; `None` if it is not inside
    /// a tunnel.
    fn inside(&self, network: &Network) -> Option<Inside>;

    /// The interface that the frame came in by, if packets may go from there past
    /// the kernel's stack.
    fn interface(&self) -> Option<Interface>;

    /// Lets the [`Candidate`] be clamped, after going to the packet inside if it
    /// is GRE.
    fn clamp(&mut self, packet: &Packet, limits: Limits) -> Verdict;

    /// Lets the candidate be judged.
    fn forward(&mut self, candidate: forward::Candidate) -> Verdict;
}

/// Judges a frame of `len` bytes, of which the parser said `parsed`. If the verdict
/// is [`Verdict::Clamped`], the frame was changed.
#[inline(always)]
pub fn judge(
    parsed: &Result<Packet, Unreadable>,
    len: usize,
    tables: &mut impl LanTables,
) -> (Class, Verdict) {
    match parsed {
        Err(why) => (Class::Unreadable, (*why).into()),
        Ok(packet) => (packet.class, verdict(packet, len, tables)),
    }
}

#[inline(always)]
fn verdict(packet: &Packet, len: usize, tables: &mut impl LanTables) -> Verdict {
    if !packet.ip {
        return Verdict::NotIp;
    }
    if packet.network.part != Part::Whole {
        return Verdict::Fragment;
    }
    // The kernel sees how a connection begins, and may refuse it there.
    if packet.syn || packet.class == Class::GreV0 {
        if let Some(inside) = tables.inside(&packet.network) {
            return tables.clamp(packet, inside.limits);
        }
    } else if let Some(interface) = tables.interface()
        && let Some(inside) = tables.inside(&packet.network)
        && inside.tunnel != 0
        && let Some(candidate) = forward::Candidate::new(packet, len, &interface, inside.tunnel)
    {
        return tables.forward(candidate);
    }
    unconcerned(packet.class)
}

/// The verdict on what is no SYN into a tunnel.
#[inline(always)]
const fn unconcerned(class: Class) -> Verdict {
    if class.is_tunnel() {
        Verdict::Foreign
    } else {
        Verdict::Other
    }
}

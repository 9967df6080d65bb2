//! Past the kernel's stack: which packets of the LAN side go straight to the
//! worker that seals them.
//!
//! The kernel's own routing tables decide, asked for each packet: only what the
//! kernel would forward into the tunnel's device is taken, and what needs more
//! than a header's hop limit lowered stays with the kernel, which fragments,
//! answers with ICMP and looks at options.

use crate::class::Class;
use crate::ip::{IPV4_LEN, IPV6_LEN};
use crate::packet::{Network, Packet};
use crate::tables::Interface;
use crate::verdict::Verdict;

/// Bytes of an Ethernet header without tags.
const ETHERNET_LEN: usize = 14;

/// A packet that may go past the kernel's stack into a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    class: Class,
    network: Network,
    source_port: u16,
    destination_port: u16,
    /// Bytes of the frame.
    frame_len: usize,
    interface: Interface,
    /// Index of the tunnel's device.
    tunnel: u32,
}

/// What the kernel's routing tables are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Addresses, protocol, traffic class.
    pub network: &'a Network,
    /// Of UDP and TCP, else 0.
    pub source_port: u16,
    /// Of UDP and TCP, else 0.
    pub destination_port: u16,
    /// Bytes of the packet.
    pub len: u16,
}

/// What they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the device of this index.
    To(u32),
    /// It is longer than its route takes.
    TooLong,
    /// To this host, to nobody, or forwarding is off.
    Nowhere,
}

/// What judging takes of the kernel.
pub trait ForwardTables {
    /// Where the kernel would forward the packet to.
    fn route(&self, question: &Question<'_>) -> Route;

    /// Hands the frame to the AF_XDP socket of its queue; false if there is none.
    fn to_socket(&mut self, interface: &Interface) -> bool;
}

impl Candidate {
    /// A packet in a frame of `frame_len` bytes, that came in by `interface` and is
    /// for a network inside `tunnel`. `None` if the frame is not for this host.
    #[inline(always)]
    #[must_use]
    pub fn new(
        packet: &Packet,
        frame_len: usize,
        interface: &Interface,
        tunnel: u32,
    ) -> Option<Self> {
        (packet.destination_mac == interface.mac).then_some(Self {
            class: packet.class,
            network: packet.network,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            frame_len,
            interface: *interface,
            tunnel,
        })
    }

    /// What it is.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Judges it. If the verdict is [`Verdict::Forwarded`], `tables` has handed the
    /// frame to its socket.
    #[inline(always)]
    pub fn judge(&self, tables: &mut impl ForwardTables) -> Verdict {
        let network = &self.network;
        if !is_plain(network) {
            return Verdict::ForwardSpecial;
        }
        if network.hop_limit <= 1 {
            return Verdict::ForwardExpires;
        }
        let question = Question {
            network,
            source_port: self.source_port,
            destination_port: self.destination_port,
            len: (network.at - network.start + network.len) as u16,
        };
        match tables.route(&question) {
            Route::To(device) if device == self.tunnel => {}
            Route::TooLong => return Verdict::ForwardTooLong,
            Route::To(_) | Route::Nowhere => return Verdict::ForwardElsewhere,
        }
        if self.frame_len > self.interface.frame_max as usize {
            Verdict::Oversize
        } else if tables.to_socket(&self.interface) {
            Verdict::Forwarded
        } else {
            Verdict::NoSocket
        }
    }
}

/// Whether there is nothing but an IP header between the addresses of the link
/// and what the packet carries.
#[inline(always)]
const fn is_plain(network: &Network) -> bool {
    let header = if network.v4 { IPV4_LEN } else { IPV6_LEN };
    network.start == ETHERNET_LEN && network.at == ETHERNET_LEN + header && !network.is_ambiguous()
}

//! The maps of the WAN side, which the agent fills. Those of interfaces and sockets
//! are for the LAN side, too: each has its own.

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_REDIRECT};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, XskMap};
use aya_ebpf::programs::XdpContext;
use ringtun_common::seats::{Found, Key as _, Seat};
use ringtun_common::steer::{Group, Steering};
use ringtun_common::tables::{
    ENDPOINTS_MAX, INTERFACES_MAX, Interface, LocalEndpoint, PORTS_LEN, SOCKETS_MAX, Tables,
    port_bit,
};

use crate::steer;

#[map]
static INTERFACES: HashMap<u32, Interface> = HashMap::with_max_entries(INTERFACES_MAX, 0);
#[map]
static INTERFACE_SEATS: Array<Seat<u32, Interface>> = Array::with_max_entries(u32::SEATS, 0);
#[map]
static PORTS: Array<u64> = Array::with_max_entries(PORTS_LEN, 0);
#[map]
static ENDPOINTS: HashMap<LocalEndpoint, u32> = HashMap::with_max_entries(ENDPOINTS_MAX, 0);
#[map]
static ENDPOINT_SEATS: Array<Seat<LocalEndpoint, u32>> =
    Array::with_max_entries(LocalEndpoint::SEATS, 0);
#[map]
static SOCKETS: XskMap = XskMap::with_max_entries(SOCKETS_MAX, 0);

/// The maps, for the frame of one context.
pub struct FrameTables<'a> {
    ctx: &'a XdpContext,
}

impl<'a> FrameTables<'a> {
    /// For the frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }
}

/// What the agent said of the interface that the frame came in by.
#[inline(always)]
pub fn interface(ctx: &XdpContext) -> Option<Interface> {
    let index = ctx.ingress_ifindex() as u32;
    // The value is copied before anything can replace it; the agent replaces a
    // whole element, and a torn one only misses its interface.
    match INTERFACE_SEATS.get(index.seat())?.find(&index) {
        Found::Here(interface) => Some(interface),
        Found::Absent => None,
        // SAFETY: as above.
        Found::Crowd => unsafe { INTERFACES.get(index) }.copied(),
    }
}

/// Hands the frame to the AF_XDP socket of its queue; false if there is none.
#[inline(always)]
pub fn to_socket(ctx: &XdpContext, interface: &Interface) -> bool {
    let Some(socket) = interface.socket(ctx.rx_queue_index()) else {
        return false;
    };
    SOCKETS.redirect(socket, u64::from(XDP_PASS)) == Ok(XDP_REDIRECT)
}

impl Tables for FrameTables<'_> {
    #[inline(always)]
    fn interface(&self) -> Option<Interface> {
        interface(self.ctx)
    }

    #[inline(always)]
    fn has_port(&self, port: u16) -> bool {
        let (element, bit) = port_bit(port);
        PORTS.get(element).is_some_and(|bits| bits & bit != 0)
    }

    #[inline(always)]
    fn is_ours(&self, endpoint: &LocalEndpoint) -> bool {
        match ENDPOINT_SEATS
            .get(endpoint.seat())
            .map(|seat| seat.find(endpoint))
        {
            Some(Found::Here(_)) => true,
            Some(Found::Absent) | None => false,
            // SAFETY: the value is not read.
            Some(Found::Crowd) => unsafe { ENDPOINTS.get(endpoint) }.is_some(),
        }
    }

    #[inline(always)]
    fn to_socket(&mut self, interface: &Interface) -> bool {
        to_socket(self.ctx, interface)
    }

    #[inline(always)]
    fn steering(&self, group: Group) -> Option<&Steering> {
        steer::steering(group)
    }

    #[inline(always)]
    fn to_cpu(&mut self, cpu: u32, len: usize) -> bool {
        steer::to_cpu(cpu, len)
    }
}

//! Every frame to the AF_XDP socket of its queue: no parser, for measuring and
//! testing the rings alone.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    macros::{map, xdp},
    maps::XskMap,
    programs::XdpContext,
};
use ringtun_common::ring::RING_QUEUES;

#[map]
static RING_SOCKETS: XskMap = XskMap::with_max_entries(RING_QUEUES, 0);

/// Redirects to the socket; passes where there is none.
#[xdp(frags)]
pub fn ringtun_ring(ctx: XdpContext) -> u32 {
    // The low bits of the flags are the action for a queue without a socket.
    match RING_SOCKETS.redirect(ctx.rx_queue_index(), XDP_PASS.into()) {
        Ok(action) | Err(action) => action,
    }
}

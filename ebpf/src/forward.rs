//! What the kernel's routing tables say of a packet from the LAN side.

use core::mem;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
    bpf_fib_lookup,
};
use aya_ebpf::helpers::generated;
use aya_ebpf::programs::XdpContext;
use ringtun_common::class::Class;
use ringtun_common::forward::{ForwardTables, Question, Route};
use ringtun_common::tables::Interface;
use ringtun_common::verdict::Verdict;

use crate::{lan, tables};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

struct Kernel<'a> {
    ctx: &'a XdpContext,
}

impl ForwardTables for Kernel<'_> {
    #[inline(always)]
    fn route(&self, question: &Question<'_>) -> Route {
        let network = question.network;
        // SAFETY: integers, arrays and unions of them.
        let mut lookup: bpf_fib_lookup = unsafe { mem::zeroed() };
        lookup.l4_protocol = network.protocol;
        lookup.sport = question.source_port.to_be();
        lookup.dport = question.destination_port.to_be();
        lookup.__bindgen_anon_1.tot_len = question.len;
        lookup.ifindex = self.ctx.ingress_ifindex() as u32;
        let (from, to) = (words(&network.source), words(&network.destination));
        if network.v4 {
            lookup.family = AF_INET;
            lookup.__bindgen_anon_2.tos = network.traffic_class;
            lookup.__bindgen_anon_3.ipv4_src = from[3];
            lookup.__bindgen_anon_4.ipv4_dst = to[3];
        } else {
            lookup.family = AF_INET6;
            // The traffic class in front of a flow label that no rule asks for.
            let class = u32::from(network.traffic_class) << 20;
            lookup.__bindgen_anon_2.flowinfo = class.to_be();
            lookup.__bindgen_anon_3.ipv6_src = from;
            lookup.__bindgen_anon_4.ipv6_dst = to;
        }
        // SAFETY: the context is the kernel's, the structure is as long as it is said
        // to be and stands on the stack.
        let answer = unsafe {
            generated::bpf_fib_lookup(
                self.ctx.ctx.cast(),
                &raw mut lookup,
                size_of::<bpf_fib_lookup>() as i32,
                0,
            )
        };
        // A device without a link layer has no neighbours.
        if answer == i64::from(BPF_FIB_LKUP_RET_SUCCESS)
            || answer == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH)
        {
            Route::To(lookup.ifindex)
        } else if answer == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED) {
            Route::TooLong
        } else {
            Route::Nowhere
        }
    }

    #[inline(always)]
    fn to_socket(&mut self, interface: &Interface) -> bool {
        tables::to_socket(self.ctx, interface)
    }
}

/// An address as the kernel has it in memory.
#[inline(always)]
fn words(address: &[u8; 16]) -> [u32; 4] {
    // SAFETY: as many bytes, any value.
    unsafe { mem::transmute(*address) }
}

/// Judges the frame that was handed over.
#[inline(always)]
pub fn judge(ctx: &XdpContext) -> (Class, Verdict) {
    match lan::to_forward() {
        Some(candidate) => (candidate.class(), candidate.judge(&mut Kernel { ctx })),
        None => (Class::Unreadable, Verdict::ForwardElsewhere),
    }
}

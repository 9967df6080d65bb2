//! The maps of steering, which the agent fills: which tunnels go to which CPUs,
//! the CPUs, and what each was handed.

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_REDIRECT};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, CpuMap, PerCpuArray};
use ringtun_common::steer::{Group, Steering};
use ringtun_common::tables::Counter;

use crate::counters;

#[map]
static STEERING: Array<Steering> = Array::with_max_entries(Group::COUNT as u32, 0);
/// As the next, as long as the machine has CPUs: whoever loads it says so.
#[map]
static CPUS: CpuMap = CpuMap::with_max_entries(1, 0);
#[map]
static STEERED: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);

/// Where packets of `group` go.
#[inline(always)]
pub fn steering(group: Group) -> Option<&'static Steering> {
    STEERING.get(group.index())
}

/// Hands the frame, of `len` bytes, to `cpu`, and counts it; false if that takes none.
#[inline(always)]
pub fn to_cpu(cpu: u32, len: usize) -> bool {
    if CPUS.redirect(cpu, u64::from(XDP_PASS)) != Ok(XDP_REDIRECT) {
        return false;
    }
    counters::add(&STEERED, cpu, len);
    true
}

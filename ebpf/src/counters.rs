//! Packets and bytes by verdict and by class, per CPU.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use ringtun_common::class::Class;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;

#[map]
static VERDICTS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Verdict::COUNT as u32, 0);
#[map]
static CLASSES: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Class::COUNT as u32, 0);

/// Counts one frame of `len` bytes.
#[inline(always)]
pub fn count(class: Class, verdict: Verdict, len: usize) {
    add(&VERDICTS, verdict.index(), len);
    add(&CLASSES, class.index(), len);
}

/// Counts one frame of `len` bytes at `index`.
#[inline(always)]
pub fn add(counters: &PerCpuArray<Counter>, index: u32, len: usize) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the map holds aligned counters, and this CPU's is touched by
        // nobody else while the program runs on it.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += len as u64;
    }
}
